//! What survives a crash: the journal, folded.

use std::collections::{BTreeMap, BTreeSet};

use model::{AttemptId, Exit, GpuIndex, GpuSet, JobKey, JobNo, Mib, Share};
use policy::NextVram;

use crate::queue::{Record, Status, Stopping};

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
    /// GPUs that take no new jobs.
    paused: GpuSet,
}

/// One job, as journalled.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its number.
    pub no: JobNo,
    /// Attempts begun so far.
    pub attempts: u32,
    /// What few jobs have: there may be a million of them.
    past: Option<Box<Past>>,
    /// Where it stands.
    pub phase: Phase,
}

/// What earlier attempts of a job have left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    /// How many ran out of GPU memory so far.
    pub ooms: u32,
    /// What replaces the declaration of its line after such an attempt.
    pub next: Option<NextVram>,
    /// How many in a row could not be started.
    pub not_started: u32,
    /// The last request to run the job again that was granted.
    pub retried: Option<Box<str>>,
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
        /// Why it could not be started, where that is what came of it.
        why: Option<Box<str>>,
    },
}

/// An attempt that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// The GPUs it has.
    pub gpus: Vec<GpuIndex>,
    /// What it declared, in MiB on each; nothing where it declared nothing.
    pub declared: Option<Mib>,
    /// The part of its one GPU, where it needs no more.
    pub share: Option<Share>,
    /// Its command.
    pub command: String,
    /// Why it is to end before its time, if it is.
    pub stopping: Option<Stopping>,
}

impl Past {
    const NONE: Self = Self { ooms: 0, next: None, not_started: 0, retried: None };
}

impl Job {
    fn new(no: JobNo) -> Self {
        Self { no, attempts: 0, past: None, phase: Phase::Waiting }
    }

    /// What its earlier attempts have left.
    pub fn past(&self) -> &Past {
        self.past.as_deref().unwrap_or(&Past::NONE)
    }

    fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    /// It was started this time.
    fn was_started(&mut self) {
        if let Some(past) = &mut self.past {
            past.not_started = 0;
        }
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
        if self.bumped.contains(&no) { self.job(key())?.past().next } else { None }
    }

    /// The GPUs that take no new jobs.
    pub fn paused(&self) -> GpuSet {
        self.paused
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
            Record::Started { key, no, attempt, gpus, declared, share, command } => {
                let (gpus, command) = (gpus.clone(), command.clone());
                let begun = Begun { gpus, declared: *declared, share: *share, command, stopping: None };
                let job = self.job_mut(*key, *no);
                job.attempts = *attempt;
                job.phase = Phase::Running(Box::new(begun));
            }
            Record::Oom { key, next_vram, alone, .. } => {
                if let Some(job) = self.jobs.get_mut(key) {
                    job.was_started();
                    let past = job.past_mut();
                    past.ooms += 1;
                    past.next = Some(NextVram { vram: *next_vram, alone: *alone });
                    job.phase = Phase::Waiting;
                    self.bumped.insert(job.no);
                }
            }
            Record::Interrupted { key, .. } => {
                if let Some(job) = self.jobs.get_mut(key) {
                    job.phase = Phase::Waiting;
                }
            }
            Record::NotStarted { key, .. } => {
                if let Some(job) = self.jobs.get_mut(key) {
                    job.past_mut().not_started += 1;
                    job.phase = Phase::Waiting;
                }
            }
            Record::Stopping { key, attempt, why } => {
                if let Some(job) = self.jobs.get_mut(key).filter(|job| job.attempts == *attempt)
                    && let Phase::Running(begun) = &mut job.phase
                {
                    begun.stopping = Some(*why);
                }
            }
            Record::Done { key, no, status, exit, why, .. } => {
                let why = why.as_deref().map(Box::from);
                let job = self.job_mut(*key, *no);
                job.was_started();
                job.phase = Phase::Done { status: *status, exit: *exit, why };
            }
            Record::Retried { key, request } => {
                if let Some(job) = self.jobs.get_mut(key) {
                    let past = job.past_mut();
                    past.ooms = 0;
                    past.retried = Some(request.as_str().into());
                    job.phase = Phase::Waiting;
                }
            }
            Record::Paused { gpus } => self.paused = gpus.iter().copied().collect(),
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

    /// Whether an attempt of it has its GPUs to itself.
    pub fn alone(&self, begun: &Begun) -> bool {
        let is_undeclared = begun.declared.is_none() && begun.share.is_none();
        is_undeclared || self.past().next.is_some_and(|next| next.alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> JobKey {
        JobKey::new([7; 6], 0)
    }

    fn started(attempt: u32) -> Record {
        let (key, no, gpus) = (key(), JobNo(1), vec![GpuIndex(0)]);
        Record::Started { key, no, attempt, gpus, declared: None, share: None, command: String::new() }
    }

    #[test]
    fn attempts_that_could_not_be_started_count_in_a_row() {
        let failed = |attempt| Record::NotStarted { key: key(), attempt, why: String::new() };
        let oom = Record::Oom { key: key(), attempt: 3, next_vram: None, alone: true };
        let records = [started(1), failed(1), started(2), failed(2), started(3), oom, started(4), failed(4)];
        let counts = (1..=records.len()).map(|count| Durable::fold(&records[..count]));
        let counts: Vec<u32> = counts.map(|durable| durable.job(key()).unwrap().past().not_started).collect();
        assert_eq!(counts, [0, 1, 1, 2, 2, 0, 0, 1]);
    }

    #[track_caller]
    fn check_stopping(records: &[Record], expect: Option<Stopping>) {
        let durable = Durable::fold(records);
        let Phase::Running(begun) = &durable.job(key()).unwrap().phase else { panic!("{durable:?}") };
        assert_eq!(begun.stopping, expect);
    }

    #[test]
    fn an_attempt_is_stopped_and_no_later_one() {
        let stopping = |why| Record::Stopping { key: key(), attempt: 1, why };
        let (shutdown, cancel) = (stopping(Stopping::Shutdown), stopping(Stopping::Cancel));
        let interrupted = Record::Interrupted { key: key(), attempt: 1 };
        check_stopping(&[started(1)], None);
        check_stopping(&[started(1), shutdown.clone()], Some(Stopping::Shutdown));
        check_stopping(&[started(1), shutdown, cancel.clone()], Some(Stopping::Cancel));
        check_stopping(&[started(1), interrupted, started(2), cancel], None);
    }
}
