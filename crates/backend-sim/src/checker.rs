//! What must never happen, looked at from outside the engine.

use std::collections::{BTreeMap, BTreeSet};

use engine::queue::{Record, Report, Status};
use model::{AttemptId, GpuIndex, JobKey, JobNo, Mib};

use crate::node::{End, SimNode};

/// Knows the truth about all processes, and compares.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// Attempts whose start is in the journal, with their declarations.
    journalled: BTreeMap<AttemptId, Option<Mib>>,
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

    pub(crate) fn on_record(&mut self, record: &Record) {
        match record {
            Record::Started { key, no, attempt, declared, .. } => {
                self.journalled.insert(key.attempt(*attempt), *declared);
                self.numbers.insert(*no, *key);
            }
            Record::Seen { key, no, .. } | Record::Done { key, no, .. } => {
                self.numbers.insert(*no, *key);
            }
            Record::Oom { .. } | Record::Interrupted { .. } | Record::Left { .. } => {}
        }
    }

    pub(crate) fn on_report(&mut self, report: &Report) {
        if let Report::Finished(ended) = report
            && ended.status == Status::Ok
            && let Some(key) = self.numbers.get(&ended.no)
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
        let Some(declared) = self.journalled.get(&attempt).copied() else {
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
        for gpu in gpus {
            self.check_room(attempt, *gpu, declared, node)?;
        }
        self.bodies += 1;
        Ok(declared)
    }

    fn check_room(
        &self,
        attempt: AttemptId,
        gpu: GpuIndex,
        declared: Option<Mib>,
        node: &SimNode,
    ) -> Result<(), String> {
        let beside: Vec<AttemptId> = node
            .processes
            .iter()
            .filter(|(_, process)| process.gpus.contains(&gpu))
            .map(|(other, _)| *other)
            .collect();
        let declarations: Vec<Option<Mib>> =
            beside.iter().map(|other| self.journalled.get(other).copied().flatten()).collect();
        let alone = declared.is_none() || declarations.iter().any(Option::is_none);
        if alone && !beside.is_empty() {
            return Err(format!(
                "{attempt} shares GPU {gpu} with {beside:?}, and one of them declared nothing"
            ));
        }
        let total = node.gpus.get(usize::from(gpu.0)).copied().unwrap_or_default();
        let sum: Mib = declarations.into_iter().flatten().chain(declared).sum();
        if !beside.is_empty() && sum + self.margin > total {
            return Err(format!("GPU {gpu} is promised {sum} of {total} by the start of {attempt}"));
        }
        Ok(())
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
    }

    /// How many bodies ran.
    pub(crate) fn bodies(&self) -> u32 {
        self.bodies
    }
}
