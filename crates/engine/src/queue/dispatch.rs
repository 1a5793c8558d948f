//! Starting jobs: by priority and file order, and smaller jobs around one that
//! must wait.

use std::collections::BTreeSet;

use allocation::{Infeasible, Occupant, Placement, Request};
use jobspec::CudaIds;
use model::{AttemptId, GpuIndex, Launch, Timestamp};

use crate::queue::lines::{LineState, index};
use crate::queue::live::{Known, Live};
use crate::queue::machine::{Queue, Turn};
use crate::queue::waiting::Rank;
use crate::queue::{Begun, Effect, Record, Report, Status};

impl Queue {
    /// Starts every waiting job there is room for now.
    pub(super) fn dispatch(&mut self, turn: &mut Turn) {
        if !self.may_dispatch(turn.now) {
            return;
        }
        self.review_reservation(turn);
        // Equal needs have equal answers until something starts, so only the
        // first line of each kind is tried, in the order of their turns.
        let mut stuck: BTreeSet<Request> = self.blocked.keys().copied().collect();
        while let Some((request, rank)) = self
            .lines
            .waiting
            .heads()
            .filter(|(request, _)| !stuck.contains(request))
            .min_by_key(|(_, rank)| *rank)
        {
            let line = rank.index();
            match self.place(&request, rank) {
                Placement::Now(gpus) => {
                    self.start(&request, line, gpus, turn);
                    if self.fairness.started(&request) {
                        // What was kept for it may be free for others now.
                        stuck.clear();
                        self.blocked.clear();
                    }
                    self.note_overtaking(rank);
                    self.review_reservation(turn);
                }
                Placement::Never(why) => self.give_up(&request, line, why, turn),
                Placement::Wait(shortfall) => {
                    stuck.insert(request);
                    self.blocked.insert(request, shortfall);
                    self.fairness.waits(&request, self.lines.entry(line).no, turn.now);
                    self.review_reservation(turn);
                }
            }
        }
    }

    fn may_dispatch(&self, now: Timestamp) -> bool {
        self.surveyed
            && self.file_known
            && self.interrupted.is_none()
            && self.not_before.is_none()
            && !self.lines.waiting.is_empty()
            && self.gpus_are_known(now)
    }

    /// Where a line can run: behind a line that GPUs are kept for, only beside it.
    fn place(&self, request: &Request, rank: Rank) -> Placement {
        let kept = self.kept_before(rank);
        allocation::place(request, &self.node, self.occupants().chain(kept), &self.config.rules)
    }

    /// Everything that holds GPU memory for us.
    pub(super) fn occupants(&self) -> impl Iterator<Item = &Occupant> + Clone {
        let live = self.live.values().map(|live| &live.occupant);
        live.chain(self.lingering.iter().map(|lingering| &lingering.occupant))
    }

    fn start(&mut self, request: &Request, line: usize, gpus: Vec<GpuIndex>, turn: &mut Turn) {
        let (key, no) = (self.lines.key(line), self.lines.entry(line).no);
        let attempt = key.attempt(self.durable.job(key).map_or(0, |job| job.attempts) + 1);
        let begun = Begun {
            gpus: gpus.clone(),
            declared: request.vram,
            share: request.gpus.part().filter(|_| !request.alone),
            command: self.lines.file.command(line).to_owned(),
            stopping: None,
        };
        let launch = self.launch(attempt, line, &gpus);
        self.lines.take_waiting(request, line);
        self.lines.set_state(line, LineState::Running);
        self.lines.set_journalled(line);
        let Begun { declared, share, command, .. } = begun.clone();
        let record = Record::Started {
            key,
            no,
            attempt: attempt.attempt,
            gpus: gpus.clone(),
            declared,
            share,
            command,
        };
        self.commit(record, turn);
        let mut live = Live::new(attempt, no, begun, request.alone, Known::Launched, turn.now);
        self.learn_from_line(&mut live, line);
        let title = live.title.clone();
        self.live.insert(no, live);
        self.sampling.stirred_at = Some(turn.now);
        turn.perform(Effect::Launch(launch));
        turn.report(Report::Started {
            no,
            gpus,
            dispatched: self.summary.jobs + self.live.len(),
            total: self.lines.len(),
            declared,
            share,
            command: title,
        });
    }

    fn launch(&self, attempt: AttemptId, line: usize, gpus: &[GpuIndex]) -> Launch {
        let attributes = self.lines.file.attributes(line);
        let ids = attributes.cuda.map(|ids| if ids == CudaIds::Index { self.config.cuda_ids } else { ids });
        let devices = gpus.iter().filter_map(|gpu| Some((*gpu, self.node.device(*gpu)?.uuid.clone())));
        Launch {
            attempt,
            no: self.lines.entry(line).no,
            command: jobspec::with_gpus(self.lines.file.command(line), ids, gpus),
            gpus: devices.collect(),
            setting: attributes.setting.clone(),
        }
    }

    /// Takes over what the line of a running job says about it.
    pub(super) fn learn_from_line(&self, live: &mut Live, line: usize) {
        let attributes = self.lines.file.attributes(line);
        live.line = Some(index(line));
        live.title = self.lines.title(line);
        live.timeout = attributes.timeout;
        live.retries = attributes.retries.unwrap_or(self.config.oom_retries);
        live.on = attributes.on;
    }

    fn give_up(&mut self, request: &Request, line: usize, why: Infeasible, turn: &mut Turn) {
        self.lines.take_waiting(request, line);
        self.finish_unstarted(line, Status::Infeasible, turn);
        let (no, command) = (self.lines.entry(line).no, self.lines.title(line));
        turn.report(Report::Infeasible { no, why, command });
    }
}
