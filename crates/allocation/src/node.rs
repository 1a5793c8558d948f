//! The GPUs of this machine, as far as they are known.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use model::{Gpu, GpuIndex, GpuSet, GpuSnapshot, GpuUuid, Health, Mib, Percent};

use crate::external::ExternalPeaks;
use crate::{Infeasible, Request, Rules};

/// A GPU that is there now, as far as placement is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub index: GpuIndex,
    /// Its identifier.
    pub uuid: GpuUuid,
    /// What jobs can have of it when it is empty, in MiB.
    pub usable: Option<Mib>,
    /// What is in use by anybody, in MiB.
    pub used: Option<Mib>,
    /// `utilization.gpu`, whoever causes it.
    pub utilization: Option<Percent>,
    /// What to keep for processes that are not ours, in MiB.
    pub external: Mib,
    /// Why it takes no new jobs, in words, if it does not.
    pub trouble: Option<String>,
}

/// What is known of the GPUs of this machine.
#[derive(Debug, Clone)]
pub struct Node {
    allowed: Option<BTreeSet<GpuIndex>>,
    pub(crate) read: bool,
    present: BTreeMap<GpuIndex, Device>,
    /// Every GPU there ever was, with the most memory it ever had to give: one
    /// that blinks does not make a job infeasible.
    seen: BTreeMap<GpuIndex, Option<Mib>>,
    /// Which GPU had each index first.
    uuids: BTreeMap<GpuIndex, GpuUuid>,
    peaks: ExternalPeaks,
    paused: GpuSet,
}

impl Node {
    /// A machine of which nothing is known yet. Of its GPUs only the `allowed`
    /// ones count; nothing means all.
    pub fn new(allowed: Option<BTreeSet<GpuIndex>>) -> Self {
        Self {
            allowed,
            read: false,
            present: BTreeMap::new(),
            seen: BTreeMap::new(),
            uuids: BTreeMap::new(),
            peaks: ExternalPeaks::default(),
            paused: GpuSet::default(),
        }
    }

    /// Has these GPUs take no new jobs, and all others take them again.
    pub fn pause(&mut self, gpus: GpuSet) {
        self.paused = gpus;
    }

    /// Whether a GPU was told to take no new jobs.
    pub fn is_paused(&self, gpu: GpuIndex) -> bool {
        self.paused.contains(gpu)
    }

    /// The allowed GPUs there ever were, ascending by index.
    pub fn known(&self) -> impl Iterator<Item = GpuIndex> {
        self.seen.keys().copied()
    }

    /// Whether there ever was such a GPU among the allowed ones.
    pub fn knows(&self, gpu: GpuIndex) -> bool {
        self.seen.contains_key(&gpu)
    }

