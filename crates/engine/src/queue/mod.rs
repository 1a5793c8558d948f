//! The job queue of one machine: lines of a jobs file become finished jobs.
//!
//! [`Queue`] is the machine. What it is told is an [`Event`], what it remembers
//! a [`Record`] (and folded, [`Durable`]), what it wants done an [`Effect`],
//! what it says a [`Report`]. Its step is spread over one file for each kind of
//! thing that can happen.

mod board;
mod check;
mod control;
mod deferrals;
mod dispatch;
mod durable;
mod effect;
mod equals;
mod event;
mod fairness;
mod files;
mod gpus;
mod lines;
mod live;
mod machine;
mod needs;
mod records;
mod report;
mod sightings;
mod stopping;
mod waiting;

pub mod python;

pub use control::{Answer, Ask, Control, Ending, StateEdit};
pub use durable::{Begun, Durable, Job, Past, Phase};
pub use effect::{Board, BoardDone, BoardGpu, BoardPending, BoardRunning, Effect, Stopping};
pub use event::{Event, Unreadable, Urgency};
pub use machine::{Config, LaunchAttempts, Outcome, Patience, Queue};
pub use policy::{Assessment, Backoff, NextVram, TAIL_BYTES};
pub use records::{Record, Status};
pub use report::{Ended, Interruption, Report, Summary};
