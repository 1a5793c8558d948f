//! The queue as a machine: what it holds, and the order of one step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use allocation::{Node, Request, Shortfall};
use jobspec::CudaIds;
use model::{AttemptId, Exit, GpuIndex, JobNo, Ratio, SignedDuration, Timestamp};
use policy::Backoff;

use crate::queue::durable::{Durable, Phase};
use crate::queue::fairness::Fairness;
use crate::queue::lines::{LineState, Lines};
use crate::queue::live::{Lingering, Live};
use crate::queue::needs::Needs;
use crate::queue::{BoardDone, Effect, Event, Record, Report, Status, Summary, Urgency};
use crate::{Action, Actions, Durability, Machine};

/// How the queue shall behave. There are no defaults here: they are the
/// program's, where they are documented.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The rules of placement.
    pub rules: allocation::Rules,
    /// The band around a declaration within which a peak is as declared.
    pub tolerance: Ratio,
    /// How often a job that ran out of GPU memory is run again, where its line
    /// does not say.
    pub oom_retries: u32,
    /// The GPUs to use; nothing means all.
    pub allowed: Option<BTreeSet<GpuIndex>>,
    /// Whether to wait for new lines when all is done.
    pub watch: bool,
    /// Whether to report usage while it grows.
    pub verbose: bool,
    /// The time between two samples of the GPUs while anything runs or waits.
    pub poll: SignedDuration,
    /// How long a job has between SIGTERM and SIGKILL.
    pub grace: SignedDuration,
    /// How long smaller jobs may go around one that does not fit.
    pub patience: Patience,
    /// Whether what failed in an earlier run is run again.
    pub retry_failed: bool,
    /// How often a job that cannot be started is tried.
    pub launch_attempts: LaunchAttempts,
    /// By which numbers a command is told its GPUs whose line does not say.
    pub cuda_ids: CudaIds,
}

/// How often a job is tried that cannot be started: its script is missing, say,
/// or its process can't be created. Waiting for room is no attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchAttempts {
    /// Attempts in a row before the job has failed; at least one is made.
    pub most: u32,
    /// The pauses between them.
    pub pauses: Backoff,
}

impl LaunchAttempts {
    /// What can't be started has failed.
    pub const ONCE: Self =
        Self { most: 1, pauses: Backoff { base: SignedDuration::ZERO, cap: SignedDuration::ZERO } };
}

/// How long smaller jobs may go around one that does not fit. After that, GPUs
/// are kept free for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Later jobs that may be started meanwhile.
    pub overtakings: u32,
    /// The time it may wait, once any later job was started.
    pub time: SignedDuration,
}

/// What a queue comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// 0, or the largest exit code of a failed job and at least 1; at least 2
    /// where the jobs file could not be read at the end.
    pub worst: u8,
    /// Whether and how it was told to end.
    pub interrupted: Option<Urgency>,
}

/// The queue of one machine.
#[derive(Debug)]
pub struct Queue {
    pub(super) config: Config,
    pub(super) durable: Durable,
    pub(super) lines: Lines,
    /// A good jobs file was read.
    pub(super) file_known: bool,
    /// What each model needs, where that is known.
    pub(super) needs: Needs,
    /// How many lines were told to be the same jobs as others.
    pub(super) same_told: usize,
    /// Why the last good queue is in force instead of the file.
    pub(super) kept_because: Option<String>,
    pub(super) live: BTreeMap<JobNo, Live>,
    pub(super) lingering: Vec<Lingering>,
    pub(super) surveyed: bool,
    pub(super) node: Node,
    pub(super) sampling: Sampling,
    pub(super) fairness: Fairness,
    /// Why the first line of each kind of need could not start.
    pub(super) blocked: BTreeMap<Request, Shortfall>,
    pub(super) recent: VecDeque<BoardDone>,
    pub(super) summary: Summary,
    /// Jobs that ended in this run.
    pub(super) ended: BTreeMap<JobNo, Status>,
    /// The exit code of each failure, those of earlier runs included.
    pub(super) failures: BTreeMap<JobNo, u8>,
    pub(super) rest: Rest,
    pub(super) interrupted: Option<Urgency>,
    pub(super) board: Publishing,
    /// Nothing is started before this time, after the job host failed us.
    pub(super) not_before: Option<Timestamp>,
}

/// Whether there is anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Busy,
    /// There is not, and it was said; new lines may come.
    Drained,
    /// Nor will there be.
    Over,
}

