//! What has become of attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use model::{
    AttemptId, AttemptSighting, Exit, JobNo, LaunchError, LogPart, Mib, Presence, SignedDuration, StopSignal,
};
use policy::{NextVram, Stopped, Verdict};

use crate::queue::lines::LineState;
use crate::queue::live::{Known, Lingering, Live, Stop};
use crate::queue::machine::{Queue, Rest, Turn};
use crate::queue::{
    Assessment, BoardDone, Effect, Ended, Interruption, LaunchAttempts, Record, Report, Status, Stopping,
};

/// How long to wait before the job host is asked again for what it did not do.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// How an attempt ended, as its host tells it.
struct End {
    exit: Exit,
    elapsed: SignedDuration,
    tail: Box<str>,
    survivors: bool,
}

impl Queue {
    /// The host has told all it knows: what it does not know of has not begun,
    /// and must not begin any more.
    pub(super) fn on_survey(&mut self, sightings: Vec<AttemptSighting>, turn: &mut Turn) {
        let seen: BTreeSet<AttemptId> = sightings.iter().map(|sighting| sighting.attempt).collect();
        self.surveyed = true;
        for live in self.live.values_mut().filter(|live| !seen.contains(&live.attempt)) {
            live.known = Known::Doubtful { ask_again: turn.now + ASK_AGAIN };
            turn.perform(Effect::Void(live.attempt));
        }
        self.on_sightings(sightings, turn);
        self.signal_again(turn);
    }

    pub(super) fn on_sightings(&mut self, sightings: Vec<AttemptSighting>, turn: &mut Turn) {
        for sighting in sightings {
            self.on_sighting(sighting, turn);
        }
    }

    fn on_sighting(&mut self, sighting: AttemptSighting, turn: &mut Turn) {
        let attempt = sighting.attempt;
        let Some(no) = self.live_number(attempt) else { return };
        match sighting.presence {
            Presence::Running { elapsed, log, .. } => self.on_running(no, elapsed, log, turn),
            Presence::Ended { exit, elapsed, tail, survivors } => {
                self.on_ended(no, &End { exit, elapsed, tail, survivors }, turn);
            }
            Presence::Lost(why) => self.on_lost(no, &why, turn),
            Presence::Interrupted | Presence::Voided => self.wait_again(no, turn),
        }
    }

    /// The number of the job whose running attempt this is. What is said of an
    /// earlier attempt is no news of the present one.
    fn live_number(&self, attempt: AttemptId) -> Option<JobNo> {
        let no = self.durable.job(attempt.key)?.no;
        self.live.get(&no).filter(|live| live.attempt == attempt).map(|live| live.no)
    }

    fn on_running(&mut self, no: JobNo, elapsed: SignedDuration, log: LogPart, turn: &mut Turn) {
        let Some(live) = self.live.get_mut(&no) else { return };
        let adopted = live.known == Known::Recovered;
        if live.known != Known::Running {
            live.log = log.clone();
            turn.report(Report::Runs { no, log, adopted });
        }
        if adopted {
            live.since = turn.now - elapsed;
            turn.report(Report::Adopted { no, elapsed });
        }
        live.known = Known::Running;
        self.board.stale = true;
    }

    fn on_ended(&mut self, no: JobNo, end: &End, turn: &mut Turn) {
        let Some(live) = self.take_live(no, end.survivors, turn) else { return };
        if end.survivors && live.stop.is_some() {
            // It was to end with all it started.
            turn.perform(Effect::Signal { attempt: live.attempt, signal: StopSignal::Kill });
        }
        let stopped = live.stop.map(|stop| match stop.why {
            Stopping::Cancel => Stopped::Cancelled,
            Stopping::Timeout => Stopped::TimedOut,
            Stopping::Shutdown => Stopped::Shutdown,
        });
        match policy::classify(end.exit, stopped, &end.tail) {
            Verdict::Success => self.finish(&live, Status::Ok, end, turn),
            Verdict::Failed => self.finish(&live, Status::Failed, end, turn),
            Verdict::TimedOut => self.finish(&live, Status::Timeout, end, turn),
            Verdict::Cancelled => self.finish(&live, Status::Cancelled, end, turn),
            Verdict::Interrupted => self.requeue_interrupted(&live, turn),
            Verdict::OutOfMemory(_) if self.ooms(&live) < live.retries => self.run_again_larger(&live, turn),
            Verdict::OutOfMemory(_) => self.finish(&live, Status::FailedOom, end, turn),
        }
    }

