//! What must never happen, looked at from outside the engine.

use std::collections::{BTreeMap, BTreeSet};

use engine::queue::{Record, Report, Status};
use model::{AttemptId, GpuIndex, GpuSet, JobKey, JobNo, Mib, Share};

use crate::node::{End, SimNode};

/// Knows the truth about all processes, and compares.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// Attempts whose start is in the journal, with their declarations.
    journalled: BTreeMap<AttemptId, Promise>,
    numbers: BTreeMap<JobNo, JobKey>,
    /// Jobs whose end a user was told.
    told_done: BTreeSet<JobKey>,
    /// How the last body of each job ended, where it has.
    last_end: BTreeMap<JobKey, LastEnd>,
    /// Attempts the scheduler has signalled.
    stopped: BTreeSet<AttemptId>,
    /// How many processes were started in all.
    bodies: u32,
    margin: Mib,
    /// GPUs that are to take no new jobs.
    paused: GpuSet,
    /// Jobs that were asked to be run again since they ended.
    reopened: BTreeSet<JobKey>,
    /// Requests to run a job again that were granted.
    granted: BTreeSet<String>,
    /// The last attempts of jobs when a user was told that they are cancelled.
    cancelled: BTreeMap<JobKey, AttemptId>,
}

/// What an attempt was given of each of its GPUs.
#[derive(Debug, Clone, Copy)]
struct Promise {
    memory: Option<Mib>,
    share: Option<Share>,
}

