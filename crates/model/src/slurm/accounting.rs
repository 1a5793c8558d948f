//! What accounting says of jobs.

use super::{ExitCode, JobState, NodeList, PartitionName, SlurmJobId, TaskSet, TimeLimit, mentions};
use crate::{SignedDuration, Timestamp};

/// What accounting has of the jobs it was asked for, a row for each run of each.
///
/// It lags: a row was seen to come up to 5 seconds late, and to tell `PREEMPTED`
/// or `NODE_FAIL` for 8 seconds of a job that waited again already. So the queue
/// is asked first; and a job that is in neither is lost only when that has
/// lasted for a minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountingView {
    /// The rows; those of one job in the order of its runs.
    pub runs: Vec<AccountedRun>,
}

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountedRun {
    /// The job, or the part of one.
    pub id: SlurmJobId,
    /// The tasks it stands for, if they are the rest of an array: those that never
    /// started.
    pub rest: Option<TaskSet>,
    /// The number of its record; what it found in `SLURM_JOB_ID`.
    pub record: Option<u32>,
    /// How the run ended, or how it is. `REQUEUED`, `PREEMPTED` and `NODE_FAIL`
    /// end the run, but the job only where no other run follows.
    pub state: JobState,
    /// Its exit code.
    pub exit: Option<ExitCode>,
    /// The highest exit code of its steps: the script may exit with 0 though a
    /// step did not (seen).
    pub derived_exit: Option<ExitCode>,
    /// Its nodes.
    pub nodes: NodeList,
    /// When the job was submitted.
    pub submitted: Option<Timestamp>,
    /// When the run started.
    pub start: Option<Timestamp>,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// How long it ran.
    pub elapsed: Option<SignedDuration>,
    /// Its time limit.
    pub limit: Option<TimeLimit>,
    /// Its partition.
    pub partitions: Vec<PartitionName>,
    /// What was given with `--comment`: only after the end, and only where the
    /// site stores it (seen).
    pub comment: Box<str>,
    /// The command line of its `sbatch`; nothing before 21.08.
    pub submit_line: Option<Box<str>>,
    /// Its name.
    pub name: Box<str>,
}

/// Accounting could not be read, which says nothing of any job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountingError {
    /// There is none here; asking again will not help.
    #[error("this cluster keeps no accounting: {0}")]
    Absent(String),
    /// It does not answer now.
    #[error("{0}")]
    Unavailable(String),
}

impl AccountingView {
    /// The runs of a job or of the part that is meant, the first one first.
    pub fn runs_of<'a>(&'a self, id: &'a SlurmJobId) -> impl DoubleEndedIterator<Item = &'a AccountedRun> {
        self.runs.iter().filter(|run| id.is_told_by(&run.id, run.rest.as_ref()))
    }

    /// The runs with this tag, as a word of its own, in their comment, their name or
    /// their submission.
    pub fn tagged<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a AccountedRun> {
        self.runs.iter().filter(move |run| {
            let submitted_so = run.submit_line.as_ref().is_some_and(|line| mentions(line, tag));
            submitted_so || mentions(&run.comment, tag) || mentions(&run.name, tag)
        })
    }
}
