//! What the queue is told.

use std::sync::Arc;

use jobspec::{JobsFile, Models};
use model::{AttemptId, AttemptSighting, GpuSnapshot, LaunchError, Unavailable};

use crate::queue::{Control, StateEdit};

/// Something the queue takes in. Inputs are levels, not edges: always the whole
/// file, always all GPUs, so that one lost in a crash does not matter.
#[derive(Debug, Clone)]
pub enum Event {
    /// The jobs file as it stands now, or why it can't be used.
    JobsFile(Result<Arc<JobsFile>, Unreadable>),
    /// The GPUs, answering `Effect::SampleGpus`. The owners of processes are
    /// filled in.
    Gpus(Result<GpuSnapshot, Unavailable>),
    /// Every attempt the job host knows: once, at the start.
    Survey(Vec<AttemptSighting>),
    /// What has become of some attempts.
    Attempts(Vec<AttemptSighting>),
    /// An attempt was not started.
    Refused {
        /// The attempt.
        attempt: AttemptId,
        /// Why not.
        why: LaunchError,
    },
    /// What each model needs, as the file of it says now; nothing where there is no
    /// such file.
    Models(Result<Option<Arc<Models>>, Unreadable>),
    /// Somebody asks for something.
    Control(Control),
    /// Somebody has edited the state file.
    State(StateEdit),
    /// Somebody wants us to end.
    Interrupt(Urgency),
}

/// How to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Leave running jobs to the keeper.
    Leave,
    /// End running jobs: SIGTERM, then SIGKILL after the grace.
    Stop,
    /// Kill running jobs.
    Kill,
}

/// A file can't be used as it is. What it said last stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);
