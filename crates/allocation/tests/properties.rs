//! What must hold of every placement, whatever the machine looks like.
//!
//! Expectations are worked out here anew, from the snapshot and the rules, not
//! with the crate's own bookkeeping.

use std::collections::BTreeMap;

use allocation::{Device, Node, Occupant, Placement, Request, Rules, Thresholds, headroom, place};
use model::{
    ComputeApp, Gpu, GpuIndex, GpuNeed, GpuSet, GpuSnapshot, GpuUuid, Health, JobKey, Mib, Percent, Pid,
    Ratio, Share,
};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::FileFailurePersistence;

const GPUS: u16 = 6;

/// Everything an answer depends on.
#[derive(Debug, Clone)]
struct Scene {
    snapshot: GpuSnapshot,
    occupants: Vec<Occupant>,
    request: Request,
    rules: Rules,
    paused: GpuSet,
}

impl Scene {
    fn node(&self) -> Node {
        let mut node = Node::new(None);
        node.observe(&self.snapshot, &self.rules);
        node.pause(self.paused);
        node
    }

    fn answer(&self) -> Placement {
        place(&self.request, &self.node(), &self.occupants, &self.rules)
    }

    fn needed(&self) -> usize {
        usize::from(self.request.gpus.count().get())
    }

    fn shares(&self) -> bool {
        !self.request.alone
    }

    /// The part it needs.
    fn part(&self) -> Option<Share> {
        self.request.gpus.part().filter(|_| self.shares())
    }

    /// Whether a part of a GPU stands for memory somewhere.
    fn reckons_in_parts(&self) -> bool {
        let job = |job: &Occupant| job.share.is_some() && job.declared.is_none();
        self.occupants.iter().any(job) || (self.part().is_some() && self.request.vram.is_none())
    }

    /// What the job takes of a GPU's memory.
    fn newcomer(&self, device: &Device) -> u64 {
        let need = match (self.request.vram, self.part()) {
            (Some(vram), _) => vram + self.rules.margin,
            (None, Some(share)) => share.of(device.room().expect("it was chosen for its room")),
            (None, None) => Mib::ZERO,
        };
        u64::from(need.get())
    }

    fn jobs_on(&self, gpu: GpuIndex) -> impl Iterator<Item = &Occupant> {
        self.occupants.iter().filter(move |job| job.gpus.contains(&gpu))
    }

    /// What is spoken for on a GPU, in whole numbers that cannot overflow.
    fn taken(&self, device: &Device) -> u64 {
        let budget = |job: &Occupant| u64::from(job.budget(device, self.rules.spike_buffer).get());
        u64::from(device.external.get()) + self.jobs_on(device.index).map(budget).sum::<u64>()
    }

    /// Whether a GPU may take the job now.
    fn suits(&self, device: &Device) -> bool {
        let jobs = self.jobs_on(device.index).count();
        let closed = self.jobs_on(device.index).any(Occupant::is_alone);
        let barred = self.paused.contains(device.index)
            || self.request.on.is_some_and(|on| !on.contains(device.index))
            || self.is_above(device);
        if device.trouble.is_some() || closed || barred {
            return false;
        }
        let usable = device.usable.map(|usable| u64::from(usable.get()));
        let vram = self.request.vram.map(|vram| u64::from(vram.get()));
        let room = |need: u64| usable.is_some_and(|usable| need <= usable);
        let quiet = device.used.is_some() && device.external < self.rules.idle_threshold;
        if !self.shares() {
            return quiet && jobs == 0 && vram.is_none_or(room);
        }
        let taken: f64 = self.jobs_on(device.index).filter_map(|job| job.share).map(Share::get).sum();
        let part_is_left = self.part().is_none_or(|part| taken + part.get() <= 1.0 + 1.0e-9);
        device.used.is_some()
            && device.usable.is_some()
            && (vram.is_some() || quiet)
            && room(self.taken(device) + self.newcomer(device))
            && part_is_left
            && !(self.rules.exclusive && jobs > 0)
    }

    fn is_above(&self, device: &Device) -> bool {
        let Thresholds { memory, load } = self.rules.thresholds;
        let used = device.used.zip(device.usable).filter(|(_, usable)| *usable > Mib::ZERO);
        let used = used.map(|(used, usable)| f64::from(used.get()) / f64::from(usable.get()));
        let busy = device.utilization.map(|percent| f64::from(percent.0) / 100.0);
        [(used, memory), (busy, load)]
            .into_iter()
            .any(|(now, limit)| now.zip(limit).is_some_and(|(now, limit)| now > limit.get()))
    }

