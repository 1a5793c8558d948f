//! A whole life of a queue on one seed: crashes, restarts, and then peace.

use std::collections::BTreeMap;

use engine::drive;
use engine::queue::{Backoff, Config, Durable, LaunchAttempts, Patience, Phase, Queue, Record};
use journal::Journal;
use model::{JobKey, Mib, Ratio, SignedDuration, Timestamp};

use crate::faults::Faults;
use crate::node::{SimNode, millis};
use crate::outside::{Happening, Outside};
use crate::rng::Rng;
use crate::user::User;
use crate::world::SimWorld;

/// More restarts than this mean that it never ends.
const MOST_LIVES: u32 = 3000;

/// What a run has met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Times the machine was woken.
    pub steps: u64,
    /// A digest of all that happened: the same for the same seed.
    pub digest: u64,
    /// Virtual time that passed, in seconds.
    pub seconds: i64,
    /// Schedulers that lived.
    pub lives: u32,
    /// Job bodies that ran.
    pub bodies: u32,
    /// How often each thing worth meeting was met.
    pub marks: BTreeMap<&'static str, u64>,
}

/// What went wrong in a run, with the story of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The rule that was broken.
    pub what: String,
    /// The last things that happened.
    pub story: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}seed {}: {}\nSIM_SEED={} cargo sim", self.story, self.seed, self.what, self.seed)
    }
}

/// Runs one seed. `aloud` prints the whole story to standard error.
///
/// # Errors
/// When a rule was broken.
pub fn run_queue(seed: u64, aloud: bool) -> Result<Report, Box<Failure>> {
    let mut life = Life::new(seed, aloud);
    let result = life.run();
    let outside = &life.outside;
    match result {
        Ok(lives) => Ok(Report {
            steps: outside.trace.steps(),
            digest: outside.trace.digest(),
            seconds: outside.now.duration_since(life.began).as_secs(),
            lives,
            bodies: outside.checker.bodies(),
            marks: outside.marks.clone(),
        }),
        Err(what) => Err(Box::new(Failure { seed, what, story: outside.trace.tail() })),
    }
}

struct Life {
    outside: Outside,
    config: Config,
    began: Timestamp,
}

impl Life {
    fn new(seed: u64, aloud: bool) -> Self {
        let mut shape = Rng::new(seed, 0);
        let faults = Faults::draw(&mut shape);
        let count = shape.between(1, 4);
        let sizes = [Mib::new(8192), Mib::new(24_576), Mib::new(81_559)];
        let gpus: Vec<Mib> = (0..count).map(|_| *shape.pick(&sizes)).collect();
        let largest = gpus.iter().max().copied().unwrap_or_default().get();
        let config = config(&mut shape);
        let jobs = shape.between(1, 40);
        let user = User::new(Rng::new(seed, 2), jobs, count, largest);
        let node = SimNode::new(Rng::new(seed, 3), gpus);
        let mut outside = Outside::new(seed, faults, node, user, config.rules.margin, aloud);
        let began = outside.now;
        for _ in 0..shape.between(0, 12) {
            outside.plan_edit(began + millis(shape.between(0, 3_600_000)));
        }
        for _ in 0..shape.between(0, 24) {
            outside.plan_ask(began + millis(shape.between(0, 3_600_000)));
        }
        outside.plan(began + millis(shape.between(0, 60_000)), Happening::StrangersStir);
        for _ in 0..shape.between(0, 4) {
            if shape.chance(outside.faults.interrupted * 50.0) {
                outside.plan(began + millis(shape.between(0, 3_600_000)), Happening::Interrupt);
            }
        }
        outside.plan(began + SignedDuration::from_mins(70), Happening::Calm);
        Self { outside, config, began }
    }

    fn run(&mut self) -> Result<u32, String> {
        for life in 1..=MOST_LIVES {
            if life > MOST_LIVES / 2 {
                self.outside.calm();
            }
            let settled = self.live_once()?;
            if let Some(violation) = self.outside.violation.take() {
                return Err(violation);
            }
            if settled && self.outside.now >= self.outside.last_edit {
                self.everything_is_done()?;
                return Ok(life);
            }
            self.between_lives(settled);
            if let Some(violation) = self.outside.violation.take() {
                return Err(violation);
            }
        }
        Err(format!("not at rest after {MOST_LIVES} lives"))
    }

    /// One scheduler, from its start until it ends or dies. Tells whether it
    /// came to rest by itself.
    fn live_once(&mut self) -> Result<bool, String> {
        let now = self.outside.now;
        let (mut journal, scan) = Journal::open::<Record>(self.outside.disk.clone(), "gpusched")
            .map_err(|error| format!("the journal cannot be opened again: {error:?}"))?;
        // What is read of it is acted on and answered for.
        journal.sync().map_err(|error| format!("the journal cannot be synced: {error}"))?;
        let records: Vec<Record> = scan.records.into_iter().map(|stamped| stamped.record).collect();
        self.outside.checker.on_reading(&records)?;
        let folded = Durable::fold(&records);
        let mut queue = Queue::new(self.config.clone(), records, now);
        if queue.durable() != &folded {
            return Err("replay and fold differ".to_owned());
        }
        let mut world = SimWorld::new(&mut self.outside, journal);
        let result = drive(&mut queue, &mut world);
        let all_written = !world.lost_records;
        if all_written {
            self.journal_tells_all(&queue)?;
        }
        Ok(result.is_ok_and(|outcome| outcome.interrupted.is_none()))
    }

