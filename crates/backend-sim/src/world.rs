//! The second world: virtual time, virtual processes, real decisions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use engine::queue::{Effect, Event, Queue, Record, Report, Unreadable, Urgency};
use engine::{Seq, Woken, World, WorldLost};
use journal::Journal;
use model::{
    AttemptId, AttemptSighting, GpuIndex, Launch, LaunchError, Mib, Presence, SignedDuration, StopSignal,
    Timestamp, Unavailable,
};

use crate::checker::Checker;
use crate::disk::Disk;
use crate::faults::Faults;
use crate::node::{End, SimNode, millis};
use crate::rng::Rng;
use crate::trace::Trace;
use crate::user::User;

/// More steps than this mean that it never ends.
const MOST_STEPS: u64 = 1_000_000;

/// Everything that outlives a scheduler.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) now: Timestamp,
    pub(crate) faults: Faults,
    pub(crate) rng: Rng,
    pub(crate) node: SimNode,
    pub(crate) disk: Disk,
    pub(crate) user: User,
    pub(crate) checker: Checker,
    pub(crate) trace: Trace,
    pub(crate) marks: BTreeMap<&'static str, u64>,
    agenda: BinaryHeap<Reverse<(Timestamp, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    /// Which scheduler lives; what is on its way to an earlier one is lost.
    pub(crate) epoch: u64,
    /// What must not have happened, and did.
    pub(crate) violation: Option<String>,
    pub(crate) last_edit: Timestamp,
}

/// Something that will happen.
#[derive(Debug)]
enum Happening {
    ToKeeper(ToKeeper),
    FullMemory(AttemptId),
    NaturalEnd(AttemptId),
    ToScheduler(u64, Event),
    Synced {
        epoch: u64,
        seq: Seq,
        bytes: usize,
        fails: bool,
    },
    SampleRead {
        epoch: u64,
        fails: Option<&'static str>,
    },
    UserEdits,
    StrangersStir,
    /// From here on only jobs misbehave.
    Calm,
    Interrupt,
}

#[derive(Debug)]
enum ToKeeper {
    Launch(Launch),
    Signal(AttemptId, StopSignal),
    Void(AttemptId),
}

