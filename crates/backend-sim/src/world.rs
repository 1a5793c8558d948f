//! The second world: virtual time, virtual processes, real decisions.

use std::collections::VecDeque;

use engine::queue::{Answer, Control, Effect, Event, Queue, Record, Report};
use engine::{Seq, Woken, World, WorldLost};
use journal::Journal;
use model::{Launch, LaunchError, Timestamp};

use crate::disk::Disk;
use crate::node::millis;
use crate::outside::{Happening, News, Outside, Passed, ToKeeper};

/// More steps than this mean that it never ends.
const MOST_STEPS: u64 = 1_000_000;

/// The world of one scheduler, from its start to its death or its end.
#[derive(Debug)]
pub(crate) struct SimWorld<'a> {
    pub(crate) outside: &'a mut Outside,
    journal: Journal<Disk>,
    first: VecDeque<Event>,
    dead: Option<&'static str>,
    /// Whether records were applied that are not in the journal.
    pub(crate) lost_records: bool,
}

impl<'a> SimWorld<'a> {
    pub(crate) fn new(outside: &'a mut Outside, journal: Journal<Disk>) -> Self {
        let file = Event::JobsFile(Ok(outside.user.file()));
        let survey = Event::Survey(outside.node.survey(outside.now));
        let first = if outside.rng.chance(0.5) { [file, survey] } else { [survey, file] };
        let asked =
            outside.mailbox.iter().map(|(id, ask)| Event::Control(Control { id: id.clone(), ask: *ask }));
        let first = first.into_iter().chain(asked).collect();
        Self { outside, journal, first, dead: None, lost_records: false }
    }

    fn dies(&mut self, why: &'static str) -> WorldLost {
        self.outside.trace.note(format_args!("{} the scheduler dies: {why}", self.outside.now));
        self.outside.mark(why);
        self.dead = Some(why);
        WorldLost(why.to_owned())
    }

    fn may_crash(&mut self) -> bool {
        if self.dead.is_none() && self.outside.rng.chance(self.outside.faults.crash) {
            self.dies("killed between two actions");
        }
        self.dead.is_some()
    }
}

impl World<Queue> for SimWorld<'_> {
    fn now(&mut self) -> Timestamp {
        self.outside.now
    }

    fn next(&mut self, until: Option<Timestamp>) -> Result<Woken<Event>, WorldLost> {
        self.outside.trace.count_step();
        if self.may_crash() {
            return Err(WorldLost(self.dead.unwrap_or("dead").to_owned()));
        }
        if self.outside.trace.steps() > MOST_STEPS {
            self.outside.violation = Some(format!("not at rest after {MOST_STEPS} steps"));
            return Err(self.dies("it goes on for ever"));
        }
        if let Some(event) = self.first.pop_front() {
            return Ok(Woken::Event(event));
        }
        match self.outside.happen(until) {
            Passed::Event(News::Event(event)) => Ok(Woken::Event(event)),
            Passed::Event(News::Synced(seq)) => Ok(Woken::Synced(seq)),
            Passed::Event(News::Lost(why)) => Err(self.dies(why)),
            Passed::Nothing if until.is_some() => Ok(Woken::Deadline),
            Passed::Nothing => {
                self.outside.violation = Some("nothing can happen any more".to_owned());
                Err(self.dies("stuck"))
            }
        }
    }

    fn persist(&mut self, records: &[Record]) -> Result<Seq, WorldLost> {
        if self.may_crash() {
            self.lost_records = true;
            return Err(WorldLost("dead".to_owned()));
        }
        let faults = &self.outside.faults;
        let (torn, full) = (faults.torn_append, faults.disk_full);
        let tears = self.outside.rng.chance(torn) || self.outside.rng.chance(full);
        if tears {
            let bytes = self.outside.rng.between(0, 400) as usize;
            self.outside.disk.tear_next(bytes);
        }
        let Ok(seq) = self.journal.append(records, self.outside.now) else {
            self.lost_records = true;
            return Err(self.dies("a write was torn"));
        };
        for record in records {
            self.outside.trace.note(format_args!("{} {record:?}", self.outside.now));
            if let Err(violation) = self.outside.checker.on_record(record) {
                self.outside.violation = Some(violation);
                return Err(self.dies("a violation"));
            }
        }
        let at = self.outside.now + millis(self.outside.rng.between(0, 20));
        let fails = self.outside.rng.chance(self.outside.faults.sync_fails);
        let (epoch, bytes) = (self.outside.epoch, self.outside.disk.written());
        self.outside.plan(at, Happening::Synced { epoch, seq, bytes, fails });
        Ok(seq)
    }

    fn perform(&mut self, effect: Effect) {
        if self.may_crash() {
            return;
        }
        let now = self.outside.now;
        match effect {
            Effect::Launch(launch) => self.send_launch(launch),
            Effect::Signal { attempt, signal } => {
                self.outside.checker.on_signal(attempt);
                self.outside.plan(now + millis(1), Happening::ToKeeper(ToKeeper::Signal(attempt, signal)));
            }
            Effect::Void(attempt) => {
                if !self.outside.rng.chance(self.outside.faults.no_keeper) {
                    self.outside.plan(now + millis(1), Happening::ToKeeper(ToKeeper::Void(attempt)));
                }
            }
            Effect::SampleGpus => self.read_gpus(),
            Effect::Answer { id, answer } => {
                self.outside.trace.note(format_args!("{now} {id} is answered: {answer:?}"));
                if matches!(answer, Answer::WaitsAgain(_)) {
                    self.outside.mark("a job is run again because somebody asked");
                }
                // The request goes after its answer has come.
                if !self.may_crash() {
                    self.outside.mailbox.remove(&id);
                }
            }
            Effect::PublishBoard(_) => {}
        }
    }

    fn report(&mut self, report: Report) {
        if self.may_crash() {
            return;
        }
        self.outside.checker.on_report(&report);
        if let Some(mark) = mark_of(&report) {
            self.outside.mark(mark);
        }
    }
}

