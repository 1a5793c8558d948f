//! The ports: what a GPU monitor and a job host must answer. Traits only, so
//! that a new backend depends on nothing else of ours.
//!
//! **Invariant:** no default bodies, no state, no I/O: a backend that cannot
//! do a thing does not compile until it says so.

mod gpu;
mod host;
mod runner;

pub use gpu::GpuBackend;
pub use host::JobHost;
pub use runner::{CommandError, CommandOutput, Runner};