impl Outside {
    pub(crate) fn new(
        seed: u64,
        faults: Faults,
        node: SimNode,
        user: User,
        margin: Mib,
        aloud: bool,
    ) -> Self {
        let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50);
        Self {
            now: start,
            faults,
            rng: Rng::new(seed, 1),
            node,
            disk: Disk::default(),
            user,
            checker: Checker::new(margin),
            trace: Trace::new(aloud),
            marks: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            epoch: 0,
            violation: None,
            last_edit: start,
        }
    }

    pub(crate) fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    fn plan(&mut self, at: Timestamp, what: Happening) {
        self.sequence += 1;
        self.agenda.push(Reverse((at, self.sequence)));
        self.happenings.insert(self.sequence, what);
    }

    pub(crate) fn plan_edit(&mut self, at: Timestamp) {
        self.last_edit = self.last_edit.max(at);
        self.plan(at, Happening::UserEdits);
    }

    pub(crate) fn plan_strangers(&mut self, at: Timestamp) {
        self.plan(at, Happening::StrangersStir);
    }

    pub(crate) fn plan_calm(&mut self, at: Timestamp) {
        self.plan(at, Happening::Calm);
    }

    pub(crate) fn plan_interrupt(&mut self, at: Timestamp) {
        self.plan(at, Happening::Interrupt);
    }

    /// Nothing that was on its way to the keeper arrives any more.
    pub(crate) fn drop_messages(&mut self) {
        self.happenings.retain(|_, happening| !matches!(happening, Happening::ToKeeper(_)));
    }

    /// Lets the machine go on without a scheduler.
    pub(crate) fn pass_time(&mut self, until: Timestamp) {
        while self.violation.is_none() {
            match self.happen(Some(until)) {
                Passed::Event(..) => {}
                Passed::Nothing => return,
            }
        }
    }

    /// The next thing that concerns the scheduler, if any comes before `until`.
    fn happen(&mut self, until: Option<Timestamp>) -> Passed {
        while let Some(Reverse((at, _))) = self.agenda.peek() {
            if until.is_some_and(|until| *at > until) {
                break;
            }
            let Some(Reverse((at, sequence))) = self.agenda.pop() else { break };
            self.now = self.now.max(at);
            let Some(happening) = self.happenings.remove(&sequence) else { continue };
            if let Some(news) = self.take_place(happening) {
                return Passed::Event(news);
            }
        }
        if let Some(until) = until {
            self.now = self.now.max(until);
        }
        Passed::Nothing
    }

    fn take_place(&mut self, happening: Happening) -> Option<News> {
        match happening {
            Happening::ToKeeper(message) => self.keeper_hears(message),
            Happening::FullMemory(attempt) => {
                if self.node.runs_out_of_memory(attempt, self.now) {
                    return self.process_ends(attempt, End::OutOfMemory);
                }
                None
            }
            Happening::NaturalEnd(attempt) => {
                let due = self.node.processes.get(&attempt).is_some_and(|it| it.ends_at <= self.now);
                if due { self.process_ends(attempt, End::ByItself) } else { None }
            }
            Happening::ToScheduler(epoch, event) => (epoch == self.epoch).then_some(News::Event(event)),
            Happening::Synced { epoch, .. } | Happening::SampleRead { epoch, .. } if epoch != self.epoch => {
                None
            }
            Happening::Synced { fails: true, .. } => Some(News::Lost("a sync failed")),
            Happening::Synced { seq, bytes, .. } => {
                self.disk.sync_up_to(bytes);
                Some(News::Synced(seq))
            }
            Happening::SampleRead { fails: Some(why), .. } => {
                Some(News::Event(Event::Gpus(Err(Unavailable(why.to_owned())))))
            }
            Happening::SampleRead { fails: None, .. } => {
                let snapshot = self.node.snapshot(&self.faults, self.now);
                Some(News::Event(Event::Gpus(Ok(snapshot))))
            }
            Happening::UserEdits => Some(News::Event(self.user_edits())),
            Happening::StrangersStir => {
                let faults = self.faults.clone();
                self.node.stir_strangers(&faults);
                if faults.strangers > 0.0 {
                    let after = millis(self.rng.between(1000, 600_000));
                    self.plan(self.now + after, Happening::StrangersStir);
                }
                None
            }
            Happening::Calm => {
                self.calm();
                None
            }
            Happening::Interrupt => {
                let urgency = *self.rng.pick(&[Urgency::Leave, Urgency::Stop, Urgency::Kill]);
                self.mark("interrupted by a signal");
                Some(News::Event(Event::Interrupt(urgency)))
            }
        }
    }

    /// Ends all faults but those of the jobs.
    pub(crate) fn calm(&mut self) {
        self.faults = self.faults.calmed();
        self.node.send_strangers_away();
    }

    fn user_edits(&mut self) -> Event {
        let what = self.user.edit();
        self.mark(what);
        self.trace.note(format_args!("{} the user {what}", self.now));
        if self.rng.chance(self.faults.broken_save) {
            self.mark("broken save");
            let after = millis(self.rng.between(10, 3000));
            let whole = Event::JobsFile(Ok(self.user.file()));
            self.last_edit = self.last_edit.max(self.now + after);
            self.plan(self.now + after, Happening::ToScheduler(self.epoch, whole));
            return Event::JobsFile(Err(Unreadable("line 1: half a line".to_owned())));
        }
        Event::JobsFile(Ok(self.user.file()))
    }

    fn keeper_hears(&mut self, message: ToKeeper) -> Option<News> {
        match message {
            ToKeeper::Launch(launch) => return self.keeper_launches(&launch),
            ToKeeper::Void(attempt) => {
                let sighting = self.node.void(attempt, self.now);
                if sighting.presence == Presence::Voided {
                    self.mark("an attempt was ruled out");
                }
                self.tell(Event::Attempts(vec![sighting]));
            }
            ToKeeper::Signal(attempt, signal) => {
                let end = match signal {
                    StopSignal::Kill => Some(End::Killed),
                    StopSignal::Term => self.node.heeds_term(attempt).then_some(End::Terminated),
                };
                if let Some(end) = end {
                    return self.process_ends(attempt, end);
                }
            }
        }
        None
    }

    fn keeper_launches(&mut self, launch: &Launch) -> Option<News> {
        let attempt = launch.attempt;
        let gpus: Vec<GpuIndex> = launch.gpus.iter().map(|(gpu, _)| *gpu).collect();
        if let Err(why) = self.node.admits(attempt) {
            self.mark("a used attempt was refused");
            self.tell(Event::Refused { attempt, why });
            return None;
        }
        let declared = match self.checker.on_start(attempt, &gpus, &self.node) {
            Ok(declared) => declared,
            Err(violation) => {
                self.violation = Some(violation);
                return Some(News::Lost("a violation"));
            }
        };
        self.trace.note(format_args!("{} {attempt} begins on {gpus:?}", self.now));
        match self.node.launch(launch, declared, &self.faults, self.now) {
            Ok(full_at) => {
                let ends_at = self.node.processes[&attempt].ends_at;
                self.plan(full_at, Happening::FullMemory(attempt));
                self.plan(ends_at, Happening::NaturalEnd(attempt));
                let pid = self.node.processes[&attempt].pid;
                let presence = Presence::Running { pid, elapsed: SignedDuration::ZERO };
                self.tell(Event::Attempts(vec![AttemptSighting { attempt, presence }]));
            }
            Err(why) => self.tell(Event::Refused { attempt, why }),
        }
        self.maybe_kill_keeper();
        None
    }

    fn process_ends(&mut self, attempt: AttemptId, how: End) -> Option<News> {
        let sighting = self.node.end(attempt, how, self.now)?;
        self.trace.note(format_args!("{} {attempt} ends: {how:?}", self.now));
        self.checker.on_end(attempt, how);
        self.maybe_kill_keeper();
        self.tell(Event::Attempts(vec![sighting]));
        None
    }

    fn maybe_kill_keeper(&mut self) {
        if self.rng.chance(self.faults.keeper_killed) {
            self.mark("the keeper was killed");
            self.trace.note(format_args!("{} the keeper is killed", self.now));
            self.node.kill_keeper();
            let survey = Event::Survey(self.node.survey(self.now));
            self.tell(survey);
        }
    }

    /// Sends news to the scheduler that lives now.
    fn tell(&mut self, event: Event) {
        let after = millis(self.rng.between(0, 3));
        self.plan(self.now + after, Happening::ToScheduler(self.epoch, event));
    }
}