    fn on_lost(&mut self, no: JobNo, why: &str, turn: &mut Turn) {
        let Some(live) = self.take_live(no, false, turn) else { return };
        let elapsed = turn.now.duration_since(live.since);
        let status = match live.stop.map(|stop| stop.why) {
            // It was not left to finish, so it matters to nobody how it ended.
            Some(Stopping::Cancel) => Status::Cancelled,
            Some(Stopping::Timeout) => Status::Timeout,
            Some(Stopping::Shutdown) | None => Status::Lost,
        };
        self.journal_done(&live, status, None, None, turn);
        turn.report(Report::Finished(Ended {
            lost: (status == Status::Lost).then(|| why.to_owned()),
            ..ended(&live, status, None, elapsed)
        }));
    }

    /// The attempt did not run, or not to its end; the job waits again, unless
    /// nobody wants it any more.
    fn wait_again(&mut self, no: JobNo, turn: &mut Turn) {
        let Some(live) = self.take_live(no, false, turn) else { return };
        if live.stop.is_some_and(|stop| stop.why == Stopping::Cancel) {
            self.journal_done(&live, Status::Cancelled, None, None, turn);
            let elapsed = turn.now.duration_since(live.since);
            turn.report(Report::Finished(ended(&live, Status::Cancelled, None, elapsed)));
        } else {
            self.requeue_interrupted(&live, turn);
        }
    }

    fn requeue_interrupted(&mut self, live: &Live, turn: &mut Turn) {
        let AttemptId { key, attempt } = live.attempt;
        self.commit(Record::Interrupted { key, attempt }, turn);
        let by = match live.stop {
            Some(Stop { why: Stopping::Shutdown, .. }) if self.interrupted.is_some() => {
                Interruption::Shutdown
            }
            Some(Stop { why: Stopping::Shutdown, .. }) => Interruption::EarlierShutdown,
            Some(_) | None => Interruption::Crash,
        };
        turn.report(Report::Requeued { no: live.no, by });
        self.put_back(live);
    }

    fn run_again_larger(&mut self, live: &Live, turn: &mut Turn) {
        let NextVram { vram, alone } = match live.occupant.declared {
            // Once by itself on its GPUs, always so: there is nothing larger.
            None => NextVram { vram: live.declared, alone: true },
            Some(_) => policy::after_oom(
                live.declared,
                live.peak(),
                self.largest_for(live),
                self.config.rules.margin,
            ),
        };
        let AttemptId { key, attempt } = live.attempt;
        let ended = self.ooms(live) + 1;
        self.commit(Record::Oom { key, attempt, next_vram: vram, alone }, turn);
        turn.report(Report::OomRequeued {
            no: live.no,
            attempt: ended,
            attempts: live.retries + 1,
            old: live.declared,
            new: vram,
            alone,
            share: live.occupant.share,
        });
        self.put_back(live);
    }

    /// What each of as many GPUs as the job needs can have at most.
    fn largest_for(&self, live: &Live) -> Option<Mib> {
        let count = u16::try_from(live.gpus().len()).ok().and_then(NonZeroU16::new)?;
        self.node.largest_for(count, live.on)
    }

    /// How often the job ran out of GPU memory before.
    fn ooms(&self, live: &Live) -> u32 {
        self.durable.job(live.attempt.key).map_or(0, |job| job.past().ooms)
    }

    fn put_back(&mut self, live: &Live) {
        if let Some(line) = live.line {
            self.await_room(line as usize);
        }
        self.rest = Rest::Busy;
    }

    fn finish(&mut self, live: &Live, status: Status, end: &End, turn: &mut Turn) {
        let measured = live.declared.zip(live.peak()).filter(|_| status == Status::Ok);
        let assessment =
            measured.map(|(declared, peak)| policy::assess(declared, peak, self.config.tolerance));
        match assessment {
            Some(Assessment::Under(_)) => self.summary.under += 1,
            Some(Assessment::Over(_)) => self.summary.over += 1,
            Some(Assessment::Within) | None => {}
        }
        self.journal_done(live, status, Some(end.exit), assessment, turn);
        turn.report(Report::Finished(Ended {
            assessment,
            survivors: end.survivors,
            ..ended(live, status, Some(end.exit), end.elapsed)
        }));
    }

