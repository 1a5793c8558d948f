//! A machine with GPUs, processes and a keeper, none of them real.

use std::collections::BTreeMap;

use engine::keeper::{Fate, KeeperRecord, Ledger};
use model::{
    AttemptId, AttemptSighting, ComputeApp, Exit, Gpu, GpuIndex, GpuSnapshot, GpuUuid, Health, Launch,
    LaunchError, LogPart, Mib, Percent, Pid, Presence, SignedDuration, Timestamp,
};

use crate::faults::Faults;
use crate::rng::Rng;

/// What a failing job prints when the GPU is full.
const OOM_TEXT: &str = "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB";

/// The machine the jobs run on.
#[derive(Debug)]
pub(crate) struct SimNode {
    pub(crate) gpus: Vec<Mib>,
    pub(crate) processes: BTreeMap<AttemptId, Process>,
    /// What ended jobs left behind.
    survivors: Vec<Survivor>,
    strangers: Vec<Stranger>,
    ledger: Ledger,
    log: Vec<KeeperRecord>,
    pub(crate) keeper_alive: bool,
    boots: u32,
    next_pid: u32,
    rng: Rng,
}

/// A job's process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) gpus: Vec<GpuIndex>,
    pub(crate) started: Timestamp,
    /// What it comes to use of each GPU, and when.
    full: Mib,
    full_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    exit: Exit,
    ignores_term: bool,
    leaves_survivors: bool,
}

#[derive(Debug, Clone)]
struct Survivor {
    attempt: AttemptId,
    pid: Pid,
    gpus: Vec<GpuIndex>,
    used: Mib,
    until: Timestamp,
}

#[derive(Debug, Clone)]
struct Stranger {
    gpu: GpuIndex,
    pid: Pid,
    used: Mib,
}

impl SimNode {
    pub(crate) fn new(rng: Rng, gpus: Vec<Mib>) -> Self {
        let mut node = Self {
            gpus,
            processes: BTreeMap::new(),
            survivors: Vec::new(),
            strangers: Vec::new(),
            ledger: Ledger::default(),
            log: Vec::new(),
            keeper_alive: false,
            boots: 0,
            next_pid: 1000,
            rng,
        };
        node.write(KeeperRecord::Opened { boot_id: node.boot_id(), pid: Pid(1) });
        node
    }

    fn boot_id(&self) -> Box<str> {
        format!("boot-{}", self.boots).into()
    }

    fn write(&mut self, record: KeeperRecord) {
        self.ledger.apply(&record);
        self.log.push(record);
    }

    fn pid(&mut self) -> Pid {
        self.next_pid += 1;
        Pid(self.next_pid)
    }

    /// Whether the keeper has not heard of an attempt before.
    pub(crate) fn admits(&self, attempt: AttemptId) -> Result<(), LaunchError> {
        self.ledger.admit(attempt)
    }

    /// The keeper starts an attempt, unless it has heard of it before. Returns
    /// when its memory is at its height.
    pub(crate) fn launch(
        &mut self,
        launch: &Launch,
        declared: Option<Mib>,
        faults: &Faults,
        now: Timestamp,
    ) -> Result<Timestamp, LaunchError> {
        self.ledger.admit(launch.attempt)?;
        self.keeper_alive = true;
        let at_ms = now.as_millisecond();
        self.write(KeeperRecord::Launching {
            attempt: launch.attempt,
            log: "log".into(),
            log_from: 0,
            at_ms,
            seat: false,
        });
        if self.rng.chance(faults.launch_fails) {
            let why = "its script is not there".to_owned();
            self.write(KeeperRecord::Failed { attempt: launch.attempt, why: why.clone() });
            return Err(LaunchError::Spawn(why));
        }
        let process = self.make_process(launch, declared, faults, now);
        let full_at = process.full_at;
        let start_time = at_ms.unsigned_abs();
        self.write(KeeperRecord::Running { attempt: launch.attempt, pid: process.pid, start_time });
        self.processes.insert(launch.attempt, process);
        Ok(full_at)
    }