enum Passed {
    Event(News),
    Nothing,
}

enum News {
    Event(Event),
    Synced(Seq),
    Lost(&'static str),
}

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
        Self { outside, journal, first: first.into(), dead: None, lost_records: false }
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
        match self.journal.append(records, self.outside.now) {
            Ok(seq) => {
                for record in records {
                    self.outside.trace.note(format_args!("{} {record:?}", self.outside.now));
                    self.outside.checker.on_record(record);
                }
                let at = self.outside.now + millis(self.outside.rng.between(0, 20));
                let fails = self.outside.rng.chance(self.outside.faults.sync_fails);
                let (epoch, bytes) = (self.outside.epoch, self.outside.disk.written());
                self.outside.plan(at, Happening::Synced { epoch, seq, bytes, fails });
                Ok(seq)
            }
            Err(_) => {
                self.lost_records = true;
                Err(self.dies("a write was torn"))
            }
        }
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
        Report::EditIgnored { .. } => Some("a change in place was held"),
        Report::GpusUnknown { .. } => Some("the GPUs could not be read"),
        Report::Finished(ended) if ended.status == engine::queue::Status::Lost => Some("a job was lost"),
        Report::Finished(_)
        | Report::Queued { .. }
        | Report::Gpus { .. }
        | Report::Started { .. }
        | Report::Usage { .. }
        | Report::AlreadyDone { .. }
        | Report::NotStarted { .. }
        | Report::QueueKept { .. }
        | Report::QueueGood
        | Report::GpusKnown
        | Report::Drained
        | Report::Interrupted { .. }
        | Report::Summary(_) => None,
    }
}