    fn journal_done(
        &mut self,
        live: &Live,
        status: Status,
        exit: Option<Exit>,
        assessment: Option<Assessment>,
        turn: &mut Turn,
    ) {
        self.commit(
            Record::Done {
                key: live.attempt.key,
                no: live.no,
                status,
                exit,
                peak_mib: live.occupant.peak.clone(),
                avg_util: live.utilization.get(),
                why: None,
            },
            turn,
        );
        self.mark_line(live.line, LineState::Done);
        let (no, command, peak) = (live.no, live.title.clone(), live.peak());
        self.remember_done(BoardDone { no, command, status, assessment, exit, why: None, peak });
    }

    /// Takes an attempt that is over off the books. What it may still hold is
    /// kept from others until it is seen to be free.
    fn take_live(&mut self, no: JobNo, survivors: bool, turn: &Turn) -> Option<Live> {
        let live = self.live.remove(&no)?;
        self.blocked.clear();
        self.board.stale = true;
        self.sampling.stirred_at = Some(turn.now);
        self.sampling.ended_meanwhile.insert(live.attempt);
        if survivors || live.stop.is_some_and(|stop| stop.killed) {
            let occupant = live.occupant.clone();
            self.lingering.push(Lingering { attempt: live.attempt, occupant, ended: turn.now });
        }
        Some(live)
    }

    pub(super) fn on_refused(&mut self, attempt: AttemptId, why: LaunchError, turn: &mut Turn) {
        let Some(no) = self.live_number(attempt) else { return };
        match &why {
            // It may have begun, or may still begin: have it ruled out.
            LaunchError::Used | LaunchError::NoKeeper(_) => {
                self.not_before = Some(turn.now + ASK_AGAIN);
                if let Some(live) = self.live.get_mut(&no) {
                    live.known = Known::Doubtful { ask_again: turn.now + ASK_AGAIN };
                }
                turn.perform(Effect::Void(attempt));
            }
            LaunchError::Spawn(why) => {
                self.on_launch_failed(no, why, turn);
                return;
            }
        }
        turn.report(Report::NotStarted { no, why });
    }

    /// The attempt has come to nothing: the job is tried again after a pause, or
    /// has failed where it was tried often enough.
    fn on_launch_failed(&mut self, no: JobNo, why: &str, turn: &mut Turn) {
        let Some(live) = self.take_live(no, false, turn) else { return };
        let AttemptId { key, attempt } = live.attempt;
        let attempts = self.durable.job(key).map_or(0, |job| job.past().not_started) + 1;
        let LaunchAttempts { most, pauses } = self.config.launch_attempts;
        let is_wanted = live.stop.is_none();
        let again_in = (is_wanted && attempts < most).then(|| pauses.delay(attempts));
        match again_in {
            Some(pause) => {
                self.commit(Record::NotStarted { key, attempt, why: why.to_owned() }, turn);
                if let Some(line) = live.line {
                    self.lines.defer(line as usize, turn.now + pause, why.to_owned());
                }
                self.rest = Rest::Busy;
            }
            None => self.give_up_starting(&live, why, turn),
        }
        turn.report(Report::CouldNotStart { no, why: why.to_owned(), attempts, most, again_in });
    }

    fn give_up_starting(&mut self, live: &Live, why: &str, turn: &mut Turn) {
        let status = if live.stop.is_some() { Status::Cancelled } else { Status::Failed };
        let (key, no, exit, peak_mib) = (live.attempt.key, live.no, None, BTreeMap::new());
        let reason = Some(why.to_owned());
        self.commit(
            Record::Done { key, no, status, exit, peak_mib, avg_util: None, why: reason.clone() },
            turn,
        );
        self.mark_line(live.line, LineState::Done);
        let (command, assessment, peak) = (live.title.clone(), None, None);
        self.remember_done(BoardDone { no, command, status, assessment, exit, why: reason, peak });
    }

    /// Asks again about attempts the host has not ruled out yet.
    pub(super) fn ask_about_doubtful(&mut self, turn: &mut Turn) {
        for live in self.live.values_mut() {
            if let Known::Doubtful { ask_again } = &mut live.known
                && *ask_again <= turn.now
            {
                *ask_again = turn.now + ASK_AGAIN;
                turn.perform(Effect::Void(live.attempt));
            }
        }
    }
}

fn ended(live: &Live, status: Status, exit: Option<Exit>, elapsed: SignedDuration) -> Ended {
    Ended {
        no: live.no,
        status,
        exit,
        elapsed,
        peak: live.occupant.peak.clone(),
        declared: live.declared,
        assessment: None,
        utilization: live.utilization.get(),
        survivors: false,
        lost: None,
    }
}
