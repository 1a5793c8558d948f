//! What survives a crash: the journal, folded.

use std::collections::{BTreeMap, BTreeSet};

use model::{AttemptId, Exit, GpuIndex, JobKey, JobNo, Mib};
use policy::NextVram;

use crate::queue::{Record, Status};

/// All that the journal says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durable {
    jobs: BTreeMap<JobKey, Job>,
    /// Jobs whose line went while an equal one stayed.
    left: BTreeSet<JobKey>,
    /// Numbers of jobs that ran out of GPU memory.
    bumped: BTreeSet<JobNo>,
    /// The highest number given so far.
    last_no: u32,
}

/// One job, as journalled.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its number.
    pub no: JobNo,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Attempts that ran out of GPU memory so far.
    pub ooms: u32,
    /// What replaces the declaration of its line after such an attempt.
    pub next: Option<NextVram>,
    /// Where it stands.
    pub phase: Phase,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// It waits to be started.
    Waiting,
    /// An attempt was begun and its end is not journalled.
    Running(Box<Begun>),
    /// It is over.
    Done {
        /// What came of it.
        status: Status,
        /// How its last attempt ended, if it is known.
        exit: Option<Exit>,
    },
}

/// An attempt that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// The GPUs it has.
    pub gpus: Vec<GpuIndex>,
    /// What it declared, in MiB on each; nothing where it declared nothing.
    pub declared: Option<Mib>,
    /// Its command.
    pub command: String,
}

impl Job {
    fn new(no: JobNo) -> Self {
        Self { no, attempts: 0, ooms: 0, next: None, phase: Phase::Waiting }
    }
}

impl Durable {
    /// The state a journal leads to.
    pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut durable = Self::default();
        for record in records {
            durable.apply(record);
        }
        durable
    }

    /// A job, where the journal knows it.
    pub fn job(&self, key: JobKey) -> Option<&Job> {
        self.jobs.get(&key)
    }

    /// All jobs the journal knows.
    pub fn jobs(&self) -> impl Iterator<Item = (JobKey, &Job)> {
        self.jobs.iter().map(|(key, job)| (*key, job))
    }

    /// Whether the journal knows no job.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether any line went while an equal one stayed.
    pub(super) fn any_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether the job's line went while an equal one stayed.
    pub(super) fn has_left(&self, key: JobKey) -> bool {
        self.left.contains(&key)
    }

    /// The declaration we made for a job after it ran out of GPU memory. Cheap
    /// for all the others.
    pub(super) fn next_vram(&self, no: JobNo, key: impl FnOnce() -> JobKey) -> Option<NextVram> {
        if self.bumped.contains(&no) { self.job(key())?.next } else { None }
    }

    /// The highest number given so far.
    pub(super) fn last_no(&self) -> u32 {
        self.last_no
    }

    /// Takes in one record: the only way this state changes, live and in replay.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Seen { key, no, .. } => {
                self.job_mut(*key, *no);
            }
            Record::Started { key, no, attempt, gpus, declared, command } => {
                let begun = Begun { gpus: gpus.clone(), declared: *declared, command: command.clone() };
                let job = self.job_mut(*key, *no);
                job.attempts = *attempt;
                job.phase = Phase::Running(Box::new(begun));
            }
            Record::Oom { key, next_vram, alone, .. } => {
                if let Some(job) = self.jobs.get_mut(key) {
                    job.ooms += 1;
                    job.next = Some(NextVram { vram: *next_vram, alone: *alone });
                    job.phase = Phase::Waiting;
                    self.bumped.insert(job.no);
                }
            }
            Record::Interrupted { key, .. } => {
                if let Some(job) = self.jobs.get_mut(key) {
                    job.phase = Phase::Waiting;
                }
            }
            Record::Done { key, no, status, exit, .. } => {
                self.job_mut(*key, *no).phase = Phase::Done { status: *status, exit: *exit };
            }
            Record::Left { key } => {
                self.left.insert(*key);
            }
        }
    }

    fn job_mut(&mut self, key: JobKey, no: JobNo) -> &mut Job {
        self.last_no = self.last_no.max(no.0);
        self.jobs.entry(key).or_insert_with(|| Job::new(no))
    }
}

impl Job {
    /// The attempt that was begun last.
    pub fn last_attempt(&self, key: JobKey) -> AttemptId {
        key.attempt(self.attempts)
    }

    /// Whether its attempt has its GPUs to itself.
    pub fn alone(&self, declared: Option<Mib>) -> bool {
        declared.is_none() || self.next.is_some_and(|next| next.alone)
    }
}