impl Promise {
    const fn is_alone(&self) -> bool {
        self.memory.is_none() && self.share.is_none()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastEnd {
    /// It will be run again, and rightly so.
    MayRunAgain,
    /// It came to its own end.
    Final,
}

impl Checker {
    pub(crate) fn new(margin: Mib) -> Self {
        Self { margin, ..Self::default() }
    }

    pub(crate) fn on_record(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Started { key, no, attempt, gpus, declared, share, .. } => {
                let attempt = key.attempt(*attempt);
                if let Some(gpu) = gpus.iter().find(|gpu| self.paused.contains(**gpu)) {
                    return Err(format!("{attempt} gets GPU {gpu}, which is paused"));
                }
                self.journalled.insert(attempt, Promise { memory: *declared, share: *share });
                self.numbers.insert(*no, *key);
            }
            Record::Seen { key, no, .. } => {
                self.numbers.insert(*no, *key);
            }
            Record::Done { key, no, .. } => {
                self.numbers.insert(*no, *key);
                self.reopened.remove(key);
            }
            Record::Retried { key, request } => {
                if !self.granted.insert(request.clone()) {
                    return Err(format!("{request} is granted twice"));
                }
                // That it ended may be told later: a report waits for the disk.
                self.reopened.insert(*key);
                self.told_done.remove(key);
                self.cancelled.remove(key);
                self.last_end.insert(*key, LastEnd::MayRunAgain);
            }
            Record::Paused { gpus } => self.paused = gpus.iter().copied().collect(),
            Record::Oom { .. }
            | Record::Interrupted { .. }
            | Record::Stopping { .. }
            | Record::NotStarted { .. }
            | Record::Left { .. } => {}
        }
        Ok(())
    }

    /// A scheduler has read these. Some may be new: of a write that was torn, whole
    /// records can have come down.
    pub(crate) fn on_reading(&mut self, records: &[Record]) -> Result<(), String> {
        let mut granted = BTreeSet::new();
        for record in records {
            if let Record::Paused { gpus } = record {
                self.paused = gpus.iter().copied().collect();
            }
            if let Record::Retried { request, .. } = record {
                if !self.granted.contains(request) {
                    self.on_record(record)?;
                }
                granted.insert(request.clone());
            }
        }
        // Of what was not on the disk, a reboot has left some out.
        self.granted = granted;
        Ok(())
    }

    pub(crate) fn on_report(&mut self, report: &Report) {
        if let Report::Cancelling { no } = report
            && let Some(key) = self.numbers.get(no)
            && let Some((last, _)) = self.journalled.range(key.attempt(0)..=key.attempt(u32::MAX)).next_back()
        {
            self.cancelled.insert(*key, *last);
        }
        if let Report::Finished(ended) = report
            && ended.status == Status::Ok
            && let Some(key) = self.numbers.get(&ended.no)
            && !self.reopened.contains(key)
        {
            self.told_done.insert(*key);
        }
    }

    pub(crate) fn on_signal(&mut self, attempt: AttemptId) {
        self.stopped.insert(attempt);
    }

    /// The keeper is about to start a process.
    pub(crate) fn on_start(
        &mut self,
        attempt: AttemptId,
        gpus: &[GpuIndex],
        node: &SimNode,
    ) -> Result<Option<Mib>, String> {
        let key = attempt.key;
        let Some(promise) = self.journalled.get(&attempt).copied() else {
            return Err(format!("{attempt} is started, and the journal does not say so"));
        };
        if let Some((other, _)) = node.processes.iter().find(|(other, _)| other.key == key) {
            return Err(format!("double launch: {attempt} is started beside {other}"));
        }
        if self.told_done.contains(&key) {
            return Err(format!("{attempt} is started although its end was told"));
        }
        if self.last_end.get(&key) == Some(&LastEnd::Final) {
            return Err(format!("{attempt} is started although the job came to its own end"));
        }
        if self.cancelled.get(&key).is_some_and(|last| attempt > *last) {
            return Err(format!("{attempt} is started although the job was cancelled"));
        }
        for gpu in gpus {
            self.check_room(attempt, *gpu, promise, node)?;
        }
        self.bodies += 1;
        Ok(promise.memory)
    }

    fn check_room(
        &self,
        attempt: AttemptId,
        gpu: GpuIndex,
        promise: Promise,
        node: &SimNode,
    ) -> Result<(), String> {
        let beside: Vec<AttemptId> = node
            .processes
            .iter()
            .filter(|(_, process)| process.gpus.contains(&gpu))
            .map(|(other, _)| *other)
            .collect();
        let promises = || beside.iter().filter_map(|other| self.journalled.get(other)).chain([&promise]);
        if promises().any(Promise::is_alone) && !beside.is_empty() {
            return Err(format!(
                "{attempt} shares GPU {gpu} with {beside:?}, and one of them has it to itself"
            ));
        }
        let total = node.gpus.get(usize::from(gpu.0)).copied().unwrap_or_default();
        let sum: Mib = promises().filter_map(|promise| promise.memory).sum();
        if !beside.is_empty() && sum > Mib::ZERO && sum + self.margin_of(promise) > total {
            return Err(format!("GPU {gpu} is promised {sum} of {total} by the start of {attempt}"));
        }
        let parts: f64 = promises().filter_map(|promise| promise.share).map(Share::get).sum();
        if parts > 1.0 + 1.0e-9 {
            return Err(format!("{parts} of GPU {gpu} are promised by the start of {attempt}"));
        }
        Ok(())
    }

    /// What has to stay free beside a newcomer that declares memory.
    fn margin_of(&self, newcomer: Promise) -> Mib {
        newcomer.memory.map_or(Mib::ZERO, |_| self.margin)
    }

    /// A process has ended, seen or not.
    pub(crate) fn on_end(&mut self, attempt: AttemptId, how: End) {
        let again = matches!(how, End::OutOfMemory) || self.stopped.contains(&attempt);
        self.last_end.insert(attempt.key, if again { LastEnd::MayRunAgain } else { LastEnd::Final });
    }

    /// What ran is gone, and with it what was not on the disk.
    pub(crate) fn on_reboot(&mut self) {
        for end in self.last_end.values_mut() {
            *end = LastEnd::MayRunAgain;
        }
        self.cancelled.clear();
    }

    /// How many bodies ran.
    pub(crate) fn bodies(&self) -> u32 {
        self.bodies
    }
}
