//! Reading the journals of the Python tool (gpusched 0.3.0 and 0.4.0), so that
//! work it has done is not done again.
//!
//! Such a journal has one JSON object a line and nothing to check it by. Only
//! 0.4.0 writes `started` and `interrupted`:
//!
//! ```text
//! {"key": "38bba75a9021#0", "event": "seen", "no": 8, "command": "..."}
//! {"key": "38bba75a9021#0", "event": "started", "pgid": 30041, "gpus": [0]}
//! {"key": "38bba75a9021#0", "event": "oom", "attempts": 1, "next_vram": 2560}
//! {"key": "38bba75a9021#0", "event": "interrupted"}
//! {"key": "38bba75a9021#0", "event": "done", "status": "ok", "returncode": 0, "peak_mib": {"0": 4000}, "avg_util": 37.0}
//! ```
//!
//! What can't be read is passed over and never stops us. Where a crash cut a
//! line short, that tool wrote its next one right behind and then could read
//! neither; here such lines are taken apart again.

use std::collections::{BTreeMap, BTreeSet};

use model::{Exit, GpuIndex, JobKey, JobNo, Mib};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::queue::{Record, Status};

/// What a journal of the Python tool says beside its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonJournal {
    /// How many lines, or beginnings of lines, could not be read.
    pub skipped: usize,
    /// The jobs that were started and whose end is not told, in the order of
    /// their numbers, with the process group they were started as. It may still
    /// live, and is never 0 or 1. Their last record says that they were
    /// interrupted.
    pub open: Vec<(JobKey, u32)>,
}

/// Reads a journal of the Python tool as records of ours: each as it would have
/// been written here. Jobs keep their numbers, but for one that another has
/// already or that is not told: it gets the next free one.
pub fn read_python_journal(bytes: &[u8]) -> (Vec<Record>, PythonJournal) {
    let mut skipped = 0;
    let mut lines = Vec::new();
    for text in bytes.split(|byte| *byte == b'\n').filter(|text| !text.trim_ascii().is_empty()) {
        if let Some(line) = parse(text) {
            lines.push(line);
            continue;
        }
        for piece in take_apart(text) {
            let line = parse(piece);
            skipped += usize::from(line.is_none());
            lines.extend(line);
        }
    }
    let mut reading = Reading { jobs: jobs(&lines), records: Vec::new() };
    for line in lines {
        reading.take(line);
    }
    let open = reading.interrupt_open();
    (reading.records, PythonJournal { skipped, open })
}

struct Line {
    key: JobKey,
    event: Event,
}

enum Event {
    Seen { no: Option<u32>, command: String },
    Started { pgid: Option<u32>, gpus: Vec<GpuIndex> },
    Oom { next_vram: Option<Mib> },
    Interrupted,
    Done { status: Status, exit: Option<Exit>, peak_mib: BTreeMap<GpuIndex, Mib>, avg_util: Option<f32> },
}

/// Numbers above this are damage; ours have to go on from the highest.
const MAX_NO: u32 = u32::MAX / 2;

/// Only the key and the event must be right: a job that is done is done,
/// whatever became of the details.
fn parse(text: &[u8]) -> Option<Line> {
    let line: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let event = match line.get("event")?.as_str()? {
        "seen" => Event::Seen {
            no: field(&line, "no").filter(|no| (1..=MAX_NO).contains(no)),
            command: field(&line, "command").unwrap_or_default(),
        },
        "started" => Event::Started {
            // To ask for group 0 or 1 is to ask for our own, or for everybody's.
            pgid: field(&line, "pgid").filter(|pgid| *pgid > 1),
            gpus: field(&line, "gpus").unwrap_or_default(),
        },
        "oom" => Event::Oom { next_vram: field(&line, "next_vram") },
        "interrupted" => Event::Interrupted,
        "done" => Event::Done {
            status: status(line.get("status")),
            exit: field(&line, "returncode").and_then(exit),
            peak_mib: field(&line, "peak_mib").unwrap_or_default(),
            avg_util: field(&line, "avg_util").filter(|percent: &f32| percent.is_finite()),
        },
        _ => return None,
    };
    Some(Line { key: field(&line, "key")?, event })
}

fn field<'a, T: Deserialize<'a>>(line: &'a Map<String, Value>, name: &str) -> Option<T> {
    T::deserialize(line.get(name)?).ok()
}

/// The lines in what should be one. A command is never taken for a line: in it,
/// quotes follow a backslash.
fn take_apart(text: &[u8]) -> Vec<&[u8]> {
    const START: &[u8] = br#"{"key": ""#;
    let windows = text.windows(START.len()).enumerate().skip(1);
    let cuts = windows.filter(|(_, window)| *window == START).map(|(at, _)| at);
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts.chain([text.len()]) {
        pieces.push(&text[from..cut]);
        from = cut;
    }
    pieces
}

