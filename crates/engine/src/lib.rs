//! The state machines, and the loop that drives any of them.
//!
//! A machine is a value: events go in, actions come out. [`drive()`] takes
//! events from a [`World`] and hands actions back, records first. The engine
//! cannot tell a real world from a simulated one.
//!
//! **Invariant:** nothing here can start a process, open a file or read a clock.
//! **Invariant:** durable state changes only by applying a record, so recovery
//! after a crash is the same code as normal running.

mod drive;
mod machine;

pub mod keeper;
pub mod queue;

pub use drive::drive;
pub use machine::{Action, Actions, Durability, Machine, Seq, Woken, World, WorldLost};
