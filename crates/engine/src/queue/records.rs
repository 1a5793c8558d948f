//! What the queue remembers: the lines of its journal.

use std::collections::BTreeMap;

use model::{Exit, GpuIndex, JobKey, JobNo, Mib, Share};
use serde::{Deserialize, Serialize};

use crate::queue::Stopping;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    /// A line was seen for the first time and has its number.
    Seen {
        /// The job.
        key: JobKey,
        /// Its number.
        no: JobNo,
        /// Its command.
        command: String,
    },
    /// An attempt is about to be started.
    Started {
        /// The job.
        key: JobKey,
        /// Its number.
        no: JobNo,
        /// Which attempt, from 1.
        attempt: u32,
        /// The GPUs it has.
        gpus: Vec<GpuIndex>,
        /// What it declared, in MiB on each; nothing where it declared nothing.
        declared: Option<Mib>,
        /// The part of its one GPU, where it needs no more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share: Option<Share>,
        /// Its command.
        command: String,
    },
    /// An attempt could not be started; the job will be tried again.
    NotStarted {
        /// The job.
        key: JobKey,
        /// The attempt.
        attempt: u32,
        /// Why not, in words.
        why: String,
    },
    /// An attempt ran out of GPU memory; the job will be run again.
    Oom {
        /// The job.
        key: JobKey,
        /// The attempt that ended.
        attempt: u32,
        /// What the next attempt may use of each GPU, in MiB.
        next_vram: Option<Mib>,
        /// Whether the next attempt gets its GPUs to itself.
        alone: bool,
    },
    /// An attempt did not come to its end through no fault of the job's; it
    /// will be run again and the attempt does not count.
    Interrupted {
        /// The job.
        key: JobKey,
        /// The attempt.
        attempt: u32,
    },
    /// A running attempt is to end before its time.
    Stopping {
        /// The job.
        key: JobKey,
        /// The attempt.
        attempt: u32,
        /// Why, and so what becomes of the job.
        why: Stopping,
    },
    /// The job is over.
    Done {
        /// The job.
        key: JobKey,
        /// Its number.
        no: JobNo,
        /// What came of it.
        status: Status,
        /// How its last attempt ended, where there was one and it is known.
        exit: Option<Exit>,
        /// The highest use seen per GPU, in MiB.
        peak_mib: BTreeMap<GpuIndex, Mib>,
        /// The mean utilization of its GPUs while it ran, in per cent.
        avg_util: Option<f32>,
        /// Why it could not be started, where that is what came of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Somebody asked for a job that was over to be run again.
    Retried {
        /// The job.
        key: JobKey,
        /// The request that asked for it.
        request: String,
    },
    /// These GPUs take no new jobs from now on, and all others do.
    Paused {
        /// The GPUs.
        gpus: Vec<GpuIndex>,
    },
    /// A line went while an equal one stayed: the one that stayed keeps its
    /// own identity, also after a restart.
    Left {
        /// The job whose line went.
        key: JobKey,
    },
}

/// What came of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It exited with 0.
    Ok,
    /// It exited with something else.
    Failed,
    /// It ran out of GPU memory and had no retries left.
    FailedOom,
    /// It was stopped at its `timeout`.
    Timeout,
    /// It was cancelled by the user.
    Cancelled,
    /// It can never run on this machine.
    Infeasible,
    /// It was started, and nobody knows how it ended.
    Lost,
}

impl Status {
    /// Whether it counts as a failure in the exit code.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Ok | Self::Cancelled => false,
            Self::Failed | Self::FailedOom | Self::Timeout | Self::Infeasible | Self::Lost => true,
        }
    }
}
