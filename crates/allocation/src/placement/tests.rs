use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use model::{ComputeApp, Gpu, GpuNeed, GpuSet, GpuSnapshot, GpuUuid, Health, JobKey, Percent, Pid, Ratio};

use super::*;
use crate::Thresholds;
use crate::node::RENUMBERED;

fn gpu(index: u16, total: u32, used: u32) -> Gpu {
    Gpu {
        index: GpuIndex(index),
        uuid: GpuUuid("GPU-0".into()),
        total: Some(Mib::new(total)),
        used: Some(Mib::new(used)),
        free: Some(Mib::new(total - used)),
        utilization: None,
        mig: false,
        health: Health::Healthy,
    }
}

fn rules() -> Rules {
    Rules {
        idle_threshold: Mib::new(200),
        margin: Mib::new(512),
        exclusive: false,
        spike_buffer: Ratio::new(0.10).unwrap(),
        thresholds: Thresholds::default(),
    }
}

fn job(gpus: &[u16], declared: Option<u32>) -> Occupant {
    Occupant {
        gpus: gpus.iter().copied().map(GpuIndex).collect(),
        declared: declared.map(Mib::new),
        ..Occupant::default()
    }
}

fn ask(gpus: u16, vram: Option<u32>) -> Request {
    Request::new(vram.map(Mib::new), GpuNeed::Whole(NonZeroU16::new(gpus).unwrap()), None)
}

fn node(gpus: &[Gpu]) -> Node {
    let mut node = Node::new(None);
    node.observe(&snapshot(gpus), &rules());
    node
}

fn snapshot(gpus: &[Gpu]) -> GpuSnapshot {
    GpuSnapshot { gpus: gpus.iter().map(|gpu| (gpu.index, gpu.clone())).collect(), apps: Vec::new() }
}

#[track_caller]
fn check_by(rules: &Rules, node: &Node, occupants: &[Occupant], request: Request, expect: &str) {
    let answer = match place(&request, node, occupants, rules) {
        Placement::Now(gpus) => format!("now {:?}", gpus.iter().map(|gpu| gpu.0).collect::<Vec<_>>()),
        Placement::Wait(why) => why.to_string(),
        Placement::Never(why) => format!("never: {why}"),
    };
    assert_eq!(answer, expect);
}

#[track_caller]
fn check(gpus: &[Gpu], occupants: &[Occupant], request: Request, expect: &str) {
    check_by(&rules(), &node(gpus), occupants, request, expect);
}

#[test]
fn a_declaration_and_the_margin_fit_to_the_mib() {
    let one = [gpu(0, 24576, 4)];
    check(&one, &[], ask(1, Some(24060)), "now [0]");
    check(&one, &[], ask(1, Some(24061)), "needs 24061 + 512 MiB; GPU 0 comes closest with 24572 MiB free");
    check(
        &one,
        &[],
        ask(1, Some(24065)),
        "never: declared 24065 MiB + 512 MiB margin exceeds total capacity of 1 required GPU(s)",
    );
}

#[test]
fn a_gpu_is_idle_below_the_threshold() {
    check(&[gpu(0, 24576, 199)], &[], ask(1, None), "now [0]");
    check(
        &[gpu(0, 24576, 200)],
        &[],
        ask(1, None),
        "needs 1 idle GPU; GPU 0 has 200 MiB used by other processes (idle means below 200 MiB)",
    );
}

#[test]
fn the_tightest_fit_wins_and_then_the_lowest_index() {
    let four = [gpu(0, 80000, 0), gpu(1, 24000, 0), gpu(2, 24000, 0), gpu(3, 9000, 0)];
    check(&four, &[], ask(1, Some(10000)), "now [1]");
    check(&four, &[], ask(1, Some(8000)), "now [3]");
    check(&four, &[], ask(2, Some(10000)), "now [1, 2]");
    check(&four, &[], ask(3, Some(10000)), "now [0, 1, 2]");
    check(&four, &[job(&[2], Some(5000))], ask(1, Some(10000)), "now [2]");
    check(&four, &[], ask(2, None), "now [0, 1]");
}