    fn make_process(
        &mut self,
        launch: &Launch,
        declared: Option<Mib>,
        faults: &Faults,
        now: Timestamp,
    ) -> Process {
        let smallest = self.gpus.iter().min().copied().unwrap_or_default().get();
        let honest = declared.map_or_else(|| self.rng.between(100, smallest), Mib::get);
        let share = if self.rng.chance(faults.overshoot) {
            self.rng.between(101, 180)
        } else {
            self.rng.between(40, 100)
        };
        let full = Mib::new(u32::try_from(u64::from(honest) * u64::from(share) / 100).unwrap_or(u32::MAX));
        let lasts = self.rng.between(50, 600_000);
        let ramp = self.rng.between(0, lasts / 2);
        let fails = self.rng.chance(faults.job_fails);
        Process {
            pid: self.pid(),
            gpus: launch.gpus.iter().map(|(gpu, _)| *gpu).collect(),
            started: now,
            full,
            full_at: now + millis(ramp),
            ends_at: now + millis(lasts),
            exit: if fails { Exit::Code(3) } else { Exit::Code(0) },
            ignores_term: self.rng.chance(faults.ignores_term),
            leaves_survivors: self.rng.chance(faults.leaves_survivors),
        }
    }

    /// Whether a process that wants its full memory now finds a GPU too small.
    pub(crate) fn runs_out_of_memory(&self, attempt: AttemptId, now: Timestamp) -> bool {
        self.processes
            .get(&attempt)
            .is_some_and(|process| process.gpus.iter().any(|gpu| self.used(*gpu, now) > self.total(*gpu)))
    }

    fn total(&self, gpu: GpuIndex) -> Mib {
        self.gpus.get(usize::from(gpu.0)).copied().unwrap_or_default()
    }

    fn used(&self, gpu: GpuIndex, now: Timestamp) -> Mib {
        self.apps(now).into_iter().filter(|app| app.gpu == gpu).filter_map(|app| app.used).sum()
    }

    /// The keeper sees a process end. `None` when it is not there any more.
    pub(crate) fn end(&mut self, attempt: AttemptId, how: End, now: Timestamp) -> Option<AttemptSighting> {
        let process = self.processes.remove(&attempt)?;
        let exit = match how {
            End::ByItself => process.exit,
            End::OutOfMemory => Exit::Code(1),
            End::Terminated => Exit::Signal(15),
            End::Killed => Exit::Signal(9),
        };
        let survivors = process.leaves_survivors && how != End::Killed;
        if survivors {
            let until = now + millis(self.rng.between(1, 40_000));
            let pid = self.pid();
            self.survivors.push(Survivor { attempt, pid, gpus: process.gpus, used: process.full, until });
        }
        let elapsed = now.duration_since(process.started);
        if !self.keeper_alive {
            return Some(AttemptSighting {
                attempt,
                presence: Presence::Lost("its keeper was killed".into()),
            });
        }
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        self.write(KeeperRecord::Ended { attempt, exit, elapsed_ms, survivors });
        let tail = if how == End::OutOfMemory { OOM_TEXT } else { "" };
        Some(AttemptSighting {
            attempt,
            presence: Presence::Ended { exit, elapsed, tail: tail.into(), survivors },
        })
    }

    /// Whether SIGTERM ends it.
    pub(crate) fn heeds_term(&self, attempt: AttemptId) -> bool {
        self.processes.get(&attempt).is_some_and(|process| !process.ignores_term)
    }

    /// Makes sure an attempt that was not started never will be.
    pub(crate) fn void(&mut self, attempt: AttemptId, now: Timestamp) -> AttemptSighting {
        if self.ledger.admit(attempt).is_ok() {
            self.write(KeeperRecord::Voided { attempt });
        }
        AttemptSighting { attempt, presence: self.presence(attempt, now) }
    }

    pub(crate) fn survey(&self, now: Timestamp) -> Vec<AttemptSighting> {
        let attempts = self.ledger.iter().map(|(attempt, _)| attempt);
        attempts.map(|attempt| AttemptSighting { attempt, presence: self.presence(attempt, now) }).collect()
    }

    fn presence(&self, attempt: AttemptId, now: Timestamp) -> Presence {
        if let Some(process) = self.processes.get(&attempt) {
            return Presence::Running {
                pid: process.pid,
                elapsed: now.duration_since(process.started),
                log: LogPart::default(),
            };
        }
        let Some(kept) = self.ledger.get(attempt) else { return Presence::Voided };
        match &kept.fate {
            Fate::Voided | Fate::Failed(_) => Presence::Voided,
            Fate::Ended { exit, elapsed_ms, survivors } => Presence::Ended {
                exit: *exit,
                elapsed: SignedDuration::from_millis(*elapsed_ms),
                tail: if *exit == Exit::Code(1) { OOM_TEXT.into() } else { Box::default() },
                survivors: *survivors,
            },
            Fate::Launching | Fate::Running { .. } if kept.boot_id != self.boot_id() => Presence::Interrupted,
            Fate::Launching | Fate::Running { .. } => Presence::Lost("its keeper was killed".into()),
        }
    }

