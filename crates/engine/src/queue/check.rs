//! What must always hold. Asserted after every step.

use model::{AttemptId, JobNo};

use crate::queue::durable::Phase;
use crate::queue::lines::LineState;
use crate::queue::live::Live;
use crate::queue::machine::Queue;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// We look after an attempt that the journal does not know as begun.
    #[error("attempt {0} runs, but the journal does not say so")]
    Unjournalled(AttemptId),
    /// The journal knows an attempt as begun that nobody looks after.
    #[error("job {0} runs by the journal, but nobody looks after it")]
    Forgotten(JobNo),
    /// A job that runs also waits.
    #[error("job {0} both runs and waits")]
    RunsAndWaits(JobNo),
    /// A job without a declaration shares its GPU.
    #[error("job {0} declared nothing and shares a GPU")]
    NotAlone(JobNo),
}

impl Queue {
    /// What holds of the attempts that run, which are few.
    pub(super) fn audit_live(&self) -> Result<(), Violation> {
        for live in self.live.values() {
            let job = self.durable.job(live.attempt.key);
            let begun = job.is_some_and(|job| {
                matches!(job.phase, Phase::Running(_)) && job.attempts == live.attempt.attempt
            });
            if !begun {
                return Err(Violation::Unjournalled(live.attempt));
            }
            if let Some(line) = live.line
                && self.lines.entry(line as usize).state != LineState::Running
            {
                return Err(Violation::RunsAndWaits(live.no));
            }
        }
        self.undeclared_are_alone()
    }

    /// Who declared nothing is alone. (That declarations never add up to more
    /// than a GPU has is `allocation`'s to hold: what a GPU has is no constant.)
    fn undeclared_are_alone(&self) -> Result<(), Violation> {
        for live in self.live.values().filter(|live| live.occupant.is_alone()) {
            let shares = |other: &&Live| other.gpus().iter().any(|gpu| live.gpus().contains(gpu));
            if self.live.values().filter(shares).count() > 1 {
                return Err(Violation::NotAlone(live.no));
            }
        }
        Ok(())
    }

    /// All of it, the whole journalled state included.
    pub(super) fn audit(&self) -> Result<(), Violation> {
        self.audit_live()?;
        for (key, job) in self.durable.jobs() {
            let live = self.live.get(&job.no).is_some_and(|live| live.attempt == job.last_attempt(key));
            if matches!(job.phase, Phase::Running(_)) && !live {
                return Err(Violation::Forgotten(job.no));
            }
        }
        for (rank, request) in self.lines.waiting.first(usize::MAX) {
            let entry = self.lines.entry(rank.index());
            if entry.state != LineState::Waiting || !self.lines.waiting.contains(&request, rank) {
                return Err(Violation::RunsAndWaits(entry.no));
            }
        }
        Ok(())
    }
}
