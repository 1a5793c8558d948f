//! The nouns every crate shares: memory sizes, GPUs, jobs and their attempts,
//! and what was observed of them. Parsing and display, but no decisions.
//!
//! **Invariant:** nothing here reads a clock, a file or the environment.

mod attempt;
mod bytes;
mod gpu;
mod gpu_set;
mod ids;
mod need;
mod ratio;
pub mod slurm;

pub use attempt::{
    AttemptSighting, Exit, Launch, LaunchError, LogPart, Presence, Setting, SignalError, StopSignal,
    SurveyError, Unavailable,
};
pub use bytes::{Mib, ParseMibError};
pub use gpu::{ComputeApp, Gpu, GpuIndex, GpuSnapshot, GpuUuid, Health, Percent};
pub use gpu_set::{GpuSet, ParseGpuSetError};
pub use ids::{AttemptId, JobKey, JobNo, ParseIdError, Pid};
pub use jiff::{SignedDuration, Timestamp};
pub use need::{GpuNeed, ParseGpuNeedError, Share};
pub use ratio::Ratio;
