//! What the keeper does about jobs in sessions.

use engine::keeper::KeeperRecord;
use model::{AttemptId, Exit, StopSignal};

use crate::keeper::seats::Sight;
use crate::keeper::serve::Keeper;
use crate::keeper::stop::Stop;
use crate::proc::{self, Process};
use crate::seat::files::End;

impl Keeper {
    /// Looks at the jobs in sessions, and takes in and tells what has become of
    /// them.
    pub(super) fn look_at_seats(&mut self) {
        let room = self.jobs.room();
        let (mut records, mut told, mut owed) = (Vec::new(), Vec::new(), Vec::new());
        for (attempt, sight) in self.jobs.seats.look(room) {
            match sight {
                Sight::Began(signal) => {
                    owed.extend(signal.map(|signal| (attempt, signal)));
                    told.push(attempt);
                }
                Sight::Lost => {
                    self.jobs.settle_seat(attempt, &self.mark);
                    told.push(attempt);
                }
                over @ (Sight::Ended(_) | Sight::NeverBegan { .. } | Sight::Abandoned) => {
                    records.push((attempt, self.end_of(attempt, over)));
                }
            }
        }
        if !records.is_empty() {
            self.record(records);
        }
        for attempt in told {
            self.tell_all(attempt);
        }
        if !owed.is_empty() {
            self.signal(&owed);
        }
    }

    /// How an attempt that is over is to be remembered.
    fn end_of(&mut self, attempt: AttemptId, sight: Sight) -> KeeperRecord {
        if matches!(sight, Sight::Abandoned) {
            // Nobody waits for it any more, and nobody would know how it ends.
            self.signal(&[(attempt, StopSignal::Kill)]);
        } else if matches!(sight, Sight::NeverBegan { .. }) {
            self.dismiss(attempt);
        }
        let began = self.jobs.seats.job(attempt);
        let survivors = self.jobs.settle_seat(attempt, &self.mark);
        match sight {
            Sight::Ended(End::Ended { exit, elapsed_ms }) => {
                KeeperRecord::Ended { attempt, exit, elapsed_ms, survivors }
            }
            Sight::Ended(End::Failed(why)) => KeeperRecord::Failed { attempt, why },
            Sight::NeverBegan { kind: None, .. } => KeeperRecord::Voided { attempt },
            Sight::NeverBegan { why, kind: Some(kind) } => {
                let why = format!("{} could not start the session: {why}", kind.program());
                KeeperRecord::Failed { attempt, why }
            }
            Sight::Abandoned | Sight::Lost | Sight::Began(_) => {
                let age = began.and_then(|job| Process::age(job.start_time)).unwrap_or_default();
                let elapsed_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                KeeperRecord::Ended { attempt, exit: killed(StopSignal::Kill), elapsed_ms, survivors }
            }
        }
    }

    /// Takes jobs off a list of those to be signalled that have not begun, and
    /// now never will.
    pub(super) fn stop_unseated(&mut self, stops: &mut Vec<Stop>) {
        let mut records = Vec::new();
        stops.retain(|(attempt, signal)| {
            let unseated = self.jobs.seats.stop(*attempt, *signal);
            if unseated {
                self.dismiss(*attempt);
                let survivors = self.jobs.settle_seat(*attempt, &self.mark);
                let (attempt, exit) = (*attempt, killed(*signal));
                records.push((attempt, KeeperRecord::Ended { attempt, exit, elapsed_ms: 0, survivors }));
            }
            !unseated
        });
        if !records.is_empty() {
            self.record(records);
        }
    }

    /// Ends what was to hold a session in which nothing will be started.
    fn dismiss(&self, attempt: AttemptId) {
        if let Some(holder) = self.jobs.seats.holder(attempt) {
            holder.signal(StopSignal::Term);
        }
    }

    /// Clears away what is left of jobs in sessions whose ends are in the log.
    pub(super) fn clear_seats(&mut self) {
        if !self.log.is_behind() {
            self.jobs.seats.clear();
        }
    }
}

/// As a job ends that does nothing about a signal.
fn killed(signal: StopSignal) -> Exit {
    u8::try_from(proc::number_of(signal).as_raw()).map_or(Exit::Code(u8::MAX), Exit::Signal)
}