/// When the GPUs were read and will be.
#[derive(Debug, Clone, Default)]
pub(super) struct Sampling {
    /// When the last good sample was asked for.
    pub(super) known_at: Option<Timestamp>,
    /// When the sample under way was asked for.
    pub(super) asked_at: Option<Timestamp>,
    /// When the next is due.
    pub(super) next_at: Option<Timestamp>,
    /// Failures in a row, and the last reason.
    pub(super) failures: u32,
    pub(super) unknown: Option<String>,
    /// The GPUs that were told to take no new jobs.
    pub(super) out: BTreeSet<GpuIndex>,
    /// The last time one of our attempts began or ended.
    pub(super) stirred_at: Option<Timestamp>,
    /// Attempts that ended while the sample under way was made.
    pub(super) ended_meanwhile: BTreeSet<AttemptId>,
}

/// When the board was published.
#[derive(Debug, Clone, Default)]
pub(super) struct Publishing {
    pub(super) stale: bool,
    pub(super) last: Option<Timestamp>,
}

/// The time of a step, and the actions it has come to so far.
pub(super) struct Turn {
    pub(super) now: Timestamp,
    pub(super) actions: Actions<Queue>,
}

impl Turn {
    pub(super) fn perform(&mut self, effect: Effect) {
        self.actions.push(Action::Perform(effect));
    }

    pub(super) fn report(&mut self, report: Report) {
        self.actions.push(Action::Report(report));
    }
}

impl Queue {
    /// A queue that goes on from what the journal says.
    pub fn new(config: Config, records: impl IntoIterator<Item = Record>, now: Timestamp) -> Self {
        let mut durable = Durable::default();
        for record in records {
            durable.apply(&record);
        }
        let live = durable
            .jobs()
            .filter_map(|(key, job)| match &job.phase {
                Phase::Running(begun) => {
                    let (attempt, begun) = (job.last_attempt(key), (**begun).clone());
                    Some((job.no, Live::recovered(attempt, job, begun, now, config.grace)))
                }
                Phase::Waiting | Phase::Done { .. } => None,
            })
            .collect();
        let mut node = Node::new(config.allowed.clone());
        node.pause(durable.paused());
        Self {
            node,
            lines: Lines::new(durable.last_no(), config.retry_failed),
            config,
            durable,
            file_known: false,
            needs: Needs::default(),
            same_told: 0,
            kept_because: None,
            live,
            lingering: Vec::new(),
            surveyed: false,
            sampling: Sampling::default(),
            fairness: Fairness::default(),
            blocked: BTreeMap::new(),
            recent: VecDeque::new(),
            summary: Summary::default(),
            ended: BTreeMap::new(),
            failures: BTreeMap::new(),
            rest: Rest::Busy,
            interrupted: None,
            board: Publishing::default(),
            not_before: None,
        }
    }

    /// What the journal has come to.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Makes a record part of the durable state and has it written.
    pub(super) fn commit(&mut self, record: Record, turn: &mut Turn) {
        self.durable.apply(&record);
        turn.actions.push(Action::Persist(record));
        self.board.stale = true;
    }

    /// Notes a failure for the exit code and the last words.
    pub(super) fn note_failure(&mut self, no: JobNo, status: Status, exit: Option<Exit>, command: &str) {
        let code = match exit {
            Some(Exit::Code(code)) => code.max(1),
            Some(Exit::Signal(_)) | None => 1,
        };
        self.failures.insert(no, code);
        if self.summary.failures.len() < MAX_FAILURES_NAMED {
            self.summary.failures.push((no, status, exit, command.to_owned()));
        }
    }

    /// Whether there is nothing to run, now or later.
    pub(super) fn is_drained(&self) -> bool {
        self.file_known && self.surveyed && self.live.is_empty() && !self.lines.any_left()
    }

    fn come_to_rest(&mut self, turn: &mut Turn) {
        let stopped = match self.interrupted {
            None => false,
            Some(Urgency::Leave) => true,
            Some(Urgency::Stop | Urgency::Kill) => self.surveyed && self.live.is_empty(),
        };
        let drained = self.interrupted.is_none() && self.is_drained();
        if drained && self.config.watch {
            if self.rest == Rest::Busy {
                self.rest = Rest::Drained;
                turn.report(Report::Drained);
            }
        } else if drained || stopped {
            self.rest = Rest::Over;
            self.publish_board(turn);
            if drained {
                self.summary.unread.clone_from(&self.kept_because);
                turn.report(Report::Summary(self.summary.clone()));
            }
        }
    }

    /// Marks the line of a job, where it still has one.
    pub(super) fn mark_line(&mut self, line: Option<u32>, state: LineState) {
        if let Some(line) = line {
            self.lines.set_state(line as usize, state);
        }
    }
}

/// The exit code for a jobs file that can't be used.
const USAGE: u8 = 2;

/// Failures beyond this many are counted, but not named.
const MAX_FAILURES_NAMED: usize = 1000;

impl Machine for Queue {
    type Event = Event;
    type Record = Record;
    type Effect = Effect;
    type Report = Report;
    type Outcome = Outcome;

