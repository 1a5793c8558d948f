//! The status board: what is shown, and how often.

use allocation::Request;
use model::{Exit, GpuIndex, JobNo, Mib, SignedDuration, Timestamp};

use crate::queue::machine::{Queue, Turn};
use crate::queue::{Assessment, Board, BoardDone, BoardPending, BoardRunning, Effect, Status};

/// At most one board in this time.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// While anything runs, at least one board in this time.
const AT_LEAST_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// Waiting jobs on the board; the rest is a count.
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
        let pending = self.board_pending();
        Board {
            at: now,
            running: self.board_running(now),
            more_pending: self.lines.count_waiting() - pending.len(),
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
            command: live.command.clone(),
            gpus: live.gpus().to_vec(),
            elapsed: now.duration_since(live.since),
            now: live.occupant.now.clone(),
            unseen: live.unseen,
            peak: live.peak(),
            stopping: live.stop.map(|stop| stop.why),
        });
        running.collect()
    }

    fn board_pending(&self) -> Vec<BoardPending> {
        let shown = self.lines.first_waiting(PENDING_SHOWN);
        let pending = shown.into_iter().map(|(line, request)| {
            let no = self.lines.entry(line).no;
            let ooms = match self.durable.next_vram(no, || self.lines.key(line)) {
                Some(_) => self.durable.job(self.lines.key(line)).map_or(0, |job| job.ooms),
                None => 0,
            };
            BoardPending {
                no,
                command: self.lines.file.command(line).to_owned(),
                vram: request.vram,
                gpus: request.gpus.get(),
                ooms,
                why: self.why_waiting(line, &request),
            }
        });
        pending.collect()
    }

    fn why_waiting(&self, line: usize, request: &Request) -> Option<String> {
        let why = self.blocked.get(request)?.to_string();
        let Some(kept) = self.fairness.kept() else { return Some(why) };
        let gpus_are_kept = are_kept(&kept.occupant.gpus);
        Some(match self.lines.entry(line).no {
            no if no == kept.no => format!("{gpus_are_kept} free for it; {why}"),
            _ if self.kept_before(line).is_some() => {
                format!("{why} ({gpus_are_kept} free for job {})", kept.no)
            }
            _ => why,
        })
    }

    /// Counts a job that is over, and keeps it for the board.
    pub(super) fn remember_done(
        &mut self,
        no: JobNo,
        command: String,
        status: Status,
        exit: Option<Exit>,
        peak: Option<Mib>,
        assessment: Option<Assessment>,
    ) {
        self.summary.jobs += 1;
        match status {
            Status::Ok => self.summary.ok += 1,
            Status::Cancelled => self.summary.cancelled += 1,
            Status::Failed | Status::FailedOom | Status::Timeout | Status::Infeasible | Status::Lost => {
                self.summary.failed += 1;
                self.note_failure(no, status, exit, &command);
            }
        }
        if self.recent.len() == DONE_SHOWN {
            self.recent.pop_front();
        }
        self.recent.push_back(BoardDone { no, command, status, assessment, exit, peak });
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