    /// Whether the machine, all its GPUs empty and well, may be able to run it.
    fn feasible(&self) -> bool {
        let margin = if self.shares() { self.rules.margin } else { Mib::ZERO };
        let may = |gpu: &&Gpu| self.request.on.is_none_or(|on| on.contains(gpu.index));
        let large = |gpu: &&Gpu| match (gpu.usable(), self.request.vram) {
            (Some(usable), Some(vram)) => gpu.mig || gpu.health != Health::Healthy || vram + margin <= usable,
            _ => true,
        };
        self.snapshot.gpus.values().filter(may).filter(large).count() >= self.needed()
    }
}

fn mib(most: u32) -> impl Strategy<Value = Mib> {
    (1..=most).prop_map(Mib::new)
}

prop_compose! {
    fn gpu()(
        total in prop_oneof![1 => 1_u32..=24_000, 4 => 12_000_u32..=24_000],
        reserved in 0_u32..=300,
        used in prop_oneof![2 => Just(0_u32), 2 => 0_u32..=400, 1 => 0_u32..=24_000],
        known in prop_oneof![8 => Just([true; 3]), 1 => any::<[bool; 3]>()],
        mig in prop::bool::weighted(0.05),
        sick in prop::bool::weighted(0.05),
        utilization in weighted(0.5, (0_u8..=100).prop_map(Percent)),
    ) -> Gpu {
        let used = used.min(total);
        let free = (total - used).saturating_sub(reserved);
        let cell = |value, known: bool| known.then_some(Mib::new(value));
        Gpu {
            index: GpuIndex(0),
            uuid: GpuUuid("GPU-0".into()),
            total: cell(total, known[0]),
            used: cell(used, known[1]),
            free: cell(free, known[2]),
            utilization,
            mig,
            health: if sick { Health::Lost("it fell off the bus".into()) } else { Health::Healthy },
        }
    }
}

prop_compose! {
    fn app()(
        gpu in 0..GPUS,
        pid in 1_u32..6,
        used in weighted(0.9, mib(6_000)),
        ours in any::<bool>(),
    ) -> ComputeApp {
        let owner = ours.then(|| JobKey::new([0; 6], 0).attempt(1));
        ComputeApp { gpu: GpuIndex(gpu), pid: Pid(pid), used, owner }
    }
}

prop_compose! {
    fn snapshot()(gpus in vec(gpu(), 0..=usize::from(GPUS)), apps in vec(app(), 0..4)) -> GpuSnapshot {
        let place = |(index, gpu): (u16, Gpu)| (GpuIndex(index), Gpu { index: GpuIndex(index), ..gpu });
        GpuSnapshot { gpus: (0..).zip(gpus).map(place).collect(), apps }
    }
}

fn usage() -> impl Strategy<Value = BTreeMap<GpuIndex, Mib>> {
    prop::collection::btree_map((0..GPUS).prop_map(GpuIndex), mib(9_000), 0..3)
}

prop_compose! {
    fn occupant()(
        gpus in subsequence((0..GPUS).map(GpuIndex).collect::<Vec<_>>(), 1..3),
        declared in weighted(0.9, mib(9_000)),
        part in weighted(0.3, 0.05..0.33),
        now in usage(),
        peak in usage(),
    ) -> Occupant {
        let share = part.and_then(Share::new);
        let gpus = if share.is_some() { vec![gpus[0]] } else { gpus };
        Occupant { gpus, declared, share, now, peak }
    }
}

/// Each GPU with this probability.
fn gpu_set(probability: f64) -> impl Strategy<Value = GpuSet> {
    vec(prop::bool::weighted(probability), usize::from(GPUS)).prop_map(|chosen| {
        (0..).zip(chosen).filter(|(_, chosen)| *chosen).map(|(gpu, _)| GpuIndex(gpu)).collect()
    })
}

prop_compose! {
    fn rules()(
        idle_threshold in mib(400),
        margin in (0_u32..=1_000).prop_map(Mib::new),
        exclusive in prop::bool::weighted(0.1),
        spike_buffer in (0.0..0.5).prop_filter_map("no ratio", Ratio::new),
        memory in weighted(0.3, (0.5..1.0).prop_filter_map("no ratio", Ratio::new)),
        load in weighted(0.3, (0.5..1.0).prop_filter_map("no ratio", Ratio::new)),
    ) -> Rules {
        let thresholds = Thresholds { memory, load };
        Rules { idle_threshold, margin, exclusive, spike_buffer, thresholds }
    }
}

prop_compose! {
    fn request()(
        vram in weighted(0.8, mib(12_000)),
        gpus in prop_oneof![3 => Just(1.0), 2 => Just(2.0), 1 => Just(3.0), 3 => 0.05..1.0],
        alone in prop::bool::weighted(0.2),
        on in weighted(0.2, gpu_set(0.6)),
    ) -> Request {
        let request = Request::new(vram, GpuNeed::from_gpus(gpus).expect("a number of GPUs"), on);
        Request { alone: alone || request.alone, ..request }
    }
}

