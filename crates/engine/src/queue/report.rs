//! What the queue says to a human, without the words.

use std::collections::BTreeMap;

use allocation::Infeasible;
use model::{Exit, GpuIndex, JobNo, LaunchError, LogPart, Mib, Share, SignedDuration};
use policy::Assessment;

use crate::queue::{Status, Urgency};

/// Something worth telling, at the moment it happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The first good jobs file was read.
    Queued {
        /// The lines in it.
        jobs: usize,
        /// How many of them are done from an earlier run.
        done: usize,
    },
    /// The GPUs were seen for the first time.
    Gpus {
        /// Those that will be used.
        usable: Vec<GpuIndex>,
    },
    /// An attempt was started.
    Started {
        /// The job.
        no: JobNo,
        /// Its GPUs.
        gpus: Vec<GpuIndex>,
        /// Jobs that were started in this run or ended in it, this one included.
        dispatched: usize,
        /// Lines in the file.
        total: usize,
        /// What it may use of each GPU.
        declared: Option<Mib>,
        /// The part of its one GPU, where it needs no more.
        share: Option<Share>,
        /// Its name, if it has one, and its command.
        command: String,
    },
    /// An attempt runs, and its output goes there.
    Runs {
        /// The job.
        no: JobNo,
        /// Where.
        log: LogPart,
        /// Whether it was begun before this scheduler.
        adopted: bool,
    },
    /// A job's use has grown (`--verbose`).
    Usage {
        /// The job.
        no: JobNo,
        /// Use per GPU now.
        now: BTreeMap<GpuIndex, Mib>,
        /// The most on one GPU so far.
        peak: Mib,
    },
    /// A job uses more than it declared.
    Exceeds {
        /// The job.
        no: JobNo,
        /// Where.
        gpu: GpuIndex,
        /// What it uses.
        peak: Mib,
        /// What it declared.
        declared: Mib,
    },
    /// A job is over.
    Finished(Ended),
    /// An attempt ran out of GPU memory and the job waits again.
    OomRequeued {
        /// The job.
        no: JobNo,
        /// The attempt that ended, from 1.
        attempt: u32,
        /// How many attempts it has in all.
        attempts: u32,
        /// What it could use of each GPU.
        old: Option<Mib>,
        /// What it may use next.
        new: Option<Mib>,
        /// Whether it will have its GPUs to itself.
        alone: bool,
        /// The part of a GPU it had, where it needed no more.
        share: Option<Share>,
    },
    /// A job can never run on this machine and is marked failed.
    Infeasible {
        /// The job.
        no: JobNo,
        /// Why.
        why: Infeasible,
        /// Its command.
        command: String,
    },
    /// A job had its time and gets SIGTERM.
    TimedOut {
        /// The job.
        no: JobNo,
        /// How long it ran.
        after: SignedDuration,
        /// Its `timeout`.
        limit: SignedDuration,
    },
    /// A running job's line says `cancel` and it gets SIGTERM.
    Cancelling {
        /// The job.
        no: JobNo,
    },
    /// A job did not end on SIGTERM and gets SIGKILL.
    Killing {
        /// The job.
        no: JobNo,
    },
    /// A waiting job's line says `cancel`.
    CancelledPending {
        /// The job.
        no: JobNo,
        /// Its command.
        command: String,
    },
    /// A line is done from an earlier run.
    AlreadyDone {
        /// The job.
        no: JobNo,
        /// What came of it.
        status: Status,
        /// Its command.
        command: String,
    },
    /// A job from an earlier run still runs and is looked after again.
    Adopted {
        /// The job.
        no: JobNo,
        /// For how long it has run.
        elapsed: SignedDuration,
    },
    /// An attempt was interrupted and the job waits again.
    Requeued {
        /// The job.
        no: JobNo,
        /// By what.
        by: Interruption,
    },
    /// An attempt was perhaps not started. The job waits again once the host has
    /// ruled the attempt out.
    NotStarted {
        /// The job.
        no: JobNo,
        /// Why not.
        why: LaunchError,
    },
    /// An attempt could not be started. The job is tried again, or has failed.
    CouldNotStart {
        /// The job.
        no: JobNo,
        /// Why not, in words.
        why: String,
        /// Attempts in a row that could not be started.
        attempts: u32,
        /// How many there may be.
        most: u32,
        /// When the next one follows; nothing where the job has failed.
        again_in: Option<SignedDuration>,
    },
    /// Later jobs went around a waiting one for long enough: GPUs are kept free
    /// for it.
    Reserved {
        /// The job.
        no: JobNo,
        /// The GPUs.
        gpus: Vec<GpuIndex>,
        /// Later jobs that were started meanwhile.
        overtakings: u32,
        /// For how long it has been first in line for what it needs.
        waited: SignedDuration,
    },
    /// The jobs file can't be used; the last good queue stays in force.
    QueueKept {
        /// What is wrong, and where.
        why: String,
    },
    /// A line is the same job as an earlier one, which runs once.
    SameJob {
        /// The line.
        line: u32,
        /// The earlier one.
        of: u32,
    },
    /// What each model needs was read.
    Models {
        /// How many models there are; nothing where there is no file any more.
        count: Option<usize>,
    },
    /// What each model needs can't be read; what was known stays in force.
    ModelsKept {
        /// What is wrong, and where.
        why: String,
    },
    /// A command names a model of which nothing is known: it gets the default.
    UnknownModel {
        /// The model.
        model: String,
        /// The first job that names it.
        no: JobNo,
    },
    /// The jobs file is good again.
    QueueGood,
    /// The command of a running or finished line was changed in place. The new
    /// text is not run.
    EditIgnored {
        /// The job whose line it was.
        no: JobNo,
        /// Where the line stands.
        line: u32,
        /// Whether the old job still runs.
        running: bool,
        /// The new text.
        command: String,
    },
    /// The GPUs can't be read: nothing new is placed until they can.
    GpusUnknown {
        /// Why.
        why: String,
        /// How many times in a row.
        attempt: u32,
    },
    /// The GPUs can be read again.
    GpusKnown,
    /// A GPU takes no new jobs for now; those on it run on.
    GpuOut {
        /// The GPU.
        gpu: GpuIndex,
        /// Why not, in words.
        why: String,
    },
    /// It takes jobs again.
    GpuBack {
        /// The GPU.
        gpu: GpuIndex,
    },
    /// A GPU was told to take no new jobs; those on it run on.
    Paused {
        /// The GPU.
        gpu: GpuIndex,
    },
    /// An edit of the state file makes no sense; what was in force stays so.
    StateKept {
        /// What is wrong with it.
        why: String,
    },
    /// An edit of the state file pauses GPUs that there are not.
    StateUnknownGpus {
        /// Their numbers.
        unknown: Vec<u32>,
    },
    /// Nothing is left to do; waiting for new lines.
    Drained,
    /// Told to end.
    Interrupted {
        /// How.
        urgency: Urgency,
        /// Jobs that run.
        running: usize,
    },
    /// All is over.
    Summary(Summary),
}

