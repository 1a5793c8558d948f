//! The GPUs of this machine, and which of them a job gets.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use model::{Gpu, GpuIndex, GpuSnapshot, GpuUuid, Health, Mib, Ratio};

use crate::external::ExternalPeaks;
use crate::{Infeasible, Obstacle, Occupant, Shortfall};

/// The rules of placement, the same for all jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// A GPU is idle while others use less than this of it, in MiB.
    pub idle_threshold: Mib,
    /// What has to stay free beside a newcomer's declaration, in MiB. Those who
    /// are there already do not need it any more.
    pub margin: Mib,
    /// Whether a GPU takes one job at a time.
    pub exclusive: bool,
    /// How much more than its peak a process is expected to use one day, where
    /// there is no declaration to go by.
    pub spike_buffer: Ratio,
}

/// What a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The memory it declares, in MiB on each of its GPUs.
    pub vram: Option<Mib>,
    /// On how many GPUs.
    pub gpus: NonZeroU16,
    /// Whether it wants idle GPUs to itself, each with `vram` in all. A job that
    /// declares nothing always does.
    pub alone: bool,
}

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
    /// What to keep for processes that are not ours, in MiB.
    pub external: Mib,
    /// Why it takes no new jobs, in words, if it does not.
    pub trouble: Option<String>,
}

/// What is known of the GPUs of this machine.
#[derive(Debug, Clone)]
pub struct Node {
    allowed: Option<BTreeSet<GpuIndex>>,
    read: bool,
    present: BTreeMap<GpuIndex, Device>,
    /// Every GPU there ever was, with the most memory it ever had to give: one
    /// that blinks does not make a job infeasible.
    seen: BTreeMap<GpuIndex, Option<Mib>>,
    /// Which GPU had each index first.
    uuids: BTreeMap<GpuIndex, GpuUuid>,
    peaks: ExternalPeaks,
}

/// Whether and where a job can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// Now, on these GPUs, ascending by index.
    Now(Vec<GpuIndex>),
    /// Not now, and why.
    Wait(Shortfall),
    /// Not on this machine, and why.
    Never(Infeasible),
}

impl Request {
    /// What it declares, if it is content to share its GPUs.
    pub(crate) fn shared(&self) -> Option<Mib> {
        self.vram.filter(|_| !self.alone)
    }
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
        }
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
        self.largest_for(NonZeroU16::MIN)
    }

    /// The most memory that each of so many allowed GPUs was ever able to give,
    /// in MiB: the most a job on that many GPUs can have. Nothing where fewer
    /// are known.
    pub fn largest_for(&self, gpus: NonZeroU16) -> Option<Mib> {
        let mut sizes: Vec<Mib> = self.seen.values().copied().flatten().collect();
        sizes.sort_unstable();
        sizes.into_iter().rev().nth(usize::from(gpus.get()) - 1)
    }

    /// Why `request` can never be met, if it can't. A GPU of unknown size might
    /// be large enough for anything.
    fn infeasible(&self, request: &Request, rules: &Rules) -> Option<Infeasible> {
        let needed = request.gpus.get();
        if self.seen.len() < usize::from(needed) {
            return Some(Infeasible::TooFewGpus { needed, usable: self.seen.len() });
        }
        let declared = request.vram?;
        let margin = request.shared().map_or(Mib::ZERO, |_| rules.margin);
        let large = |size: &&Option<Mib>| size.is_none_or(|size| size >= declared + margin);
        (self.seen.values().filter(large).count() < usize::from(needed))
            .then(|| Infeasible::TooLittleMemory { declared, margin, needed, largest: self.largest() })
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
    fn absent(&self) -> impl Iterator<Item = GpuIndex> {
        self.seen.keys().copied().filter(|gpu| !self.present.contains_key(gpu))
    }
}

impl Device {
    /// What it has to spare once `reserved` is kept for jobs of ours. Nothing is
    /// known where the use by others is not: they may have taken all of it.
    fn spare(&self, reserved: Mib) -> Option<Mib> {
        self.used.and(self.usable).map(|usable| usable.saturating_sub(self.external + reserved))
    }
}

/// The memory a GPU has to spare beside others and the jobs on it, in MiB;
/// nothing is known where its memory is not.
pub fn headroom<'a>(
    device: &Device,
    occupants: impl IntoIterator<Item = &'a Occupant>,
    rules: &Rules,
) -> Option<Mib> {
    let budgets = occupants.into_iter().map(|occupant| occupant.budget(device.index, rules.spike_buffer));
    device.spare(budgets.sum())
}

