//! What the queue wants done, and what its status board shows.

use std::collections::BTreeMap;

use model::{
    AttemptId, Exit, GpuIndex, GpuNeed, GpuSet, JobNo, Launch, Mib, Percent, Share, SignedDuration,
    StopSignal, Timestamp,
};
use policy::Assessment;
use serde::{Deserialize, Serialize};

use crate::queue::{Answer, Status};

/// Something the queue wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start an attempt.
    Launch(Launch),
    /// Signal every process of an attempt.
    Signal {
        /// The attempt.
        attempt: AttemptId,
        /// The signal.
        signal: StopSignal,
    },
    /// Make sure that an attempt nobody has seen start never will.
    Void(AttemptId),
    /// Read the GPUs once; the answer is `Event::Gpus`.
    SampleGpus,
    /// Tell what came of something that was asked for.
    Answer {
        /// Its name.
        id: Box<str>,
        /// What came of it.
        answer: Answer,
    },
    /// Rewrite the status board.
    PublishBoard(Box<Board>),
}

/// All that `status.txt` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// When it was true.
    pub at: Timestamp,
    /// The GPUs in use, by index.
    pub gpus: Vec<BoardGpu>,
    /// The GPUs that were told to take no new jobs, whether they are there or not.
    pub paused: Vec<GpuIndex>,
    /// Jobs that run, by number.
    pub running: Vec<BoardRunning>,
    /// Jobs that wait, in queue order; not all where there are many.
    pub pending: Vec<BoardPending>,
    /// How many more wait.
    pub more_pending: usize,
    /// Jobs that ended in this run, by number; not all where there are many.
    pub done: Vec<BoardDone>,
    /// How many ended in this run in all.
    pub done_count: usize,
    /// Why the last good queue is in force instead of the file, if it is.
    pub queue_kept: Option<String>,
    /// Why the GPUs can't be read, if they can't.
    pub gpus_unknown: Option<String>,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardGpu {
    /// Its index.
    pub index: GpuIndex,
    /// How much of it our jobs have: the parts they need, or the part of its
    /// memory that is kept for them.
    pub allocated: Share,
    /// Whether it was told to take no new jobs.
    pub paused: bool,
    /// What jobs can have of it when it is empty.
    pub usable: Option<Mib>,
    /// What is in use by anybody.
    pub used: Option<Mib>,
    /// `utilization.gpu`.
    pub utilization: Option<Percent>,
    /// Why it takes no jobs, in words, if it does not.
    pub trouble: Option<String>,
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardRunning {
    /// Its number.
    pub no: JobNo,
    /// Its command.
    pub command: String,
    /// Its GPUs.
    pub gpus: Vec<GpuIndex>,
    /// The part of its one GPU, where it needs no more.
    pub share: Option<Share>,
    /// The name of its log in the log directory, once that is known.
    pub log: Box<str>,
    /// For how long it has run.
    pub elapsed: SignedDuration,
    /// What it uses now, per GPU.
    pub now: BTreeMap<GpuIndex, Mib>,
    /// Whether there is more to it than that, which can't be told.
    pub unseen: bool,
    /// The most it has used of one GPU.
    pub peak: Option<Mib>,
    /// Whether and why it is being stopped.
    pub stopping: Option<Stopping>,
}

/// Why a job is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopping {
    /// It was cancelled, and is not to be run again.
    Cancel,
    /// It has had its `timeout`.
    Timeout,
    /// The scheduler was told to end its jobs; the next one runs it again.
    Shutdown,
}

/// A job that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardPending {
    /// Its number.
    pub no: JobNo,
    /// Its command.
    pub command: String,
    /// What it declares, in MiB on each GPU; nothing where it declares nothing.
    pub vram: Option<Mib>,
    /// How many GPUs it needs, or which part of one.
    pub gpus: GpuNeed,
    /// The only GPUs it may have.
    pub on: Option<GpuSet>,
    /// Its priority: the lower, the earlier.
    pub priority: i32,
    /// How often it ran out of GPU memory so far.
    pub ooms: u32,
    /// Why it can't start now, in words; nothing where that was not looked at.
    pub why: Option<String>,
}

/// A job that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardDone {
    /// Its number.
    pub no: JobNo,
    /// Its command.
    pub command: String,
    /// What came of it.
    pub status: Status,
    /// The verdict on its declaration, where there is one.
    pub assessment: Option<Assessment>,
    /// How it ended, if it ran and that is known.
    pub exit: Option<Exit>,
    /// Why it could not be started, where that is what came of it.
    pub why: Option<String>,
    /// The most it used of one GPU.
    pub peak: Option<Mib>,
}
