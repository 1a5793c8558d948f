//! What the Python tool does wrong, done here: each test is a situation in which
//! that tool was seen to fail. `tests/faults.md` says which fault is which test.

mod edits;
mod journal;
mod memory;
mod recovery;
mod time;
mod waiting;
mod wreck;
