//! The ports: what a GPU monitor, a job host, a cluster and a runner of programs
//! must answer. A new backend depends on nothing else of ours but `model`.
//!
//! **Invariant:** no default bodies, no state, no I/O: a backend that cannot
//! do a thing does not compile until it says so.

mod cluster;
mod gpu;
mod host;
mod runner;

pub use cluster::ClusterBackend;
pub use gpu::GpuBackend;
pub use host::JobHost;
pub use runner::{CommandError, CommandOutput, MOST_OUTPUT, Runner, Surroundings};
