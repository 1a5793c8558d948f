//! Jobs go where the Python tool puts them.
//!
//! Its answers are recorded: `tests/data/record_placement.py` says how, and what
//! the data mean.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use allocation::{Node, Occupant, Placement, Request, Rules, Thresholds, place};
use model::{ComputeApp, Gpu, GpuIndex, GpuNeed, GpuSnapshot, GpuUuid, Health, JobKey, Mib, Pid, Ratio};
use serde::Deserialize;

const RECORDED: &str = include_str!("../../../tests/data/placement.jsonl");

#[derive(Debug, Deserialize)]
struct Machine {
    rules: (u32, u32, f64, bool),
    allowed: Option<BTreeSet<GpuIndex>>,
    looks: Vec<(Vec<SeenGpu>, Vec<SeenProcess>)>,
    jobs: Vec<Option<Job>>,
    requests: Vec<Asked>,
}

/// Index, total and used.
type SeenGpu = (GpuIndex, u32, u32);

/// GPU, pid, used, and which job's it is.
type SeenProcess = (GpuIndex, u32, u32, Option<u32>);

/// GPUs, declaration, and what it uses and has used of each GPU.
type Job = (Vec<GpuIndex>, Option<u32>, BTreeMap<GpuIndex, u32>, BTreeMap<GpuIndex, u32>);

/// What is asked and answered; our own answer where it differs on purpose.
#[derive(Debug)]
struct Asked {
    vram: Option<u32>,
    gpus: NonZeroU16,
    theirs: Answer,
    ours: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Answer {
    Now(Vec<GpuIndex>),
    Not(Not),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Not {
    Wait,
    Infeasible,
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Row {
            Alike(Option<u32>, NonZeroU16, Answer),
            Different(Option<u32>, NonZeroU16, Answer, Answer),
        }
        Ok(match Row::deserialize(deserializer)? {
            Row::Alike(vram, gpus, theirs) => Self { vram, gpus, theirs, ours: None },
            Row::Different(vram, gpus, theirs, ours) => Self { vram, gpus, theirs, ours: Some(ours) },
        })
    }
}

impl Machine {
    fn rules(&self) -> Rules {
        let (margin, idle_threshold, spike_buffer, exclusive) = self.rules;
        Rules {
            idle_threshold: Mib::new(idle_threshold),
            margin: Mib::new(margin),
            exclusive,
            spike_buffer: Ratio::new(spike_buffer).unwrap(),
            thresholds: Thresholds::default(),
        }
    }

    fn node(&self, rules: &Rules) -> Node {
        let mut node = Node::new(self.allowed.clone());
        for (gpus, processes) in &self.looks {
            let gpus = gpus.iter().map(|seen| (seen.0, gpu(seen))).collect();
            let apps = processes.iter().map(app).collect();
            node.observe(&GpuSnapshot { gpus, apps }, rules);
        }
        node
    }

    fn occupants(&self) -> Vec<Occupant> {
        self.jobs.iter().flatten().map(occupant).collect()
    }
}

fn gpu(&(index, total, used): &SeenGpu) -> Gpu {
    Gpu {
        index,
        uuid: GpuUuid("GPU".into()),
        total: Some(Mib::new(total)),
        used: Some(Mib::new(used)),
        free: Some(Mib::new(total - used)),
        utilization: None,
        mig: false,
        health: Health::Healthy,
    }
}

fn app(&(gpu, pid, used, job): &SeenProcess) -> ComputeApp {
    ComputeApp {
        gpu,
        pid: Pid(pid),
        used: Some(Mib::new(used)),
        owner: job.map(|job| JobKey::new([0; 6], job).attempt(1)),
    }
}

fn occupant((gpus, declared, now, peak): &Job) -> Occupant {
    let mib = |each: &BTreeMap<GpuIndex, u32>| each.iter().map(|(gpu, mib)| (*gpu, Mib::new(*mib))).collect();
    Occupant {
        gpus: gpus.clone(),
        declared: declared.map(Mib::new),
        share: None,
        now: mib(now),
        peak: mib(peak),
    }
}

fn answer(placement: Placement) -> Answer {
    match placement {
        Placement::Now(gpus) => Answer::Now(gpus),
        Placement::Wait(_) => Answer::Not(Not::Wait),
        Placement::Never(_) => Answer::Not(Not::Infeasible),
    }
}

#[test]
fn jobs_go_where_the_python_tool_puts_them() {
    let (mut same, mut on_purpose, mut wrong) = (0, 0, Vec::new());
    for (line, text) in (1..).zip(RECORDED.lines()) {
        let machine: Machine = serde_json::from_str(text).unwrap_or_else(|e| panic!("line {line}: {e}"));
        let rules = machine.rules();
        let (node, occupants) = (machine.node(&rules), machine.occupants());
        for asked in &machine.requests {
            let vram = asked.vram.map(Mib::new);
            let request = Request::new(vram, GpuNeed::Whole(asked.gpus), None);
            let found = answer(place(&request, &node, &occupants, &rules));
            if found != *asked.ours.as_ref().unwrap_or(&asked.theirs) {
                wrong.push(format!("line {line}, {asked:?}: {found:?}\n{text}"));
            } else if found == asked.theirs {
                same += 1;
            } else {
                on_purpose += 1;
            }
        }
    }
    let shown: Vec<_> = wrong.iter().take(5).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} of them differ, such as\n{}", wrong.len(), shown.join("\n"));
    assert_eq!((same, on_purpose), (9903, 97), "the recording is another one");
}