prop_compose! {
    fn scene()(
        snapshot in snapshot(),
        occupants in vec(occupant(), 0..4),
        request in request(),
        rules in rules(),
        paused in gpu_set(0.05),
    ) -> Scene {
        Scene { snapshot, occupants, request, rules, paused }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        // By default proptest looks for a lib.rs above this file, and there is none.
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties.regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_chosen_gpu_suits(scene in scene()) {
        let Placement::Now(gpus) = scene.answer() else { return Ok(()) };
        let node = scene.node();
        prop_assert_eq!(gpus.len(), scene.needed());
        prop_assert!(gpus.is_sorted_by(|a, b| a < b), "not distinct and ascending: {:?}", gpus);
        for gpu in gpus {
            let device = node.device(gpu);
            prop_assert!(device.is_some_and(|device| scene.suits(device)), "{:?}", device);
        }
    }

    #[test]
    fn it_never_overcommits(scene in scene()) {
        let Placement::Now(gpus) = scene.answer() else { return Ok(()) };
        if !scene.shares() {
            return Ok(());
        }
        let node = scene.node();
        for gpu in gpus {
            let device = node.device(gpu).unwrap();
            let usable = u64::from(device.usable.unwrap().get());
            prop_assert!(scene.taken(device) + scene.newcomer(device) <= usable, "{:?}", device);
        }
    }

    #[test]
    fn the_fit_is_the_tightest(scene in scene()) {
        let Placement::Now(gpus) = scene.answer() else { return Ok(()) };
        let node = scene.node();
        let mut suitable: Vec<&Device> = node.devices().filter(|device| scene.suits(device)).collect();
        let slack = |device: &&Device| headroom(device, &scene.occupants, &scene.rules);
        if scene.shares() {
            suitable.sort_by_key(slack); // stable: ties stay in the order of the indices
        }
        suitable.truncate(scene.needed());
        let mut expect: Vec<GpuIndex> = suitable.into_iter().map(|device| device.index).collect();
        expect.sort_unstable();
        prop_assert_eq!(gpus, expect);
    }

    #[test]
    fn it_waits_when_it_can_run_but_not_now(scene in scene()) {
        let suitable = scene.node().devices().filter(|device| scene.suits(device)).count();
        match scene.answer() {
            Placement::Now(_) => prop_assert!(scene.feasible() && suitable >= scene.needed()),
            Placement::Wait(_) => prop_assert!(scene.feasible() && suitable < scene.needed()),
            Placement::Never(_) => prop_assert!(!scene.feasible()),
        }
    }

    #[test]
    fn the_order_of_the_occupants_is_irrelevant(scene in scene(), turn in 0_usize..4) {
        let mut turned = scene.clone();
        turned.occupants.reverse();
        let turn = turn.min(turned.occupants.len());
        turned.occupants.rotate_left(turn);
        prop_assert_eq!(turned.answer(), scene.answer());
    }

    #[test]
    fn more_free_memory_delays_nothing(scene in scene(), gpu in 0..GPUS, more in mib(9_000), of_others: bool) {
        let Placement::Now(_) = scene.answer() else { return Ok(()) };
        if scene.reckons_in_parts() {
            // Then the parts grow as well.
            return Ok(());
        }
        let mut roomier = scene.clone();
        let Some(gpu) = roomier.snapshot.gpus.get_mut(&GpuIndex(gpu)) else { return Ok(()) };
        let (Some(used), Some(free)) = (gpu.used, gpu.free) else { return Ok(()) };
        let given_back = if of_others { more.min(used) } else { Mib::ZERO };
        gpu.used = Some(used.saturating_sub(given_back));
        gpu.free = Some(free + if of_others { given_back } else { more });
        prop_assert!(matches!(roomier.answer(), Placement::Now(_)), "{:?}", roomier.answer());
    }

    #[test]
    fn an_occupant_less_delays_nothing(scene in scene()) {
        let Placement::Now(_) = scene.answer() else { return Ok(()) };
        let mut emptier = scene;
        emptier.occupants.pop();
        prop_assert!(matches!(emptier.answer(), Placement::Now(_)), "{:?}", emptier.answer());
    }

    #[test]
    fn a_gpu_that_vanishes_makes_nothing_infeasible(scene in scene(), gone in 0..GPUS) {
        if let Placement::Never(_) = scene.answer() {
            return Ok(());
        }
        let mut node = scene.node();
        let mut less = scene.snapshot.clone();
        less.gpus.remove(&GpuIndex(gone));
        node.pause(GpuSet::default());
        node.observe(&less, &scene.rules);
        let answer = place(&scene.request, &node, &scene.occupants, &scene.rules);
        prop_assert!(!matches!(answer, Placement::Never(_)), "{:?}", answer);
    }
}
