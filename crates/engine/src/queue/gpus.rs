//! What the GPUs show: usage of our jobs, and when to look again.

use std::collections::BTreeMap;

use allocation::Occupant;
use model::{AttemptId, GpuIndex, GpuSnapshot, Mib, SignedDuration, Timestamp, Unavailable};

use crate::queue::machine::{Queue, Turn};
use crate::queue::{Effect, Report};

/// `--verbose` tells a peak again when it has grown by this much.
const TOLD_STEP: Mib = Mib::new(256);

/// How long an attempt that has ended may still hold memory. SIGKILL does not
/// free it at once.
const LINGER: SignedDuration = SignedDuration::from_secs(30);

/// Memory read this soon after one of our jobs began or ended may be half of
/// before and half of after.
const STIR: SignedDuration = SignedDuration::from_secs(2);

/// How soon to look again in that case.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_millis(250);

/// A sample older than this is not placed by, whatever `--poll` says.
const STALE: SignedDuration = SignedDuration::from_secs(20);

impl Queue {
    pub(super) fn on_gpus(&mut self, sample: Result<GpuSnapshot, Unavailable>, turn: &mut Turn) {
        let asked_at = self.sampling.asked_at.take().unwrap_or(turn.now);
        self.sampling.next_at = Some(turn.now + self.config.poll);
        match sample {
            Ok(snapshot) => {
                if self.sampling.unknown.take().is_some() {
                    self.board.stale = true;
                    turn.report(Report::GpusKnown);
                }
                self.sampling.failures = 0;
                self.observe(snapshot, asked_at, turn);
            }
            Err(Unavailable(why)) => {
                self.sampling.failures += 1;
                let attempt = self.sampling.failures;
                // Less and less often: the reason may be another each time, and
                // the board has the latest.
                if attempt.is_power_of_two() {
                    turn.report(Report::GpusUnknown { why: why.clone(), attempt });
                }
                self.board.stale = true;
                self.sampling.unknown = Some(why);
            }
        }
        self.sampling.ended_meanwhile.clear();
    }

    fn observe(&mut self, mut snapshot: GpuSnapshot, asked_at: Timestamp, turn: &mut Turn) {
        self.let_go_of_lingering(&snapshot, asked_at, turn.now);
        self.disown_strangers(&mut snapshot);
        let first = self.sampling.known_at.replace(asked_at).is_none();
        self.node.observe(&snapshot, &self.config.rules);
        if first {
            let usable = self.node.devices().map(|device| device.index).collect();
            turn.report(Report::Gpus { usable });
            self.board.stale = true;
        }
        self.tell_gpus_out(turn);
        self.observe_jobs(&snapshot, turn);
        self.blocked.clear();
        self.board.stale |= !self.live.is_empty() || self.lines.any_left();
        // What no listed process explains is either hidden from us or was read
        // while a job of ours came or went.
        let stirred = self.sampling.stirred_at.is_some_and(|at| turn.now.duration_since(at) < STIR);
        if stirred && !self.lines.waiting.is_empty() && self.has_unexplained_use(&snapshot) {
            self.sampling.next_at = Some(turn.now + LOOK_AGAIN.min(self.config.poll));
        }
    }

    /// Tells which GPUs take no new jobs any more, and which do again: on a
    /// machine where all are out, nobody should have to look for the board.
    fn tell_gpus_out(&mut self, turn: &mut Turn) {
        let mut out = self.node.out_of_service();
        for gpu in self.sampling.out.iter().filter(|gpu| !out.contains_key(gpu)) {
            turn.report(Report::GpuBack { gpu: *gpu });
        }
        let now = out.keys().copied().collect();
        let before = std::mem::replace(&mut self.sampling.out, now);
        out.retain(|gpu, _| !before.contains(gpu));
        for (gpu, why) in out {
            turn.report(Report::GpuOut { gpu, why });
        }
    }

    /// Memory of ended attempts is free once their processes are off the list.
    fn let_go_of_lingering(&mut self, snapshot: &GpuSnapshot, asked_at: Timestamp, now: Timestamp) {
        self.lingering.retain(|lingering| {
            let listed = snapshot.apps.iter().any(|app| app.owner == Some(lingering.attempt));
            (listed || asked_at < lingering.ended) && now.duration_since(lingering.ended) < LINGER
        });
    }

