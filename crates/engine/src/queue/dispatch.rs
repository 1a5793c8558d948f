//! Starting jobs: file order, and smaller jobs around one that must wait.

use std::collections::BTreeSet;

use allocation::{Infeasible, Occupant, Placement, Request};
use model::{GpuIndex, Launch, Timestamp};

use crate::queue::lines::{LineState, index};
use crate::queue::live::{Known, Live};
use crate::queue::machine::{Queue, Turn};
use crate::queue::{Begun, Effect, Record, Report, Status};

impl Queue {
    /// Starts every waiting job there is room for now.
    pub(super) fn dispatch(&mut self, turn: &mut Turn) {
        if !self.may_dispatch(turn.now) {
            return;
        }
        self.review_reservation(turn);
        // Equal needs have equal answers until something starts, so only the
        // first line of each kind is tried, in file order.
        let mut stuck: BTreeSet<Request> = self.blocked.keys().copied().collect();
        while let Some((request, line)) =
            self.lines.heads().filter(|(request, _)| !stuck.contains(request)).min_by_key(|(_, line)| *line)
        {
            match self.place(&request, line) {
                Placement::Now(gpus) => {
                    self.start(&request, line, gpus, turn);
                    if self.fairness.started(&request) {
                        // What was kept for it may be free for others now.
                        stuck.clear();
                        self.blocked.clear();
                    }
                    self.note_overtaking(line);
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
            && self.lines.any_waiting()
            && self.gpus_are_known(now)
    }

    /// Where a line can run: behind a line that GPUs are kept for, only beside it.
    fn place(&self, request: &Request, line: usize) -> Placement {
        let kept = self.kept_before(line);
        allocation::place(request, &self.node, self.occupants().chain(kept), &self.config.rules)
    }

    /// Everything that holds GPU memory for us.
    pub(super) fn occupants(&self) -> impl Iterator<Item = &Occupant> + Clone {
        let live = self.live.values().map(|live| &live.occupant);
        live.chain(self.lingering.iter().map(|lingering| &lingering.occupant))
    }

    fn start(&mut self, request: &Request, line: usize, gpus: Vec<GpuIndex>, turn: &mut Turn) {
        let (key, no) = (self.lines.key(line), self.lines.entry(line).no);
        let attributes = self.lines.file.attributes(line).clone();
        let command = self.lines.file.command(line).to_owned();
        let attempt = key.attempt(self.durable.job(key).map_or(0, |job| job.attempts) + 1);
        let devices = gpus.iter().filter_map(|gpu| Some((*gpu, self.node.device(*gpu)?.uuid.clone())));
        let launch = Launch {
            attempt,
            no,
            command: command.clone(),
            gpus: devices.collect(),
            setting: attributes.setting,
        };
        self.lines.pop_waiting(request);
        self.lines.set_state(line, LineState::Running);
        self.lines.set_journalled(line);
        self.commit(
            Record::Started {
                key,
                no,
                attempt: attempt.attempt,
                gpus: gpus.clone(),
                declared: request.vram,
                command: command.clone(),
            },
            turn,
        );
        let begun = Begun { gpus: gpus.clone(), declared: request.vram, command: command.clone() };
        let live = Live {
            line: Some(index(line)),
            timeout: attributes.timeout,
            retries: attributes.retries.unwrap_or(self.config.oom_retries),
            ..Live::new(attempt, no, begun, request.alone, Known::Launched, turn.now)
        };
        self.live.insert(no, live);
        self.sampling.stirred_at = Some(turn.now);
        turn.perform(Effect::Launch(launch));
        turn.report(Report::Started {
            no,
            gpus,
            dispatched: self.summary.jobs + self.live.len(),
            total: self.lines.len(),
            declared: request.vram,
            command,
        });
    }

    fn give_up(&mut self, request: &Request, line: usize, why: Infeasible, turn: &mut Turn) {
        self.lines.pop_waiting(request);
        self.finish_unstarted(line, Status::Infeasible, turn);
        let (no, command) = (self.lines.entry(line).no, self.lines.file.command(line).to_owned());
        turn.report(Report::Infeasible { no, why, command });
    }
}