#[test]
fn who_declares_nothing_is_alone() {
    let two = [gpu(0, 24000, 0), gpu(1, 24000, 0)];
    check(&two, &[job(&[0], Some(10))], ask(1, None), "now [1]");
    check(&two, &[job(&[0], None)], ask(1, Some(10)), "now [1]");
    check(
        &two,
        &[job(&[0, 1], None)],
        ask(2, Some(10)),
        "needs 2 GPUs with 10 + 512 MiB each, and there is none; GPU 0 is held by a job that has it to itself",
    );
    check(
        &two,
        &[job(&[1], Some(10))],
        ask(2, None),
        "needs 2 idle GPUs, and there is only 1; GPU 1 is held by a job",
    );
}

#[test]
fn a_declared_job_that_wants_to_be_alone_needs_no_margin() {
    let two = [gpu(0, 12000, 0), gpu(1, 24000, 0)];
    let alone = |gpus, vram| Request { alone: true, ..ask(gpus, Some(vram)) };
    check(&two, &[], alone(1, 24000), "now [1]");
    check(&two, &[], alone(1, 12000), "now [0]");
    check(
        &two,
        &[job(&[1], Some(1))],
        alone(1, 24000),
        "needs 1 idle GPU of 24000 MiB; GPU 1 is held by a job",
    );
    check(
        &two,
        &[],
        alone(2, 24000),
        "never: declared 24000 MiB + 0 MiB margin exceeds total capacity of 2 required GPU(s)",
    );
}

#[test]
fn an_exclusive_gpu_takes_one_job() {
    let rules = Rules { exclusive: true, ..rules() };
    let node = node(&[gpu(0, 24000, 3000)]);
    check_by(&rules, &node, &[], ask(1, Some(10)), "now [0]");
    let jobs = [job(&[0], Some(10))];
    check_by(&rules, &node, &jobs, ask(1, Some(10)), "needs 10 + 512 MiB; GPU 0 is held by a job");
}

#[test]
fn unknown_memory_takes_nothing_that_depends_on_it_and_excludes_nothing() {
    let dark = Gpu { total: None, used: None, free: None, ..gpu(0, 0, 0) };
    check(
        std::slice::from_ref(&dark),
        &[],
        ask(1, Some(99_999)),
        "needs 99999 + 512 MiB; the memory of GPU 0 is unknown",
    );
    check(std::slice::from_ref(&dark), &[], ask(1, None), "needs 1 idle GPU; the memory of GPU 0 is unknown");
    let shared = Gpu { used: Some(Mib::new(3)), ..dark };
    check(&[shared], &[], ask(1, None), "now [0]");
    // Others may have taken all of it.
    let sized = Gpu { used: None, free: None, ..gpu(0, 24000, 0) };
    let unknown = "needs 20000 + 512 MiB; the memory of GPU 0 is unknown";
    check(&[sized], &[], ask(1, Some(20000)), unknown);
    let free = |free| Gpu { used: None, free: Some(Mib::new(free)), ..gpu(0, 24000, 0) };
    check(&[free(24000)], &[], ask(1, Some(20000)), "now [0]");
    let full = "needs 20000 + 512 MiB; GPU 0 comes closest with 9000 MiB free";
    check(&[free(9000)], &[], ask(1, Some(20000)), full);
}

#[test]
fn a_gpu_under_the_number_of_another_takes_nothing() {
    let named = |index, uuid: &str| Gpu { uuid: GpuUuid(uuid.into()), ..gpu(index, 24000, 0) };
    let three = [named(0, "GPU-a"), named(1, "GPU-b"), named(2, "GPU-c")];
    let mut node = node(&three);
    // The first is gone and the others have moved up.
    node.observe(&snapshot(&[named(0, "GPU-b"), named(1, "GPU-c")]), &rules());
    let expect = "needs 1 idle GPU; GPU 2 is not there at the moment";
    check_by(&rules(), &node, &[], ask(1, None), expect);
    let out: Vec<_> = node.out_of_service().into_iter().map(|(gpu, why)| (gpu.0, why)).collect();
    let renumbered = || RENUMBERED.to_owned();
    assert_eq!(out, [(0, renumbered()), (1, renumbered()), (2, "it is not there at the moment".to_owned())]);
    node.observe(&snapshot(&three), &rules());
    assert_eq!(node.out_of_service(), BTreeMap::new());
    check_by(&rules(), &node, &[], ask(3, None), "now [0, 1, 2]");
}

