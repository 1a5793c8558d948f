//! The job queue of one machine: lines of a jobs file become finished jobs.
//!
//! What is durable is in [`records`]; what it is told in [`event`]; what it
//! wants done in [`effect`] and what it says in [`report`].

mod effect;
mod event;
mod records;
mod report;

pub use effect::{Board, BoardPending, BoardRunning, BoardDone, Effect, Stopping};
pub use event::{Event, Unreadable, Urgency};
pub use records::{Record, Status};
pub use report::{Assessment, Ended, Report, Summary};

use std::collections::BTreeSet;

use model::{GpuIndex, Ratio, SignedDuration};

/// How the queue shall behave. There are no defaults here: they are the
/// program's, where they are documented.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The rules of placement.
    pub rules: allocation::Rules,
    /// The band around a declaration within which a peak is as declared.
    pub tolerance: Ratio,
    /// How often a job that ran out of GPU memory is run again, where its line
    /// does not say.
    pub oom_retries: u32,
    /// The GPUs to use; nothing means all.
    pub allowed: Option<BTreeSet<GpuIndex>>,
    /// Whether to wait for new lines when all is done.
    pub watch: bool,
    /// Whether to report usage while it grows.
    pub verbose: bool,
    /// The time between two samples of the GPUs while anything runs or waits.
    pub poll: SignedDuration,
    /// How long a job has between SIGTERM and SIGKILL.
    pub grace: SignedDuration,
}