    /// What is journalled is exactly what the scheduler knew.
    fn journal_tells_all(&self, queue: &Queue) -> Result<(), String> {
        let mut disk = self.outside.disk.clone();
        let bytes = journal::Medium::read(&mut disk).map_err(|error| error.to_string())?;
        let scan = journal::scan::<Record>(&bytes, "gpusched").map_err(|error| format!("{error:?}"))?;
        let records: Vec<Record> = scan.records.into_iter().map(|stamped| stamped.record).collect();
        if Durable::fold(&records) == *queue.durable() {
            Ok(())
        } else {
            Err("the journal and the state of the scheduler differ".to_owned())
        }
    }

    fn between_lives(&mut self, settled: bool) {
        let outside = &mut self.outside;
        outside.epoch += 1;
        if !settled && outside.rng.chance(outside.faults.reboot) {
            let kept = outside.rng.between(0, 2000) as usize;
            outside.trace.note(format_args!("{} the machine reboots", outside.now));
            outside.mark("the machine rebooted");
            outside.disk.reboot(kept);
            outside.drop_messages();
            outside.node.reboot();
            outside.checker.on_reboot();
        }
        let pause = if settled {
            outside.last_edit.duration_since(outside.now) + millis(1)
        } else {
            millis(outside.rng.between(0, 120_000))
        };
        outside.pass_time(outside.now + pause.max(SignedDuration::ZERO));
    }

    /// Nothing runs, and every line has come to its end.
    fn everything_is_done(&mut self) -> Result<(), String> {
        if let Some((attempt, _)) = self.outside.node.processes.first_key_value() {
            return Err(format!("the queue has come to rest, and {attempt} still runs"));
        }
        let (_, scan) = Journal::open::<Record>(self.outside.disk.clone(), "gpusched")
            .map_err(|error| format!("{error:?}"))?;
        let durable = Durable::fold(scan.records.iter().map(|stamped| &stamped.record));
        let running: Vec<JobKey> = durable
            .jobs()
            .filter(|(_, job)| matches!(job.phase, Phase::Running(_)))
            .map(|(key, _)| key)
            .collect();
        if !running.is_empty() {
            return Err(format!("journalled as running after the end: {running:?}"));
        }
        self.every_line_is_terminal(&durable)
    }

    /// A line is done, or it was held because it replaced one that was.
    fn every_line_is_terminal(&self, durable: &Durable) -> Result<(), String> {
        let file = self.outside.user.file();
        let held = self.outside.marks.get("a change in place was held").copied().unwrap_or(0);
        let mut open: BTreeMap<[u8; 6], i64> = BTreeMap::new();
        for line in 0..file.len() {
            *open.entry(file.digest(line)).or_default() += 1;
        }
        for (key, job) in durable.jobs() {
            if matches!(job.phase, Phase::Done { .. }) {
                *open.entry(key.digest()).or_default() -= 1;
            }
        }
        let missing: u64 = open.values().filter(|count| **count > 0).map(|count| count.unsigned_abs()).sum();
        if missing > held {
            return Err(format!("{missing} lines were never run, and {held} were held"));
        }
        Ok(())
    }
}

fn config(rng: &mut Rng) -> Config {
    let ratio = |value: f64| Ratio::new(value).unwrap_or(Ratio::ZERO);
    Config {
        rules: allocation::Rules {
            idle_threshold: Mib::new(200),
            margin: Mib::new(rng.between(0, 1) * 512),
            exclusive: rng.chance(0.1),
            spike_buffer: ratio(0.10),
            thresholds: allocation::Thresholds {
                memory: rng.chance(0.3).then(|| ratio(0.8)),
                load: rng.chance(0.2).then(|| ratio(0.8)),
            },
        },
        tolerance: ratio(0.10),
        oom_retries: rng.between(0, 2),
        allowed: None,
        watch: false,
        verbose: rng.chance(0.5),
        poll: millis(rng.between(100, 10_000)),
        grace: SignedDuration::from_secs(10),
        retry_failed: false,
        launch_attempts: LaunchAttempts {
            most: rng.between(1, 3),
            pauses: Backoff { base: SignedDuration::from_secs(5), cap: SignedDuration::from_mins(1) },
        },
        cuda_ids: jobspec::CudaIds::Index,
        patience: Patience {
            overtakings: rng.between(0, 40),
            time: SignedDuration::from_mins(i64::from(rng.between(1, 60))),
        },
    }
}