/// Whether and where a job can run beside the `occupants`.
///
/// A job that shares goes where it fits most tightly, so that large gaps are
/// kept for large jobs; one that wants its GPUs alone takes the first idle ones.
/// The order of the occupants does not matter.
pub fn place<'a>(
    request: &Request,
    node: &Node,
    occupants: impl IntoIterator<Item = &'a Occupant>,
    rules: &Rules,
) -> Placement {
    if !node.read {
        return Placement::Wait(Shortfall::Unread);
    }
    if let Some(why) = node.infeasible(request, rules) {
        return Placement::Never(why);
    }
    let mut fitting = Vec::new();
    let mut obstacles = Vec::new();
    for slot in slots(node, occupants, rules) {
        match slot.offer(request, rules) {
            Ok(headroom) => fitting.push((headroom, slot.device.index)),
            Err(obstacle) => obstacles.push(obstacle),
        }
    }
    let needed = usize::from(request.gpus.get());
    if fitting.len() < needed {
        obstacles.extend(node.absent().map(|gpu| Obstacle::Absent { gpu }));
        obstacles.sort_by_key(Obstacle::distance);
        return Placement::Wait(shortfall(request, fitting.len(), obstacles, rules));
    }
    fitting.sort_unstable();
    let mut chosen: Vec<GpuIndex> = fitting.into_iter().take(needed).map(|(_, gpu)| gpu).collect();
    chosen.sort_unstable();
    Placement::Now(chosen)
}

/// A GPU and what our jobs hold of it.
pub(crate) struct Slot<'n> {
    pub(crate) device: &'n Device,
    pub(crate) reserved: Mib,
    pub(crate) held: bool,
    pub(crate) closed: bool,
}

/// The GPUs that are there, with the occupants entered, in one pass over them.
pub(crate) fn slots<'n, 'a>(
    node: &'n Node,
    occupants: impl IntoIterator<Item = &'a Occupant>,
    rules: &Rules,
) -> Vec<Slot<'n>> {
    let empty = |device| Slot { device, reserved: Mib::ZERO, held: false, closed: false };
    let mut slots: Vec<Slot<'_>> = node.devices().map(empty).collect();
    for occupant in occupants {
        for &gpu in &occupant.gpus {
            if let Ok(at) = slots.binary_search_by_key(&gpu, |slot| slot.device.index) {
                let slot = &mut slots[at];
                slot.reserved = slot.reserved + occupant.budget(gpu, rules.spike_buffer);
                slot.held = true;
                slot.closed |= occupant.declared.is_none();
            }
        }
    }
    slots
}

impl Slot<'_> {
    /// How tightly the job would fit (the smaller the better), or why it doesn't.
    pub(crate) fn offer(&self, request: &Request, rules: &Rules) -> Result<Mib, Obstacle> {
        let gpu = self.device.index;
        if let Some(why) = &self.device.trouble {
            return Err(Obstacle::Trouble { gpu, why: why.clone() });
        }
        if self.closed {
            return Err(Obstacle::HeldAlone { gpu });
        }
        match request.shared() {
            Some(vram) => self.share(vram, rules),
            None => self.give_whole(request.vram, rules).map(|()| Mib::ZERO),
        }
    }

    /// What it has to spare, if that is enough for a job that shares.
    fn share(&self, vram: Mib, rules: &Rules) -> Result<Mib, Obstacle> {
        let gpu = self.device.index;
        if rules.exclusive && self.held {
            return Err(Obstacle::Held { gpu });
        }
        let headroom = self.device.spare(self.reserved).ok_or(Obstacle::Unknown { gpu })?;
        if headroom < vram + rules.margin {
            return Err(Obstacle::Full { gpu, headroom });
        }
        Ok(headroom)
    }

    /// Whether it is idle, and large enough for a job that wants it whole.
    fn give_whole(&self, vram: Option<Mib>, rules: &Rules) -> Result<(), Obstacle> {
        let Device { index: gpu, usable, used, external, .. } = *self.device;
        if let Some(vram) = vram {
            let usable = usable.ok_or(Obstacle::Unknown { gpu })?;
            if usable < vram {
                return Err(Obstacle::TooSmall { gpu, usable });
            }
        }
        if self.held {
            return Err(Obstacle::Held { gpu });
        }
        if used.is_none() {
            return Err(Obstacle::Unknown { gpu });
        }
        if external >= rules.idle_threshold {
            return Err(Obstacle::InUse { gpu, external, idle_threshold: rules.idle_threshold });
        }
        Ok(())
    }
}

fn shortfall(request: &Request, fitting: usize, obstacles: Vec<Obstacle>, rules: &Rules) -> Shortfall {
    let needed = request.gpus.get();
    match request.shared() {
        Some(declared) => Shortfall::Memory { needed, declared, margin: rules.margin, fitting, obstacles },
        None => Shortfall::Idle { needed, vram: request.vram, fitting, obstacles },
    }
}

/// Why a GPU takes no jobs whose index was another's: jobs that run know theirs
/// by the index alone, so nobody can tell any more what is taken where.
const RENUMBERED: &str =
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

#[cfg(test)]
mod tests;