fn status(value: Option<&Value>) -> Status {
    match value.and_then(Value::as_str) {
        Some("ok") => Status::Ok,
        Some("failed") => Status::Failed,
        Some("failed_oom") => Status::FailedOom,
        Some("timeout") => Status::Timeout,
        Some("cancelled") => Status::Cancelled,
        Some("infeasible") => Status::Infeasible,
        Some(_) | None => Status::Lost,
    }
}

/// A signal is negative, as in Python's `subprocess`.
fn exit(returncode: i64) -> Option<Exit> {
    match u8::try_from(returncode.unsigned_abs()).ok()? {
        code if returncode >= 0 => Some(Exit::Code(code)),
        signal => Some(Exit::Signal(signal)),
    }
}

/// A job while its lines are read.
#[derive(Default)]
struct Job {
    no: u32,
    command: String,
    /// Whether its `Seen` is among the records.
    seen: bool,
    /// Attempts that ended and did not end the job.
    ended: u32,
    /// The attempt whose end was not read yet.
    running: Option<Running>,
    done: bool,
}

struct Running {
    /// Its process group, where that is told.
    pgid: Option<u32>,
}

/// All jobs, with their numbers and commands.
fn jobs(lines: &[Line]) -> BTreeMap<JobKey, Job> {
    let mut jobs: BTreeMap<JobKey, Job> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for line in lines {
        let job = jobs.entry(line.key).or_default();
        if let Event::Seen { no, command } = &line.event {
            if job.command.is_empty() {
                job.command.clone_from(command);
            }
            if job.no == 0 {
                job.no = no.filter(|no| taken.insert(*no)).unwrap_or(0);
            }
        }
    }
    let mut last = taken.last().copied().unwrap_or(0);
    for line in lines {
        if let Some(job) = jobs.get_mut(&line.key).filter(|job| job.no == 0) {
            last += 1;
            job.no = last;
        }
    }
    jobs
}

struct Reading {
    jobs: BTreeMap<JobKey, Job>,
    records: Vec<Record>,
}

impl Reading {
    fn take(&mut self, Line { key, event }: Line) {
        let Some(job) = self.jobs.get_mut(&key).filter(|job| !job.done) else { return };
        let no = JobNo(job.no);
        if !job.seen {
            job.seen = true;
            self.records.push(Record::Seen { key, no, command: job.command.clone() });
        }
        match event {
            Event::Seen { .. } => {}
            Event::Started { pgid, gpus } => {
                if job.running.is_some() {
                    // It was not started twice at a time: the line that told of
                    // the end of the first is missing.
                    self.records.push(job.interrupted(key));
                }
                job.running = Some(Running { pgid });
                let (attempt, command) = (job.attempt(), job.command.clone());
                self.records.push(Record::Started {
                    key,
                    no,
                    attempt,
                    gpus,
                    declared: None,
                    share: None,
                    command,
                });
            }
            Event::Oom { next_vram } => {
                let attempt = job.attempt();
                job.end_attempt();
                self.records.push(Record::Oom { key, attempt, next_vram, alone: next_vram.is_none() });
            }
            Event::Interrupted => self.records.push(job.interrupted(key)),
            Event::Done { status, exit, peak_mib, avg_util } => {
                // The Python tool writes 0 where nothing ran.
                let ran = match status {
                    Status::Infeasible => false,
                    Status::Cancelled => job.running.is_some(),
                    Status::Ok | Status::Failed | Status::FailedOom | Status::Timeout | Status::Lost => true,
                };
                job.running = None;
                job.done = true;
                let exit = exit.filter(|_| ran);
                self.records.push(Record::Done { key, no, status, exit, peak_mib, avg_util, why: None });
            }
        }
    }

    /// Ends the attempts whose end is not told, and names their process groups.
    fn interrupt_open(&mut self) -> Vec<(JobKey, u32)> {
        let mut open: Vec<_> = self.jobs.iter_mut().filter(|(_, job)| job.running.is_some()).collect();
        open.sort_by_key(|(_, job)| job.no);
        let mut groups = Vec::new();
        for (key, job) in open {
            let pgid = job.running.as_ref().and_then(|running| running.pgid);
            groups.extend(pgid.map(|pgid| (*key, pgid)));
            self.records.push(job.interrupted(*key));
        }
        groups
    }
}

impl Job {
    /// The attempt that runs or will run next.
    fn attempt(&self) -> u32 {
        self.ended + 1
    }

    fn end_attempt(&mut self) {
        self.ended += 1;
        self.running = None;
    }

    fn interrupted(&mut self, key: JobKey) -> Record {
        let attempt = self.attempt();
        self.end_attempt();
        Record::Interrupted { key, attempt }
    }
}

#[cfg(test)]
mod tests;
