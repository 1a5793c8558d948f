//! No line waits for ever: smaller jobs may go around a blocked one only so
//! often, and then GPUs are kept free for it.

use std::collections::BTreeMap;

use allocation::{Occupant, Request, keep_free, reserve};
use model::{JobNo, Timestamp};

use crate::queue::Report;
use crate::queue::machine::{Patience, Queue, Turn};
use crate::queue::waiting::Rank;

/// Who has been passed over, and what is kept for whom.
///
/// Only the first waiting line of each kind of need is looked at: those behind
/// it need the same and wait for it first.
#[derive(Debug, Clone, Default)]
pub(super) struct Fairness {
    waiting: BTreeMap<Request, Waiting>,
    kept: Option<Kept>,
}

/// The first line of its kind of need, and what it had to put up with.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    no: JobNo,
    /// Later lines that were started meanwhile.
    overtakings: u32,
    since: Timestamp,
}

/// GPUs that are kept free for a line.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) no: JobNo,
    request: Request,
    /// What stands for it in placement.
    pub(super) occupant: Occupant,
}

impl Fairness {
    /// The reservation that is in force.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// A line was found not to fit now.
    pub(super) fn waits(&mut self, request: &Request, no: JobNo, now: Timestamp) {
        let fresh = Waiting { no, overtakings: 0, since: now };
        let waiting = self.waiting.entry(*request).or_insert(fresh);
        if waiting.no != no {
            *waiting = fresh;
        }
    }

    /// The first line of this need was started. Tells whether GPUs had been kept
    /// for it.
    pub(super) fn started(&mut self, request: &Request) -> bool {
        self.waiting.remove(request);
        self.kept.take_if(|kept| kept.request == *request).is_some()
    }
}

impl Waiting {
    fn is_overdue(self, patience: Patience, now: Timestamp) -> bool {
        self.overtakings >= patience.overtakings
            || (self.overtakings > 0 && now.duration_since(self.since) >= patience.time)
    }
}

impl Queue {
    /// A line was started: those before it that could not be were overtaken.
    pub(super) fn note_overtaking(&mut self, rank: Rank) {
        let Self { fairness, lines, .. } = self;
        for (request, waiting) in &mut fairness.waiting {
            let head = lines.waiting.head(request).filter(|head| lines.entry(head.index()).no == waiting.no);
            waiting.overtakings += u32::from(head.is_some_and(|head| head < rank));
        }
    }

    /// The reservation that a line has to respect.
    pub(super) fn kept_before(&self, rank: Rank) -> Option<&Occupant> {
        let kept = self.fairness.kept()?;
        (self.lines.waiting.head(&kept.request)? < rank).then_some(&kept.occupant)
    }

    /// Keeps GPUs free for the first line in turn that has waited long enough,
    /// if that can help it.
    pub(super) fn review_reservation(&mut self, turn: &mut Turn) {
        let before = self.fairness.kept.take();
        let mut waiting: Vec<(Rank, Request, Waiting)> = self
            .fairness
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.is_overdue(self.config.patience, turn.now))
            .filter_map(|(request, waiting)| Some((self.lines.waiting.head(request)?, *request, *waiting)))
            .filter(|(rank, _, waiting)| self.lines.entry(rank.index()).no == waiting.no)
            .collect();
        waiting.sort_unstable_by_key(|(rank, ..)| *rank);
        for (_, request, waiting) in waiting {
            let same = before.as_ref().filter(|before| before.no == waiting.no);
            if let Some(occupant) = self.keep_for(&request, same) {
                if same.is_none() {
                    turn.report(Report::Reserved {
                        no: waiting.no,
                        gpus: occupant.gpus.clone(),
                        overtakings: waiting.overtakings,
                        waited: turn.now.duration_since(waiting.since),
                    });
                }
                self.fairness.kept = Some(Kept { no: waiting.no, request, occupant });
                return;
            }
        }
    }

    /// GPUs for a line, those it had `before` first.
    fn keep_for(&self, request: &Request, before: Option<&Kept>) -> Option<Occupant> {
        let kept = before.map_or(&[][..], |before| &before.occupant.gpus);
        let gpus = reserve(request, &self.node, self.occupants(), &self.config.rules, kept)?;
        Some(keep_free(request, gpus, &self.config.rules))
    }
}