    /// Takes in what the GPUs look like now.
    ///
    /// The memory of a process belongs to a job only where `owner` says so and
    /// the use is known. What cannot be attributed counts as external, although
    /// the job's declaration is reserved as well: memory that is counted twice
    /// leaves room unused, memory that is not counted lets a neighbour fail. An
    /// owner must be a job that holds that GPU; the caller clears all others.
    pub fn observe(&mut self, snapshot: &GpuSnapshot, rules: &Rules) {
        self.read = true;
        self.peaks.observe(snapshot);
        self.present.clear();
        for gpu in snapshot.gpus.values() {
            if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&gpu.index)) {
                continue;
            }
            let held = self.peaks.held(gpu.index, rules.spike_buffer);
            let used = in_use(gpu);
            let known_as = self.uuids.entry(gpu.index).or_insert_with(|| gpu.uuid.clone());
            let device = Device {
                index: gpu.index,
                uuid: gpu.uuid.clone(),
                usable: gpu.usable(),
                used,
                utilization: gpu.utilization,
                external: used.map_or(held, |used| held.max(used.saturating_sub(ours_on(gpu, snapshot)))),
                trouble: trouble(gpu).or_else(|| (*known_as != gpu.uuid).then(|| RENUMBERED.to_owned())),
            };
            // A GPU that wants a reset reports no memory at all: only a healthy
            // one is believed when it comes to what is possible.
            let size = if device.trouble.is_none() { device.usable } else { None };
            let largest = self.seen.entry(gpu.index).or_default();
            *largest = size.max(*largest);
            self.present.insert(gpu.index, device);
        }
    }

    /// The allowed GPUs that are there now, ascending by index.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.present.values()
    }

    /// One of the allowed GPUs, if it is there now.
    pub fn device(&self, gpu: GpuIndex) -> Option<&Device> {
        self.present.get(&gpu)
    }

    /// The most memory one of the allowed GPUs was ever able to give, in MiB.
    pub fn largest(&self) -> Option<Mib> {
        self.largest_for(NonZeroU16::MIN, None)
    }

    /// The most memory that each of so many allowed GPUs was ever able to give,
    /// in MiB: the most a job on that many GPUs can have, where it may have only
    /// those `on` a list. Nothing where fewer are known.
    pub fn largest_for(&self, gpus: NonZeroU16, on: Option<GpuSet>) -> Option<Mib> {
        let may = |gpu: &GpuIndex| on.is_none_or(|on| on.contains(*gpu));
        let seen = self.seen.iter().filter(|(gpu, _)| may(gpu));
        let mut sizes: Vec<Mib> = seen.filter_map(|(_, size)| *size).collect();
        sizes.sort_unstable();
        sizes.into_iter().rev().nth(usize::from(gpus.get()) - 1)
    }

    /// Why `request` can never be met, if it can't. A GPU of unknown size might
    /// be large enough for anything.
    pub(crate) fn infeasible(&self, request: &Request, rules: &Rules) -> Option<Infeasible> {
        let needed = request.gpus.count().get();
        let seen = || self.seen.iter().filter(|(gpu, _)| request.allows(**gpu)).map(|(_, size)| size);
        let usable = seen().count();
        if usable < usize::from(needed) {
            return Some(match request.on {
                None => Infeasible::TooFewGpus { needed, usable },
                Some(on) => Infeasible::TooFewAllowed { needed, usable, on },
            });
        }
        let declared = request.vram?;
        let margin = request.margin(rules);
        let large = |size: &&Option<Mib>| size.is_none_or(|size| size >= declared + margin);
        (seen().filter(large).count() < usize::from(needed)).then(|| Infeasible::TooLittleMemory {
            declared,
            margin,
            needed,
            largest: self.largest(),
        })
    }

    /// The allowed GPUs that take no new jobs now, whatever those need, and why.
    pub fn out_of_service(&self) -> BTreeMap<GpuIndex, String> {
        let absent = self.absent().map(|gpu| (gpu, "it is not there at the moment".to_owned()));
        let why = |device: &Device| match (&device.trouble, device.used) {
            (Some(why), _) => Some(why.clone()),
            (None, None) => Some("how much of its memory is in use is unknown".to_owned()),
            (None, Some(_)) => None,
        };
        let present = self.devices().filter_map(|device| Some((device.index, why(device)?)));
        absent.chain(present).collect()
    }

    /// The GPUs that are not there now but were.
    pub(crate) fn absent(&self) -> impl Iterator<Item = GpuIndex> {
        self.seen.keys().copied().filter(|gpu| !self.present.contains_key(gpu))
    }
}

impl Device {
    /// What it has for jobs of ours. Nothing is known where the use by others is
    /// not: they may have taken all of it.
    pub fn room(&self) -> Option<Mib> {
        self.used.and(self.usable).map(|usable| usable.saturating_sub(self.external))
    }

    /// What it has to spare once `reserved` is kept for jobs of ours.
    pub(crate) fn spare(&self, reserved: Mib) -> Option<Mib> {
        self.room().map(|room| room.saturating_sub(reserved))
    }
}

/// Why a GPU takes no jobs whose index was another's: jobs that run know theirs
/// by the index alone, so nobody can tell any more what is taken where.
pub(crate) const RENUMBERED: &str =
    "the driver has renumbered the GPUs since gpusched was started; start it again when no job runs";

/// What is in use of a GPU by anybody. Where that is not told but what is free
/// is, it is the rest, with what the driver keeps for itself.
fn in_use(gpu: &Gpu) -> Option<Mib> {
    gpu.used.or_else(|| gpu.total.zip(gpu.free).map(|(total, free)| total.saturating_sub(free)))
}

/// What our jobs are known to use of a GPU.
fn ours_on(gpu: &Gpu, snapshot: &GpuSnapshot) -> Mib {
    let ours = snapshot.apps.iter().filter(|app| app.gpu == gpu.index && app.owner.is_some());
    ours.filter_map(|app| app.used).sum()
}

/// Why a GPU takes no new jobs, if it does not.
fn trouble(gpu: &Gpu) -> Option<String> {
    match &gpu.health {
        Health::Lost(why) | Health::Suspect(why) => Some(why.clone()),
        Health::Healthy => gpu.mig.then(|| "MIG is on".to_owned()),
    }
}