    /// Processes of attempts that are over for us count as anyone else's, and so
    /// does use of a GPU that an attempt was not given: nothing is reserved there.
    fn disown_strangers(&self, snapshot: &mut GpuSnapshot) {
        for app in &mut snapshot.apps {
            let holds = |attempt: AttemptId, occupant: &Occupant, owner: AttemptId| {
                attempt == owner && occupant.gpus.contains(&app.gpu)
            };
            app.owner = app.owner.filter(|owner| {
                self.live.values().any(|live| holds(live.attempt, &live.occupant, *owner))
                    || self.lingering.iter().any(|it| holds(it.attempt, &it.occupant, *owner))
                    || self.sampling.ended_meanwhile.contains(owner)
            });
        }
    }

    fn observe_jobs(&mut self, snapshot: &GpuSnapshot, turn: &mut Turn) {
        let mut used = use_by_attempt(snapshot);
        for live in self.live.values_mut() {
            for gpu in live.occupant.gpus.clone() {
                let utilization = snapshot.gpus.get(&gpu).and_then(|gpu| gpu.utilization);
                if let Some(percent) = utilization {
                    live.utilization.add(f64::from(percent.0));
                }
            }
            live.observe(used.remove(&live.attempt).unwrap_or_default());
            live.unseen = live.gpus().iter().any(|gpu| !snapshot.gpus.contains_key(gpu))
                || snapshot.apps.iter().any(|app| app.owner == Some(live.attempt) && app.used.is_none());
            let Some(peak) = live.peak() else { continue };
            if let Some(declared) = live.declared
                && !live.exceeds_told
                && f64::from(peak.get()) > f64::from(declared.get()) * (1.0 + self.config.tolerance.get())
            {
                live.exceeds_told = true;
                let gpu =
                    live.occupant.peak.iter().max_by_key(|(gpu, mib)| (**mib, std::cmp::Reverse(**gpu)));
                let gpu = gpu.map_or(GpuIndex(0), |(gpu, _)| *gpu);
                turn.report(Report::Exceeds { no: live.no, gpu, peak, declared });
            }
            let grown = live.told.is_none_or(|told| peak >= told + TOLD_STEP);
            if self.config.verbose && grown {
                live.told = Some(peak);
                turn.report(Report::Usage { no: live.no, now: live.occupant.now.clone(), peak });
            }
        }
    }

    fn has_unexplained_use(&self, snapshot: &GpuSnapshot) -> bool {
        let explained = |gpu: GpuIndex| -> Mib {
            snapshot.apps.iter().filter(|app| app.gpu == gpu).filter_map(|app| app.used).sum()
        };
        snapshot.gpus.values().any(|gpu| {
            gpu.used.is_some_and(|used| {
                used.saturating_sub(explained(gpu.index)) >= self.config.rules.idle_threshold.max(Mib::new(1))
            })
        })
    }

    /// Whether what is known of the GPUs is good enough to place by.
    pub(super) fn gpus_are_known(&self, now: Timestamp) -> bool {
        let fresh = self.config.poll.saturating_mul(3).max(STALE);
        self.sampling.unknown.is_none()
            && self.sampling.known_at.is_some_and(|at| now.duration_since(at) < fresh)
    }

    /// Asks for a sample when one is due: only while anything runs or waits.
    pub(super) fn keep_sampling(&mut self, turn: &mut Turn) {
        if self.next_sample_deadline().is_some_and(|at| at <= turn.now) {
            self.sampling.asked_at = Some(turn.now);
            self.sampling.next_at = None;
            turn.perform(Effect::SampleGpus);
        }
    }

    pub(super) fn next_sample_deadline(&self) -> Option<Timestamp> {
        let wanted =
            !self.live.is_empty() || !self.lines.waiting.is_empty() || self.sampling.known_at.is_none();
        let under_way = self.sampling.asked_at.is_some();
        (wanted && !under_way).then(|| self.sampling.next_at.unwrap_or(Timestamp::MIN))
    }
}

/// What each attempt uses of each GPU. An attempt one of whose processes has
/// unknown use on a GPU is left out there: unknown is not less.
fn use_by_attempt(snapshot: &GpuSnapshot) -> BTreeMap<AttemptId, BTreeMap<GpuIndex, Mib>> {
    let mut used: BTreeMap<AttemptId, BTreeMap<GpuIndex, Option<Mib>>> = BTreeMap::new();
    for app in &snapshot.apps {
        if let Some(owner) = app.owner {
            let sum = used.entry(owner).or_default().entry(app.gpu).or_insert(Some(Mib::ZERO));
            *sum = sum.zip(app.used).map(|(sum, more)| sum + more);
        }
    }
    used.into_iter()
        .map(|(owner, gpus)| (owner, gpus.into_iter().filter_map(|(gpu, mib)| Some((gpu, mib?))).collect()))
        .collect()
}
