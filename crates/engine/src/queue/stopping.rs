//! Ending jobs before their time: SIGTERM, a grace, SIGKILL.

use model::{AttemptId, JobNo, StopSignal, Timestamp};

use crate::queue::live::{Known, Live, Stop};
use crate::queue::machine::{Queue, Turn};
use crate::queue::{Effect, Record, Report, Stopping, Urgency};

impl Queue {
    pub(super) fn on_interrupt(&mut self, urgency: Urgency, turn: &mut Turn) {
        let urgency = match self.interrupted {
            // Whoever lives on now can't be reached or can't be killed, and need
            // not be waited for.
            Some(Urgency::Kill) if urgency == Urgency::Kill => Urgency::Leave,
            Some(before) if before >= urgency => return,
            Some(_) | None => urgency,
        };
        self.interrupted = Some(urgency);
        turn.report(Report::Interrupted { urgency, running: self.live.len() });
        let running: Vec<JobNo> = self.live.keys().copied().collect();
        for no in running {
            match urgency {
                Urgency::Leave => {}
                Urgency::Stop => {
                    self.stop(no, Stopping::Shutdown, turn);
                }
                Urgency::Kill => {
                    self.stop(no, Stopping::Shutdown, turn);
                    self.kill(no, turn);
                }
            }
        }
    }

    /// Ends a job that runs, for good: who asked for that need not ask again.
    pub(super) fn cancel_running(&mut self, no: JobNo, turn: &mut Turn) {
        if self.stop(no, Stopping::Cancel, turn) {
            turn.report(Report::Cancelling { no });
        }
    }

    /// Whether that is news: a job is stopped once.
    fn stop(&mut self, no: JobNo, why: Stopping, turn: &mut Turn) -> bool {
        let Some(live) = self.live.get_mut(&no) else { return false };
        match &mut live.stop {
            None => {
                live.stop = Some(Stop::after(self.config.grace, why, turn.now));
                turn.perform(Effect::Signal { attempt: live.attempt, signal: StopSignal::Term });
            }
            // The next scheduler was to run it again.
            Some(stop) if stop.why == Stopping::Shutdown && why == Stopping::Cancel => stop.why = why,
            Some(_) => return false,
        }
        let AttemptId { key, attempt } = live.attempt;
        self.commit(Record::Stopping { key, attempt, why }, turn);
        self.board.stale = true;
        true
    }

    fn kill(&mut self, no: JobNo, turn: &mut Turn) {
        let Some(live) = self.live.get_mut(&no) else { return };
        let Some(stop) = &mut live.stop else { return };
        if !stop.killed {
            turn.report(Report::Killing { no });
        }
        stop.killed = true;
        // It may take a while in the driver; it does no harm to say it again.
        stop.kill_at = turn.now + self.config.grace;
        turn.perform(Effect::Signal { attempt: live.attempt, signal: StopSignal::Kill });
    }

    /// Signals once more what is being stopped: a host that was asked anew may
    /// be another one, and what was on its way to the first is lost.
    pub(super) fn signal_again(&self, turn: &mut Turn) {
        for live in self.live.values() {
            if let Some(stop) = live.stop {
                let signal = if stop.killed { StopSignal::Kill } else { StopSignal::Term };
                turn.perform(Effect::Signal { attempt: live.attempt, signal });
            }
        }
    }

    /// What is due because time has passed.
    pub(super) fn on_time(&mut self, turn: &mut Turn) {
        self.not_before = self.not_before.filter(|at| *at > turn.now);
        self.ask_about_doubtful(turn);
        for line in self.lines.deferred.take_due(turn.now) {
            self.await_room(line);
        }
        let due: Vec<(JobNo, bool)> = self
            .live
            .values()
            .filter(|live| stop_deadline(live).is_some_and(|at| at <= turn.now))
            .map(|live| (live.no, live.stop.is_some()))
            .collect();
        for (no, stopping) in due {
            if stopping { self.kill(no, turn) } else { self.time_out(no, turn) }
        }
    }

    fn time_out(&mut self, no: JobNo, turn: &mut Turn) {
        let Some((since, limit)) = self.live.get(&no).and_then(|live| Some((live.since, live.timeout?)))
        else {
            return;
        };
        turn.report(Report::TimedOut { no, after: turn.now.duration_since(since), limit });
        self.stop(no, Stopping::Timeout, turn);
    }

    pub(super) fn next_stop_deadline(&self) -> Option<Timestamp> {
        let doubts = self.live.values().filter_map(|live| match live.known {
            Known::Doubtful { ask_again } => Some(ask_again),
            Known::Launched | Known::Recovered | Known::Running => None,
        });
        self.live.values().filter_map(stop_deadline).chain(doubts).min()
    }
}

/// When a job is to be stopped, or killed if it is being stopped.
fn stop_deadline(live: &Live) -> Option<Timestamp> {
    match (live.stop, live.timeout) {
        (Some(stop), _) => Some(stop.kill_at),
        (None, Some(timeout)) => Some(live.since + timeout),
        (None, None) => None,
    }
}
