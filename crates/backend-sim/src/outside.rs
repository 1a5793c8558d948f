//! Everything that outlives a scheduler: the machine, its user, its disk, and
//! what is on its way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use engine::Seq;
use engine::queue::{Ask, Control, Event, Unreadable, Urgency};
use model::{
    AttemptId, AttemptSighting, GpuIndex, Launch, LogPart, Mib, Presence, SignedDuration, StopSignal,
    Timestamp, Unavailable,
};

use crate::checker::Checker;
use crate::disk::Disk;
use crate::faults::Faults;
use crate::node::{End, SimNode, millis};
use crate::rng::Rng;
use crate::trace::Trace;
use crate::user::User;

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
    /// What was asked for and not answered yet.
    pub(crate) mailbox: BTreeMap<Box<str>, Ask>,
}

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
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
    UserAsks,
    StrangersStir,
    /// From here on only jobs misbehave.
    Calm,
    Interrupt,
}

#[derive(Debug)]
pub(crate) enum ToKeeper {
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
            mailbox: BTreeMap::new(),
        }
    }

    pub(crate) fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    pub(crate) fn plan(&mut self, at: Timestamp, what: Happening) {
        self.sequence += 1;
        self.agenda.push(Reverse((at, self.sequence)));
        self.happenings.insert(self.sequence, what);
    }

    pub(crate) fn plan_edit(&mut self, at: Timestamp) {
        self.last_edit = self.last_edit.max(at);
        self.plan(at, Happening::UserEdits);
    }

    /// Somebody will ask something of the scheduler.
    pub(crate) fn plan_ask(&mut self, at: Timestamp) {
        self.last_edit = self.last_edit.max(at);
        self.plan(at, Happening::UserAsks);
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
    pub(crate) fn happen(&mut self, until: Option<Timestamp>) -> Passed {
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
            Happening::UserAsks => {
                if let Some(edit) = self.user.edit_state() {
                    self.mark("the state file was edited");
                    self.trace.note(format_args!("{} the user edits the state file: {edit:?}", self.now));
                    return Some(News::Event(Event::State(edit)));
                }
                let ask = self.user.ask();
                self.mark("something was asked for");
                Some(News::Event(self.ask(ask)))
            }
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
        for gpu in (0..).map(GpuIndex).take(self.node.gpus.len()) {
            let event = self.ask(Ask::Resume(gpu));
            self.tell(event);
        }
    }

    /// Puts something into the mailbox, where it stays until it is answered.
    fn ask(&mut self, ask: Ask) -> Event {
        let id: Box<str> = format!("ask-{}", self.sequence).into();
        self.sequence += 1;
        self.trace.note(format_args!("{} {id}: {ask:?}", self.now));
        self.mailbox.insert(id.clone(), ask);
        Event::Control(Control { id, ask })
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
                let presence =
                    Presence::Running { pid, elapsed: SignedDuration::ZERO, log: LogPart::default() };
                self.tell(Event::Attempts(vec![AttemptSighting { attempt, presence }]));
            }
            Err(why) => {
                self.mark("a job could not be started");
                self.tell(Event::Refused { attempt, why });
            }
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
    pub(crate) fn tell(&mut self, event: Event) {
        let after = millis(self.rng.between(0, 3));
        self.plan(self.now + after, Happening::ToScheduler(self.epoch, event));
    }
}

/// What came of waiting.
pub(crate) enum Passed {
    Event(News),
    Nothing,
}

/// What reaches the scheduler.
pub(crate) enum News {
    Event(Event),
    Synced(Seq),
    Lost(&'static str),
}
