//! A world without faults, where only the order of starts matters: how well a
//! queue packs, and how long a job can be kept waiting.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

use engine::queue::{Config, Effect, Event, Queue, Record, Report};
use engine::{Seq, Woken, World, WorldLost, drive};
use model::{
    AttemptId, AttemptSighting, Exit, Gpu, GpuIndex, GpuSnapshot, GpuUuid, Health, Launch, Mib, Presence,
    SignedDuration, Timestamp,
};

/// Jobs and the GPUs they run on.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The GPUs, in MiB each.
    pub gpus: Vec<Mib>,
    /// The jobs in file order: what each declares and uses, and how long it runs.
    pub jobs: Vec<(Mib, SignedDuration)>,
    /// How many of them are in the file at first. One more is appended whenever
    /// one ends.
    pub at_first: usize,
}

/// How a workload went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// From the first start to the last end.
    pub makespan: SignedDuration,
    /// When each job was started, after the first, in file order.
    pub starts: Vec<SignedDuration>,
    /// Jobs in the order of their starts, as places in the file.
    pub order: Vec<usize>,
    /// Jobs GPUs were kept free for, as places in the file, and when that began.
    pub kept: Vec<(usize, SignedDuration)>,
}

/// Runs a workload to its end in virtual time.
///
/// # Panics
/// When the queue does not come to its end: nothing goes wrong in this world.
pub fn play(workload: &Workload, config: Config) -> Played {
    let now = Timestamp::UNIX_EPOCH;
    let mut queue = Queue::new(config, [], now);
    let mut world = Peace {
        workload,
        now,
        in_file: workload.at_first.min(workload.jobs.len()),
        ready: VecDeque::from([Woken::Event(Event::Survey(Vec::new()))]),
        running: BinaryHeap::new(),
        played: Played {
            makespan: SignedDuration::ZERO,
            starts: vec![SignedDuration::MAX; workload.jobs.len()],
            order: Vec::new(),
            kept: Vec::new(),
        },
        numbers: BTreeMap::new(),
        written: 0,
        ended: BTreeSet::new(),
    };
    world.send_file();
    let outcome = drive(&mut queue, &mut world);
    assert!(outcome.is_ok_and(|outcome| outcome.worst == 0), "every job of a workload succeeds");
    world.played
}

struct Peace<'w> {
    workload: &'w Workload,
    now: Timestamp,
    in_file: usize,
    ready: VecDeque<Woken<Event>>,
    running: BinaryHeap<Reverse<(Timestamp, usize, AttemptId)>>,
    played: Played,
    /// Which line a job's number is.
    numbers: BTreeMap<u32, usize>,
    written: Seq,
    ended: BTreeSet<usize>,
}

impl Peace<'_> {
    fn since_start(&self) -> SignedDuration {
        self.now.duration_since(Timestamp::UNIX_EPOCH)
    }

    fn send_file(&mut self) {
        let jobs = self.workload.jobs.iter().take(self.in_file).enumerate();
        let lines: Vec<String> =
            jobs.map(|(job, (vram, _))| format!("[vram={}] {job}", vram.get())).collect();
        let (file, _) = jobspec::parse_jobs_file(lines.join("\n"));
        self.ready.push_back(Woken::Event(Event::JobsFile(Ok(Arc::new(file)))));
    }

    fn end_next(&mut self) -> Option<Woken<Event>> {
        let Reverse((at, job, attempt)) = self.running.pop()?;
        self.now = at;
        self.ended.insert(job);
        self.played.makespan = self.since_start();
        if self.in_file < self.workload.jobs.len() {
            self.in_file += 1;
            self.send_file();
        }
        let elapsed = self.workload.jobs[job].1;
        let presence =
            Presence::Ended { exit: Exit::Code(0), elapsed, tail: Box::default(), survivors: false };
        Some(Woken::Event(Event::Attempts(vec![AttemptSighting { attempt, presence }])))
    }

    fn start(&mut self, launch: &Launch) {
        let job: usize = launch.command.parse().unwrap_or(0);
        self.played.starts[job] = self.since_start();
        self.played.order.push(job);
        let at = self.now + self.workload.jobs[job].1;
        self.running.push(Reverse((at, job, launch.attempt)));
    }

    /// Jobs use what they declare; the ledger knows that without looking.
    fn snapshot(&self) -> GpuSnapshot {
        let gpu = |(index, total): (u16, &Mib)| Gpu {
            index: GpuIndex(index),
            uuid: GpuUuid("GPU".into()),
            total: Some(*total),
            used: Some(Mib::ZERO),
            free: Some(*total),
            utilization: None,
            mig: false,
            health: Health::Healthy,
        };
        let gpus = (0..).zip(&self.workload.gpus).map(|it| (GpuIndex(it.0), gpu(it))).collect();
        GpuSnapshot { gpus, apps: Vec::new() }
    }
}

impl World<Queue> for Peace<'_> {
    fn now(&mut self) -> Timestamp {
        self.now
    }

    fn next(&mut self, until: Option<Timestamp>) -> Result<Woken<Event>, WorldLost> {
        if let Some(woken) = self.ready.pop_front() {
            return Ok(woken);
        }
        let next_end = self.running.peek().map(|Reverse((at, ..))| *at);
        match (until, next_end) {
            (Some(until), Some(end)) if until < end => self.now = self.now.max(until),
            (_, Some(_)) => return self.end_next().ok_or(WorldLost("nothing runs".to_owned())),
            (Some(until), None) => self.now = self.now.max(until),
            (None, None) => return Err(WorldLost("nothing can happen any more".to_owned())),
        }
        Ok(Woken::Deadline)
    }

    fn persist(&mut self, records: &[Record]) -> Result<Seq, WorldLost> {
        for record in records {
            if let Record::Seen { no, command, .. } | Record::Started { no, command, .. } = record {
                self.numbers.insert(no.0, command.parse().unwrap_or(0));
            }
        }
        self.written += records.len() as u64;
        self.ready.push_back(Woken::Synced(self.written));
        Ok(self.written)
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch(launch) => self.start(&launch),
            Effect::SampleGpus => {
                let snapshot = self.snapshot();
                self.ready.push_back(Woken::Event(Event::Gpus(Ok(snapshot))));
            }
            Effect::Signal { .. } | Effect::Void(_) | Effect::Answer { .. } | Effect::PublishBoard(_) => {}
        }
    }

    fn report(&mut self, report: Report) {
        if let Report::Reserved { no, .. } = report
            && let Some(job) = self.numbers.get(&no.0)
        {
            let at = self.since_start();
            self.played.kept.push((*job, at));
        }
    }
}
