//! A node, a disk and a job host that misbehave on a seed; and GPUs that exist
//! only by what processes report.
//!
//! [`run_queue`] is the simulation: the real engine in a world of virtual time,
//! virtual processes and faults. [`reported`] and [`simjob`] are for trying the
//! real program without a GPU.

mod checker;
mod disk;
mod faults;
mod node;
mod outside;
mod rng;
mod simulation;
mod trace;
mod user;
mod world;

pub mod packing;
pub mod reported;
pub mod simjob;

pub use simulation::{Failure, Report, run_queue};