impl SimWorld<'_> {
    fn send_launch(&mut self, launch: Launch) {
        let attempt = launch.attempt;
        let mut delay = self.outside.rng.between(0, 2);
        let mut arrives = true;
        if self.outside.rng.chance(self.outside.faults.no_keeper) {
            // It may have heard us before it fell silent.
            arrives = self.outside.rng.chance(0.5);
            let why = LaunchError::NoKeeper("it hung up".to_owned());
            self.outside.tell(Event::Refused { attempt, why });
        }
        if self.outside.rng.chance(self.outside.faults.late_launch) {
            delay = self.outside.rng.between(3, 8000);
        }
        if arrives {
            let at = self.outside.now + millis(delay);
            self.outside.plan(at, Happening::ToKeeper(ToKeeper::Launch(launch)));
        }
    }

    fn read_gpus(&mut self) {
        let faults = &self.outside.faults;
        let (unknown, hang) = (faults.gpus_unknown, faults.gpus_hang);
        let (after, fails) = if self.outside.rng.chance(hang) {
            (10_000, Some("nvidia-smi did not answer within 10 s"))
        } else if self.outside.rng.chance(unknown) {
            (20, Some("NVIDIA-SMI has failed"))
        } else {
            (self.outside.rng.between(1, 40), None)
        };
        let epoch = self.outside.epoch;
        self.outside.plan(self.outside.now + millis(after), Happening::SampleRead { epoch, fails });
    }
}

/// What a simulation should have met: seeds that meet none of it test nothing.
fn mark_of(report: &Report) -> Option<&'static str> {
    match report {
        Report::Adopted { .. } => Some("a job was adopted"),
        Report::Requeued { .. } => Some("an interrupted job waits again"),
        Report::OomRequeued { alone: true, .. } => Some("an OOM retry has its GPU to itself"),
        Report::OomRequeued { .. } => Some("an OOM retry with a larger declaration"),
        Report::Infeasible { .. } => Some("a job can never run"),
        Report::TimedOut { .. } => Some("a job had its time"),
        Report::Killing { .. } => Some("a job had to be killed"),
        Report::Cancelling { .. } => Some("a running job was cancelled"),
        Report::CancelledPending { .. } => Some("a waiting job was cancelled"),
        Report::Exceeds { .. } => Some("a job exceeded its declaration"),
        Report::Reserved { .. } => Some("GPUs were kept free"),
        Report::EditIgnored { .. } => Some("a change in place was held"),
        Report::GpusUnknown { .. } => Some("the GPUs could not be read"),
        Report::GpuOut { .. } => Some("a GPU took no jobs"),
        Report::Paused { .. } => Some("a GPU was paused"),
        Report::CouldNotStart { again_in: Some(_), .. } => Some("a job is to be started again"),
        Report::CouldNotStart { .. } => Some("a job could not be started often enough"),
        Report::Started { share: Some(_), .. } => Some("a part of a GPU was given"),
        Report::Finished(ended) if ended.status == engine::queue::Status::Lost => Some("a job was lost"),
        Report::Finished(_)
        | Report::Queued { .. }
        | Report::Gpus { .. }
        | Report::Started { .. }
        | Report::Usage { .. }
        | Report::AlreadyDone { .. }
        | Report::NotStarted { .. }
        | Report::Runs { .. }
        | Report::StateKept { .. }
        | Report::StateUnknownGpus { .. }
        | Report::QueueKept { .. }
        | Report::QueueGood
        | Report::SameJob { .. }
        | Report::Models { .. }
        | Report::ModelsKept { .. }
        | Report::UnknownModel { .. }
        | Report::GpusKnown
        | Report::GpuBack { .. }
        | Report::Drained
        | Report::Interrupted { .. }
        | Report::Summary(_) => None,
    }
}