#[test]
fn a_gpu_in_trouble_takes_nothing_and_excludes_nothing() {
    let sick = Gpu { health: Health::Suspect("it wants a reset".into()), ..gpu(0, 0, 0) };
    check(&[sick], &[], ask(1, Some(9)), "needs 9 + 512 MiB; GPU 0 takes no jobs: it wants a reset");
    let sliced = Gpu { mig: true, ..gpu(0, 24000, 0) };
    check(&[sliced], &[], ask(1, None), "needs 1 idle GPU; GPU 0 takes no jobs: MIG is on");
}

#[test]
fn a_gpu_that_blinks_is_remembered() {
    let mut node = node(&[gpu(0, 24000, 0), gpu(1, 24000, 0)]);
    node.observe(&snapshot(&[gpu(0, 24000, 0)]), &rules());
    let expect = "needs 2 idle GPUs, and there is only 1; GPU 1 is not there at the moment";
    check_by(&rules(), &node, &[], ask(2, None), expect);
    check_by(&rules(), &node, &[], ask(3, None), "never: needs 3 GPUs but only 2 are usable");
    check_by(&rules(), &Node::new(None), &[], ask(3, None), "the GPUs have not been read yet");
}

#[test]
fn the_largest_size_ever_seen_counts() {
    let mut node = node(&[gpu(0, 80000, 0), gpu(1, 24000, 0)]);
    let sick = Gpu { health: Health::Lost("it fell off the bus".into()), ..gpu(0, 90000, 0) };
    node.observe(&snapshot(&[sick, gpu(1, 20000, 0)]), &rules());
    let each_of = |gpus| node.largest_for(NonZeroU16::new(gpus).unwrap(), None).map(Mib::get);
    assert_eq!(node.largest(), Some(Mib::new(80000)));
    assert_eq!([1, 2, 3].map(each_of), [Some(80000), Some(24000), None]);
}

#[test]
fn only_allowed_gpus_count() {
    let mut node = Node::new(Some(BTreeSet::from([GpuIndex(1)])));
    node.observe(&snapshot(&[gpu(0, 80000, 0), gpu(1, 24000, 0)]), &rules());
    assert_eq!(node.largest(), Some(Mib::new(24000)));
    assert_eq!(node.largest_for(NonZeroU16::new(2).unwrap(), None), None);
    check_by(&rules(), &node, &[], ask(1, None), "now [1]");
    check_by(&rules(), &node, &[], ask(2, None), "never: needs 2 GPUs but only 1 are usable");
}

#[test]
fn only_what_is_known_to_be_ours_is_not_external() {
    let app = |pid, used: Option<u32>, ours: bool| ComputeApp {
        gpu: GpuIndex(0),
        pid: Pid(pid),
        used: used.map(Mib::new),
        owner: ours.then(|| JobKey::new([0; 6], 0).attempt(1)),
    };
    let external = |used: Option<u32>, apps| {
        let gpu = Gpu { used: used.map(Mib::new), ..gpu(0, 24000, 9000) };
        let mut node = Node::new(None);
        node.observe(&GpuSnapshot { apps, ..snapshot(&[gpu]) }, &rules());
        node.device(GpuIndex(0)).map(|device| device.external.get())
    };
    let used = Some(9000);
    assert_eq!(external(used, vec![app(1, Some(8000), true)]), Some(1000));
    assert_eq!(external(used, vec![app(1, None, true)]), Some(9000));
    assert_eq!(external(used, vec![app(1, Some(8000), true), app(2, Some(1000), false)]), Some(1100));
    assert_eq!(external(used, vec![app(1, Some(1000), false)]), Some(9000));
    assert_eq!(external(used, vec![app(1, Some(9999), true)]), Some(0));
    assert_eq!(external(None, vec![app(1, Some(8000), true), app(2, Some(1000), false)]), Some(1100));
}

fn part(share: f64, vram: Option<u32>) -> Request {
    Request::new(vram.map(Mib::new), GpuNeed::from_gpus(share).unwrap(), None)
}

fn part_of(gpu: u16, share: f64, declared: Option<u32>) -> Occupant {
    Occupant { share: Share::new(share), ..job(&[gpu], declared) }
}

