//! What the controller tells of one job, and of itself, on request.

use super::{ExitCode, JobState, NodeList, SlurmJobId, TaskSet};
use crate::{SignedDuration, Timestamp};

/// A record as `scontrol show job` tells it, as far as no list of the queue has
/// it. What can't be told with certainty (a name or a comment with line breaks
/// may look like other fields) is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownJob {
    /// Its id.
    pub id: SlurmJobId,
    /// The tasks it stands for, if they are the rest of an array.
    pub rest: Option<TaskSet>,
    /// The number of the record.
    pub record: u32,
    /// Its state.
    pub state: Option<JobState>,
    /// Why it waits, or how it ended.
    pub reason: Option<Box<str>>,
    /// Whether Slurm puts it back by itself after a preemption or when a node
    /// fails.
    pub requeues: Option<bool>,
    /// How often it was put back.
    pub restarts: Option<u32>,
    /// Its exit code.
    pub exit: Option<ExitCode>,
    /// When it was or will be preempted.
    pub preempted: Option<Timestamp>,
    /// Its nodes.
    pub nodes: NodeList,
    /// The script and its arguments, as submitted.
    pub command: Option<Box<str>>,
    /// The directory it starts in.
    pub cwd: Option<Box<str>>,
    /// The file its output goes to, patterns filled in. Of the rest of an array
    /// it is the name of no file.
    pub stdout: Option<Box<str>>,
    /// The file its errors go to; nothing where that is the same, in 26.05.
    pub stderr: Option<Box<str>>,
}

/// What a cluster says of itself, as far as it matters to those who follow jobs.
/// Nothing where it does not say so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Its name.
    pub cluster: Option<Box<str>>,
    /// The version of Slurm, as `24.11.5`.
    pub version: Option<Box<str>>,
    /// Whether it keeps accounting.
    pub accounting: Option<bool>,
    /// How long the controller remembers a job that has ended, at least.
    pub min_job_age: Option<SignedDuration>,
    /// How long a command waits for the answer to a message; a request that got
    /// none may be carried out later than that.
    pub message_timeout: Option<SignedDuration>,
    /// The time from SIGTERM to SIGKILL.
    pub kill_wait: Option<SignedDuration>,
    /// How long a job may go on after its time limit; nothing also where it may
    /// for ever.
    pub over_time_limit: Option<SignedDuration>,
    /// Whether jobs are put back by default after a preemption or when a node
    /// fails.
    pub job_requeue: Option<bool>,
}
