//! The status board: what is shown, and how often.

use allocation::{Request, allocated};
use model::{GpuIndex, JobNo, SignedDuration, Timestamp};

use crate::queue::machine::{Queue, Turn};
use crate::queue::waiting::Rank;
use crate::queue::{Board, BoardDone, BoardGpu, BoardPending, BoardRunning, Effect};

/// At most one board in this time.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// While anything runs, at least one board in this time.
const AT_LEAST_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// Waiting jobs on the board, and as many that could not be started; the rest is
/// a count.
const PENDING_SHOWN: usize = 1000;

/// Finished jobs on the board; the rest is a count.
const DONE_SHOWN: usize = 1000;

impl Queue {
    pub(super) fn keep_board(&mut self, turn: &mut Turn) {
        if self.next_board_deadline().is_some_and(|at| at <= turn.now) {
            self.publish_board(turn);
        }
    }

    pub(super) fn next_board_deadline(&self) -> Option<Timestamp> {
        if !self.file_known {
            return None;
        }
        let Some(last) = self.board.last else { return Some(Timestamp::MIN) };
        if self.board.stale {
            Some(last + AT_MOST_EVERY)
        } else {
            (!self.live.is_empty()).then(|| last + AT_LEAST_EVERY)
        }
    }

    pub(super) fn publish_board(&mut self, turn: &mut Turn) {
        self.board.stale = false;
        self.board.last = Some(turn.now);
        turn.perform(Effect::PublishBoard(Box::new(self.make_board(turn.now))));
    }

    fn make_board(&self, now: Timestamp) -> Board {
        let pending = self.board_pending(now);
        let all_pending = self.lines.waiting.count() + self.lines.deferred.count();
        Board {
            at: now,
            running: self.board_running(now),
            gpus: self.board_gpus(),
            paused: self.durable.paused().iter().collect(),
            more_pending: all_pending.saturating_sub(pending.len()),
            pending,
            done: self.recent.iter().cloned().collect(),
            done_count: self.summary.jobs,
            queue_kept: self.kept_because.clone(),
            gpus_unknown: self.sampling.unknown.clone(),
        }
    }

    fn board_running(&self, now: Timestamp) -> Vec<BoardRunning> {
        let running = self.live.values().map(|live| BoardRunning {
            no: live.no,
            command: live.title.clone(),
            gpus: live.gpus().to_vec(),
            share: live.occupant.share,
            log: live.log.name.clone(),
            elapsed: now.duration_since(live.since),
            now: live.occupant.now.clone(),
            unseen: live.unseen,
            peak: live.peak(),
            stopping: live.stop.map(|stop| stop.why),
        });
        running.collect()
    }

    fn board_gpus(&self) -> Vec<BoardGpu> {
        let gpus = self.node.devices().map(|device| BoardGpu {
            index: device.index,
            allocated: allocated(device, self.occupants(), &self.config.rules),
            paused: self.node.is_paused(device.index),
            usable: device.usable,
            used: device.used,
            utilization: device.utilization,
            trouble: device.trouble.clone(),
        });
        gpus.collect()
    }

    fn board_pending(&self, now: Timestamp) -> Vec<BoardPending> {
        let shown = self.lines.waiting.first(PENDING_SHOWN);
        let pending = shown
            .into_iter()
            .map(|(rank, request)| self.pending(rank.index(), &request, self.why_waiting(rank, &request)));
        let deferred = self.lines.deferred.iter().take(PENDING_SHOWN).map(|deferral| {
            let line = deferral.line;
            let seconds = deferral.until.duration_since(now).as_secs().max(0);
            let why = format!("could not start: {}; next try in {seconds} s", deferral.why);
            self.pending(line, &self.request_of(line), Some(why))
        });
        pending.chain(deferred).collect()
    }

    fn pending(&self, line: usize, request: &Request, why: Option<String>) -> BoardPending {
        let no = self.lines.entry(line).no;
        let ooms = match self.durable.next_vram(no, || self.lines.key(line)) {
            Some(_) => self.durable.job(self.lines.key(line)).map_or(0, |job| job.past().ooms),
            None => 0,
        };
        BoardPending {
            no,
            command: self.lines.title(line),
            vram: request.vram,
            gpus: request.gpus,
            on: request.on,
            priority: self.lines.rank(line).priority,
            ooms,
            why,
        }
    }

    fn why_waiting(&self, rank: Rank, request: &Request) -> Option<String> {
        let why = self.blocked.get(request)?.to_string();
        let Some(kept) = self.fairness.kept() else { return Some(why) };
        let gpus_are_kept = are_kept(&kept.occupant.gpus);
        Some(match self.lines.entry(rank.index()).no {
            no if no == kept.no => format!("{gpus_are_kept} free for it; {why}"),
            _ if self.kept_before(rank).is_some() => {
                format!("{why} ({gpus_are_kept} free for job {})", kept.no)
            }
            _ => why,
        })
    }

    /// Counts a job that is over, and keeps it for the board.
    pub(super) fn remember_done(&mut self, done: BoardDone) {
        self.summary.jobs += 1;
        self.ended.insert(done.no, done.status);
        *self.summary.count_mut(done.status) += 1;
        if done.status.is_failure() {
            self.note_failure(done.no, done.status, done.exit, &done.command);
        }
        if self.recent.len() == DONE_SHOWN {
            self.recent.pop_front();
        }
        self.recent.push_back(done);
    }

    /// A job that was over is not over any more.
    pub(super) fn forget_done(&mut self, no: JobNo) {
        if let Some(status) = self.ended.remove(&no) {
            self.summary.jobs -= 1;
            *self.summary.count_mut(status) -= 1;
        } else {
            self.summary.earlier = self.summary.earlier.saturating_sub(1);
        }
        self.failures.remove(&no);
        self.summary.failures.retain(|(failed, ..)| *failed != no);
        self.recent.retain(|done| done.no != no);
    }
}

/// That these GPUs are kept, as the beginning of a sentence.
fn are_kept(gpus: &[GpuIndex]) -> String {
    let indices: Vec<String> = gpus.iter().map(ToString::to_string).collect();
    match indices.as_slice() {
        [one] => format!("GPU {one} is kept"),
        many => format!("GPUs {} are kept", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gpu_is_kept_and_several_are() {
        assert_eq!(are_kept(&[GpuIndex(1)]), "GPU 1 is kept");
        assert_eq!(are_kept(&[GpuIndex(0), GpuIndex(2)]), "GPUs 0, 2 are kept");
    }
}