#[test]
fn parts_share_a_gpu_up_to_all_of_it() {
    let gpus = [gpu(0, 24_576, 0), gpu(1, 24_576, 0)];
    check(&gpus, &[], part(0.5, None), "now [0]");
    check(&gpus, &[part_of(0, 0.5, None)], part(0.5, None), "now [0]");
    check(&gpus, &[part_of(0, 0.6, None)], part(0.5, None), "now [1]");
    let full = [part_of(0, 0.7, None), part_of(1, 0.75, None)];
    check(&gpus, &full, part(0.5, None), "needs 0.5 of a GPU; GPU 0 has 0.3 of it left");
    // A job that needs a whole GPU to itself stays away, and keeps parts away.
    check(&gpus, &[part_of(0, 0.1, None)], ask(1, None), "now [1]");
    check(
        &gpus[..1],
        &[job(&[0], None)],
        part(0.1, None),
        "needs 0.1 of a GPU; GPU 0 is held by a job that has it to itself",
    );
}

#[test]
fn a_part_comes_with_its_memory() {
    let gpus = [gpu(0, 24_576, 76)];
    // Half of the 24,500 MiB that others leave.
    check(&gpus, &[job(&[0], Some(12_250))], part(0.5, None), "now [0]");
    check(
        &gpus,
        &[job(&[0], Some(12_251))],
        part(0.5, None),
        "needs 0.5 of a GPU; GPU 0 comes closest with 12249 MiB free",
    );
    check(&gpus, &[part_of(0, 0.5, None)], ask(1, Some(11_738)), "now [0]");
    check(
        &gpus,
        &[part_of(0, 0.5, None)],
        ask(1, Some(11_739)),
        "needs 11739 + 512 MiB; GPU 0 comes closest with 12250 MiB free",
    );
    // With a declaration it is the declaration that counts.
    check(&gpus, &[part_of(0, 0.5, Some(2000))], part(0.5, Some(20_000)), "now [0]");
    check(
        &gpus,
        &[part_of(0, 0.5, Some(2000))],
        part(0.5, Some(22_000)),
        "needs 0.5 of a GPU with 22000 + 512 MiB; GPU 0 comes closest with 22500 MiB free",
    );
    let busy = [gpu(0, 24_576, 9000)];
    check(
        &busy,
        &[],
        part(0.5, None),
        "needs 0.5 of a GPU; GPU 0 has 9000 MiB used by other processes (idle means below 200 MiB)",
    );
    check(&busy, &[], part(0.5, Some(9000)), "now [0]");
}

#[test]
fn only_allowed_gpus_that_are_not_paused() {
    let gpus = [gpu(0, 24_576, 0), gpu(1, 24_576, 0), gpu(2, 24_576, 0)];
    let on = |list: &str| Request { on: Some(GpuSet::parse(list).unwrap()), ..ask(1, None) };
    check(&gpus, &[], on("1-2"), "now [1]");
    check(
        &gpus,
        &[job(&[1], None)],
        on("1"),
        "needs 1 idle GPU; GPU 1 is held by a job that has it to itself",
    );
    check(&gpus, &[], on("7"), "never: needs 1 GPUs but only 0 of those it may use (7) are usable");
    let mut node = node(&gpus);
    node.pause(GpuSet::parse("0,1").unwrap());
    check_by(&rules(), &node, &[], ask(1, None), "now [2]");
    check_by(&rules(), &node, &[], on("0"), "needs 1 idle GPU; GPU 0 is paused");
    check_by(&rules(), &node, &[], ask(2, None), "needs 2 idle GPUs, and there is only 1; GPU 0 is paused");
}

#[test]
fn above_a_threshold_nothing_new_starts() {
    let ratio = |value| Some(Ratio::new(value).unwrap());
    let thresholds = Thresholds { memory: ratio(0.8), load: ratio(0.8) };
    let rules = Rules { thresholds, idle_threshold: Mib::new(u32::MAX), ..rules() };
    let loaded = |percent, used| Gpu { utilization: Some(Percent(percent)), ..gpu(0, 10_000, used) };
    let check = |gpu: Gpu, occupants: &[Occupant], request, expect| {
        check_by(&rules, &node(&[gpu]), occupants, request, expect);
    };
    check(loaded(80, 8000), &[], ask(1, None), "now [0]");
    check(
        loaded(81, 0),
        &[],
        ask(1, None),
        "needs 1 idle GPU; GPU 0 is at 81% load, above the threshold of 80%",
    );
    check(
        loaded(0, 8001),
        &[],
        ask(1, Some(100)),
        "needs 100 + 512 MiB; GPU 0 is at 81% memory, above the threshold of 80%",
    );
    check(
        loaded(90, 100),
        &[part_of(0, 0.5, None)],
        part(0.5, None),
        "needs 0.5 of a GPU; GPU 0 is at 90% load, above the threshold of 80%",
    );
}