/// What an attempt was interrupted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The machine was rebooted, or something was killed before it began.
    Crash,
    /// This scheduler, which ends and was told to end its jobs.
    Shutdown,
    /// An earlier scheduler that was told so.
    EarlierShutdown,
}

/// A job that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The job.
    pub no: JobNo,
    /// What came of it.
    pub status: Status,
    /// How its last attempt ended, if it is known.
    pub exit: Option<Exit>,
    /// How long its last attempt ran.
    pub elapsed: SignedDuration,
    /// The highest use seen per GPU; empty where none could be attributed.
    pub peak: BTreeMap<GpuIndex, Mib>,
    /// What it declared.
    pub declared: Option<Mib>,
    /// The verdict on the declaration; only where it succeeded and was measured.
    pub assessment: Option<Assessment>,
    /// The mean utilization of its GPUs, in per cent.
    pub utilization: Option<f32>,
    /// Whether processes it started are still alive.
    pub survivors: bool,
    /// Why it is lost, where it is.
    pub lost: Option<String>,
}

/// The last word.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Jobs that ended in this run.
    pub jobs: usize,
    /// Of those, how many succeeded.
    pub ok: usize,
    /// Of those, how many failed.
    pub failed: usize,
    /// Of those, how many were cancelled.
    pub cancelled: usize,
    /// How many declared too little.
    pub under: usize,
    /// How many declared too much.
    pub over: usize,
    /// Lines that were done from an earlier run.
    pub earlier: usize,
    /// The failures: number, what came of it, its exit, its command. Those of
    /// an earlier run whose line is still there included.
    pub failures: Vec<(JobNo, Status, Option<Exit>, String)>,
    /// Why the last version of the jobs file could not be used, where that is
    /// so: what was changed in it since was not run.
    pub unread: Option<String>,
}

impl Summary {
    /// The number of jobs that ended in such a way.
    pub(super) fn count_mut(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Ok => &mut self.ok,
            Status::Cancelled => &mut self.cancelled,
            Status::Failed | Status::FailedOom | Status::Timeout | Status::Infeasible | Status::Lost => {
                &mut self.failed
            }
        }
    }
}