    pub(crate) fn kill_keeper(&mut self) {
        self.keeper_alive = false;
    }

    /// Everything that runs is gone, and the end of the keeper's log with it.
    pub(crate) fn reboot(&mut self) {
        self.boots += 1;
        self.processes.clear();
        self.survivors.clear();
        self.strangers.clear();
        self.keeper_alive = false;
        let length = u32::try_from(self.log.len()).unwrap_or(u32::MAX);
        let kept = length - self.rng.between(0, length.min(6));
        self.log.truncate(kept as usize);
        self.ledger = Ledger::default();
        for record in std::mem::take(&mut self.log) {
            self.write(record);
        }
        self.write(KeeperRecord::Opened { boot_id: self.boot_id(), pid: Pid(1) });
    }

    /// Other people's processes come and go.
    pub(crate) fn stir_strangers(&mut self, faults: &Faults) {
        let mut rng = self.rng.clone();
        self.strangers.retain(|_| rng.chance(0.6));
        for stranger in &mut self.strangers {
            stranger.used = Mib::new(rng.between(50, 4000));
        }
        if rng.chance(faults.strangers) {
            let last = u16::try_from(self.gpus.len() - 1).unwrap_or(0);
            let gpu = GpuIndex(u16::try_from(rng.between(0, u32::from(last))).unwrap_or(0));
            let used = Mib::new(rng.between(50, 12_000));
            self.rng = rng;
            let pid = self.pid();
            self.strangers.push(Stranger { gpu, pid, used });
        } else {
            self.rng = rng;
        }
    }

    pub(crate) fn send_strangers_away(&mut self) {
        self.strangers.clear();
    }

    fn apps(&self, now: Timestamp) -> Vec<ComputeApp> {
        let mut apps = Vec::new();
        for (attempt, process) in &self.processes {
            let used = if now < process.full_at { Mib::new(process.full.get() / 3) } else { process.full };
            for gpu in &process.gpus {
                apps.push(app(*gpu, process.pid, used, Some(*attempt)));
            }
        }
        for survivor in self.survivors.iter().filter(|survivor| now < survivor.until) {
            for gpu in &survivor.gpus {
                apps.push(app(*gpu, survivor.pid, survivor.used, Some(survivor.attempt)));
            }
        }
        apps.extend(self.strangers.iter().map(|it| app(it.gpu, it.pid, it.used, None)));
        apps.retain(|app| app.used != Some(Mib::ZERO));
        apps
    }

    /// What a monitor would read now.
    pub(crate) fn snapshot(&mut self, faults: &Faults, now: Timestamp) -> GpuSnapshot {
        let mut snapshot = GpuSnapshot { apps: self.apps(now), ..GpuSnapshot::default() };
        for (number, total) in self.gpus.clone().into_iter().enumerate() {
            let index = GpuIndex(u16::try_from(number).unwrap_or(u16::MAX));
            if self.gpus.len() > 1 && self.rng.chance(faults.gpu_vanishes) {
                continue;
            }
            let used: Mib =
                snapshot.apps.iter().filter(|app| app.gpu == index).filter_map(|app| app.used).sum();
            let used = used.min(total);
            let known = !self.rng.chance(faults.cells_unknown);
            let cell = |mib: Mib| known.then_some(mib);
            let gpu = Gpu {
                index,
                uuid: GpuUuid(format!("GPU-{number}").into()),
                total: cell(total),
                used: cell(used),
                free: cell(total.saturating_sub(used)),
                utilization: known.then_some(Percent(if used > Mib::ZERO { 90 } else { 0 })),
                mig: false,
                health: Health::Healthy,
            };
            snapshot.gpus.insert(index, gpu);
        }
        snapshot
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    ByItself,
    OutOfMemory,
    Terminated,
    Killed,
}

fn app(gpu: GpuIndex, pid: Pid, used: Mib, owner: Option<AttemptId>) -> ComputeApp {
    ComputeApp { gpu, pid, used: Some(used), owner }
}

pub(crate) fn millis(count: u32) -> SignedDuration {
    SignedDuration::from_millis(i64::from(count))
}