    fn step(&mut self, event: Option<Event>, now: Timestamp) -> Actions<Self> {
        let mut turn = Turn { now, actions: Vec::new() };
        match event {
            Some(Event::JobsFile(file)) => self.on_jobs_file(file, &mut turn),
            Some(Event::Gpus(sample)) => self.on_gpus(sample, &mut turn),
            Some(Event::Survey(sightings)) => self.on_survey(sightings, &mut turn),
            Some(Event::Attempts(sightings)) => self.on_sightings(sightings, &mut turn),
            Some(Event::Refused { attempt, why }) => self.on_refused(attempt, why, &mut turn),
            Some(Event::Models(models)) => self.on_models(models, &mut turn),
            Some(Event::Control(control)) => self.on_control(control, &mut turn),
            Some(Event::State(edit)) => self.on_state_edit(edit, &mut turn),
            Some(Event::Interrupt(urgency)) => self.on_interrupt(urgency, &mut turn),
            None => {}
        }
        if self.rest != Rest::Over {
            self.on_time(&mut turn);
            self.dispatch(&mut turn);
            self.journal_numbers(&mut turn);
            self.keep_sampling(&mut turn);
            self.keep_board(&mut turn);
            self.come_to_rest(&mut turn);
        }
        turn.actions
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        if self.rest == Rest::Over {
            return None;
        }
        let deadlines = [
            self.next_stop_deadline(),
            self.next_sample_deadline(),
            self.next_board_deadline(),
            self.not_before.filter(|_| !self.lines.waiting.is_empty()),
            self.lines.deferred.next(),
            (self.file_known && self.lines.has_unjournalled()).then_some(Timestamp::MIN),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn effect_needs(effect: &Effect) -> Durability {
        match effect {
            // Nothing local survives a reboot, so nothing needs to be on the
            // disk before it happens.
            Effect::Launch(_)
            | Effect::Signal { .. }
            | Effect::Void(_)
            | Effect::SampleGpus
            | Effect::PublishBoard(_) => Durability::Written,
            // Who was told that something is done need not ask again.
            Effect::Answer { .. } => Durability::Synced,
        }
    }

    fn report_needs(report: &Report) -> Durability {
        match report {
            // What a user was told is over is never run again.
            Report::Finished(_)
            | Report::CouldNotStart { again_in: None, .. }
            | Report::OomRequeued { .. }
            | Report::Infeasible { .. }
            | Report::CancelledPending { .. }
            | Report::Drained
            | Report::Summary(_) => Durability::Synced,
            Report::Queued { .. }
            | Report::Gpus { .. }
            | Report::Started { .. }
            | Report::Usage { .. }
            | Report::Exceeds { .. }
            | Report::TimedOut { .. }
            | Report::Cancelling { .. }
            | Report::Killing { .. }
            | Report::AlreadyDone { .. }
            | Report::Adopted { .. }
            | Report::Requeued { .. }
            | Report::NotStarted { .. }
            | Report::CouldNotStart { again_in: Some(_), .. }
            | Report::Runs { .. }
            | Report::Paused { .. }
            | Report::StateKept { .. }
            | Report::StateUnknownGpus { .. }
            | Report::Reserved { .. }
            | Report::QueueKept { .. }
            | Report::QueueGood
            | Report::SameJob { .. }
            | Report::Models { .. }
            | Report::ModelsKept { .. }
            | Report::UnknownModel { .. }
            | Report::EditIgnored { .. }
            | Report::GpusUnknown { .. }
            | Report::GpusKnown
            | Report::GpuOut { .. }
            | Report::GpuBack { .. }
            | Report::Interrupted { .. } => Durability::Written,
        }
    }

    fn check(&self) {
        // All of it in debug builds, in which the simulation runs; else the cheap
        // part.
        let checked = if cfg!(debug_assertions) { self.audit() } else { self.audit_live() };
        if let Err(violation) = checked {
            panic!("the queue is in a state that must not be: {violation}");
        }
    }

    fn settled(&self) -> Option<Outcome> {
        (self.rest == Rest::Over).then_some({
            let unread = if self.summary.unread.is_some() { USAGE } else { 0 };
            let worst = self.failures.values().copied().max().unwrap_or(0);
            Outcome { worst: worst.max(unread), interrupted: self.interrupted }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_to_have_failed_only_when_the_disk_knows() {
        #[track_caller]
        fn check(again_in: Option<SignedDuration>, expect: Durability) {
            let why = "argument list too long".to_owned();
            let report = Report::CouldNotStart { no: JobNo(1), why, attempts: 1, most: 2, again_in };
            assert_eq!(Queue::report_needs(&report), expect);
        }
        check(None, Durability::Synced);
        check(Some(SignedDuration::ZERO), Durability::Written);
    }
}
