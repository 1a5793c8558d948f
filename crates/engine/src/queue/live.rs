//! An attempt that was begun and whose end we have not taken in.

use std::collections::BTreeMap;

use allocation::Occupant;
use model::{AttemptId, GpuIndex, GpuSet, JobNo, LogPart, Mib, SignedDuration, Timestamp};

use crate::queue::Stopping;
use crate::queue::durable::{Begun, Job};

/// What is known of a running attempt. All of it can be found out again.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) attempt: AttemptId,
    pub(super) no: JobNo,
    /// Its line in the present file.
    pub(super) line: Option<u32>,
    /// Its name, if it has one, and its command.
    pub(super) title: String,
    pub(super) declared: Option<Mib>,
    /// What it holds of the GPUs, for placement.
    pub(super) occupant: Occupant,
    pub(super) timeout: Option<SignedDuration>,
    /// How often it may run out of GPU memory and be run again.
    pub(super) retries: u32,
    /// The only GPUs it may have.
    pub(super) on: Option<GpuSet>,
    pub(super) since: Timestamp,
    pub(super) known: Known,
    /// Where its output goes, once that is known.
    pub(super) log: LogPart,
    pub(super) utilization: Mean,
    /// Whether the last look could not tell what it uses of some GPU.
    pub(super) unseen: bool,
    pub(super) exceeds_told: bool,
    /// The peak last told by `--verbose`.
    pub(super) told: Option<Mib>,
    pub(super) stop: Option<Stop>,
}

/// What the job host has said of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// We asked for it; nothing more is known.
    Launched,
    /// It was begun before this process; the host has not spoken of it yet.
    Recovered,
    /// It may not have been started: the host is asked to rule it out, again
    /// at this time if it does not answer.
    Doubtful { ask_again: Timestamp },
    /// It runs.
    Running,
}

/// An attempt that is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) why: Stopping,
    /// When SIGKILL follows (again).
    pub(super) kill_at: Timestamp,
    pub(super) killed: bool,
}

impl Stop {
    /// One that begins `now` and may take as long as the `grace`.
    pub(super) fn after(grace: SignedDuration, why: Stopping, now: Timestamp) -> Self {
        Self { why, kill_at: now + grace, killed: false }
    }
}

/// A running mean.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// The mean, rounded to a tenth: more would be pretence.
    pub(super) fn get(self) -> Option<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "a percentage to one decimal")]
        (self.count > 0).then(|| ((self.sum / f64::from(self.count) * 10.0).round() / 10.0) as f32)
    }
}

/// GPUs that an attempt may still hold memory on although it has ended.
#[derive(Debug, Clone)]
pub(super) struct Lingering {
    pub(super) attempt: AttemptId,
    pub(super) occupant: Occupant,
    pub(super) ended: Timestamp,
}

impl Live {
    /// An attempt the journal says was begun. Its line, if it still has one,
    /// says the rest. One that was being stopped still is, and has the `grace`
    /// anew: it may not have heard of it.
    pub(super) fn recovered(
        attempt: AttemptId,
        job: &Job,
        begun: Begun,
        now: Timestamp,
        grace: SignedDuration,
    ) -> Self {
        let alone = job.alone(&begun);
        let stop = begun.stopping.map(|why| Stop::after(grace, why, now));
        Self { stop, ..Self::new(attempt, job.no, begun, alone, Known::Recovered, now) }
    }

    /// An attempt whose start is journalled, without what its line says.
    pub(super) fn new(
        attempt: AttemptId,
        no: JobNo,
        begun: Begun,
        alone: bool,
        known: Known,
        since: Timestamp,
    ) -> Self {
        let Begun { gpus, declared, share, command, .. } = begun;
        let (promised, share) = (declared.filter(|_| !alone), share.filter(|_| !alone));
        Self {
            attempt,
            no,
            line: None,
            title: command,
            declared,
            occupant: Occupant { gpus, declared: promised, share, ..Occupant::default() },
            timeout: None,
            retries: 0,
            on: None,
            since,
            known,
            log: LogPart::default(),
            utilization: Mean::default(),
            unseen: false,
            exceeds_told: false,
            told: None,
            stop: None,
        }
    }

    /// The most it has used of one GPU, where it was seen to use any.
    pub(super) fn peak(&self) -> Option<Mib> {
        self.occupant.peak.values().max().copied()
    }

    /// Its GPUs.
    pub(super) fn gpus(&self) -> &[GpuIndex] {
        &self.occupant.gpus
    }

    /// Takes in what it uses now.
    pub(super) fn observe(&mut self, now: BTreeMap<GpuIndex, Mib>) {
        for (gpu, used) in &now {
            let peak = self.occupant.peak.entry(*gpu).or_default();
            *peak = (*peak).max(*used);
        }
        self.occupant.now = now;
    }
}
