//! The nouns every crate shares: memory sizes, GPUs, jobs and their attempts,
//! and what was observed of them. Parsing and display, but no decisions.
//!
//! **Invariant:** nothing here reads a clock, a file or the environment.

mod attempt;
mod bytes;
mod gpu;
mod ids;
mod ratio;

pub use attempt::{
    AttemptSighting, Exit, Launch, LaunchError, Presence, SignalError, StopSignal, SurveyError, Unavailable,
};
pub use bytes::{Mib, ParseMibError};
pub use gpu::{ComputeApp, Gpu, GpuIndex, GpuSnapshot, GpuUuid, Health, Percent};
pub use ids::{AttemptId, JobKey, JobNo, ParseIdError, Pid};
pub use jiff::{SignedDuration, Timestamp};
pub use ratio::Ratio;
