//! The text of the status board.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use engine::queue::{Assessment, Board, BoardDone, BoardPending, BoardRunning, Status, Stopping};
use jiff::tz::TimeZone;
use model::{GpuIndex, GpuNeed, Mib};

use crate::report_text::{join, printable, shown, word};

/// No more waiting jobs than this are shown: nobody reads on.
const MOST_PENDING: usize = 1000;

/// The board as text, its times in this zone.
pub fn text(board: &Board, zone: &TimeZone) -> String {
    let shown_pending = &board.pending[..board.pending.len().min(MOST_PENDING)];
    let more_pending = board.pending.len() - shown_pending.len() + board.more_pending;
    let mut out = format!(
        "gpusched status @ {} — {} running, {} pending, {} done\n",
        zone.to_datetime(board.at).strftime("%H:%M:%S"),
        board.running.len(),
        shown_pending.len() + more_pending,
        board.done_count
    );
    if let Some(why) = &board.queue_kept {
        let _ = writeln!(out, "! jobs file unreadable, the previous queue is in force: {}", printable(why));
    }
    if let Some(why) = &board.gpus_unknown {
        let _ = writeln!(out, "! the GPUs cannot be read, so nothing new starts: {}", printable(why));
    }
    if !board.paused.is_empty() {
        let _ = writeln!(out, "! paused: gpu[{}]", join(&board.paused, ","));
    }
    for job in &board.running {
        running(&mut out, job);
    }
    for job in shown_pending {
        pending(&mut out, job);
    }
    if more_pending > 0 {
        let _ = writeln!(out, "… and {more_pending} more pending");
    }
    for job in &board.done {
        done(&mut out, job);
    }
    if let Some(more @ 1..) = board.done_count.checked_sub(board.done.len()) {
        let _ = writeln!(out, "… and {more} more done");
    }
    out
}

fn running(out: &mut String, job: &BoardRunning) {
    let part = job.share.map(|share| format!(" ({share})")).unwrap_or_default();
    let _ = write!(
        out,
        "▶ job {:<3} gpu[{}]{part} {:5.0}s  ",
        job.no.0,
        join(&job.gpus, ","),
        job.elapsed.as_secs_f64().floor()
    );
    if !job.now.is_empty() {
        let _ = write!(out, "{} MiB", per_gpu(&job.now));
    }
    out.push_str(match (job.now.is_empty(), job.unseen) {
        (false, false) => "",
        (false, true) => " and n/a",
        (true, true) => "n/a",
        (true, false) if job.peak.is_some() => "0 MiB",
        (true, false) => "no use seen yet",
    });
    if let Some(peak) = job.peak {
        let _ = write!(out, " (peak {})", peak.get());
    }
    out.push_str(match job.stopping {
        Some(Stopping::Cancel) => " (cancelling…)",
        Some(Stopping::Timeout) => " (timing out…)",
        Some(Stopping::Shutdown) => " (ending…)",
        None => "",
    });
    let _ = writeln!(out, " — {}", shown(&job.command));
}

fn pending(out: &mut String, job: &BoardPending) {
    let mark = if job.ooms > 0 { '↻' } else { '·' };
    let _ = write!(out, "{mark} job {:<3} pending", job.no.0);
    match (job.ooms, job.vram) {
        (0, Some(vram)) => {
            let _ = write!(out, " vram {}", vram.get());
        }
        (0, None) => {}
        (ooms, Some(vram)) => {
            let _ = write!(out, " retry {ooms}, vram→{}", vram.get());
        }
        (ooms, None) => {
            let _ = write!(out, " retry {ooms}");
        }
    }
    if job.gpus != GpuNeed::ONE {
        let _ = write!(out, " gpus {}", job.gpus);
    }
    if let Some(on) = job.on {
        let _ = write!(out, " on {on}");
    }
    if job.priority != 0 {
        let _ = write!(out, " priority {}", job.priority);
    }
    if let Some(why) = &job.why {
        let _ = write!(out, " ({})", printable(why));
    }
    let _ = writeln!(out, " — {}", shown(&job.command));
}

fn done(out: &mut String, job: &BoardDone) {
    let mark = match job.status {
        Status::Ok => '✓',
        Status::Cancelled => '⊘',
        Status::Failed | Status::FailedOom | Status::Timeout | Status::Infeasible | Status::Lost => '✗',
    };
    let verdict = match (job.status, job.assessment) {
        (Status::Ok, Some(Assessment::Under(_))) => "under",
        (Status::Ok, Some(Assessment::Over(_))) => "over",
        (status, _) => word(status),
    };
    let facts = [
        job.exit.map(|exit| format!("exit {exit}")),
        job.why.as_ref().map(|why| format!("could not start: {}", printable(why))),
        job.peak.map(|peak| format!("peak {peak}")),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    let _ = writeln!(out, "{mark} job {:<3} {verdict}{facts} — {}", job.no.0, shown(&job.command));
}

/// `gpu0:500, gpu1:7`.
fn per_gpu(amounts: &BTreeMap<GpuIndex, Mib>) -> String {
    let parts: Vec<String> =
        amounts.iter().map(|(gpu, amount)| format!("gpu{gpu}:{}", amount.get())).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use model::{Exit, JobNo, SignedDuration, Timestamp};

    use super::*;

    fn board() -> Board {
        Board {
            at: Timestamp::from_second(34_214).unwrap(),
            gpus: Vec::new(),
            paused: Vec::new(),
            running: Vec::new(),
            pending: Vec::new(),
            more_pending: 0,
            done: Vec::new(),
            done_count: 0,
            queue_kept: None,
            gpus_unknown: None,
        }
    }

    #[track_caller]
    fn check(board: &Board, expect: &str) {
        assert_eq!(text(board, &TimeZone::UTC), expect);
    }

    fn a_running(no: u32) -> BoardRunning {
        BoardRunning {
            no: JobNo(no),
            command: "train 1".to_owned(),
            gpus: vec![GpuIndex(0), GpuIndex(2)],
            share: None,
            log: "job001_gpu0-2.log".into(),
            elapsed: SignedDuration::from_millis(1900),
            now: [(GpuIndex(0), Mib::new(500)), (GpuIndex(2), Mib::new(7))].into(),
            unseen: false,
            peak: Some(Mib::new(600)),
            stopping: None,
        }
    }

    fn a_pending(no: u32) -> BoardPending {
        BoardPending {
            no: JobNo(no),
            command: "wait".to_owned(),
            vram: None,
            gpus: GpuNeed::ONE,
            on: None,
            priority: 0,
            ooms: 0,
            why: None,
        }
    }

    fn a_done(no: u32, status: Status) -> BoardDone {
        BoardDone {
            no: JobNo(no),
            command: "end".to_owned(),
            status,
            assessment: None,
            exit: Some(Exit::Code(0)),
            why: None,
            peak: Some(Mib::new(12_000)),
        }
    }

    #[test]
    fn an_empty_board() {
        check(&board(), "gpusched status @ 09:30:14 — 0 running, 0 pending, 0 done\n");
    }

    #[test]
    fn jobs_that_run() {
        let stopping = BoardRunning { stopping: Some(Stopping::Cancel), ..a_running(12) };
        let fresh =
            BoardRunning { now: BTreeMap::new(), peak: None, gpus: vec![GpuIndex(1)], ..a_running(3) };
        check(
            &Board { running: vec![a_running(1), stopping, fresh], ..board() },
            "gpusched status @ 09:30:14 — 3 running, 0 pending, 0 done\n\
             ▶ job 1   gpu[0,2]     1s  gpu0:500, gpu2:7 MiB (peak 600) — train 1\n\
             ▶ job 12  gpu[0,2]     1s  gpu0:500, gpu2:7 MiB (peak 600) (cancelling…) — train 1\n\
             ▶ job 3   gpu[1]     1s  no use seen yet — train 1\n",
        );
    }

    #[test]
    fn use_that_cannot_be_told_is_not_nothing() {
        let empty = BTreeMap::new;
        let partly = BoardRunning { unseen: true, ..a_running(1) };
        let hidden = BoardRunning { now: empty(), ..partly.clone() };
        let never_seen = BoardRunning { peak: None, ..hidden.clone() };
        let given_back = BoardRunning { now: empty(), ..a_running(4) };
        check(
            &Board { running: vec![partly, hidden, never_seen, given_back], ..board() },
            "gpusched status @ 09:30:14 — 4 running, 0 pending, 0 done\n\
             ▶ job 1   gpu[0,2]     1s  gpu0:500, gpu2:7 MiB and n/a (peak 600) — train 1\n\
             ▶ job 1   gpu[0,2]     1s  n/a (peak 600) — train 1\n\
             ▶ job 1   gpu[0,2]     1s  n/a — train 1\n\
             ▶ job 4   gpu[0,2]     1s  0 MiB (peak 600) — train 1\n",
        );
    }

    #[test]
    fn jobs_that_wait() {
        let declared =
            BoardPending { vram: Some(Mib::new(23_552)), gpus: GpuNeed::parse("2").unwrap(), ..a_pending(2) };
        let retried = BoardPending { vram: Some(Mib::new(2560)), ooms: 1, ..a_pending(3) };
        let told = BoardPending { why: Some("needs 1 idle GPU".to_owned()), ..a_pending(4) };
        check(
            &Board { pending: vec![declared, retried, told], more_pending: 5, ..board() },
            "gpusched status @ 09:30:14 — 0 running, 8 pending, 0 done\n\
             · job 2   pending vram 23552 gpus 2 — wait\n\
             ↻ job 3   pending retry 1, vram→2560 — wait\n\
             · job 4   pending (needs 1 idle GPU) — wait\n\
             … and 5 more pending\n",
        );
    }

    #[test]
    fn no_more_waiting_jobs_than_anyone_reads() {
        let board = Board { pending: (0..2000).map(a_pending).collect(), more_pending: 3, ..board() };
        let text = text(&board, &TimeZone::UTC);
        assert_eq!(text.lines().count(), 1 + MOST_PENDING + 1);
        assert!(text.ends_with("… and 1003 more pending\n"));
        assert!(text.contains(" 2003 pending,"));
    }

    #[test]
    fn jobs_that_ended() {
        let over = BoardDone { assessment: Some(Assessment::Over(-50)), ..a_done(1, Status::Ok) };
        let infeasible = BoardDone { exit: None, peak: None, ..a_done(3, Status::Infeasible) };
        let done = vec![over, a_done(2, Status::Cancelled), infeasible];
        check(
            &Board { done, done_count: 5, ..board() },
            "gpusched status @ 09:30:14 — 0 running, 0 pending, 5 done\n\
             ✓ job 1   over (exit 0, peak 12000 MiB) — end\n\
             ⊘ job 2   cancelled (exit 0, peak 12000 MiB) — end\n\
             ✗ job 3   infeasible — end\n\
             … and 2 more done\n",
        );
    }

    #[test]
    fn what_is_wrong() {
        let (queue_kept, gpus_unknown) = (Some("line 2: x".to_owned()), Some("no answer".to_owned()));
        check(
            &Board { queue_kept, gpus_unknown, ..board() },
            "gpusched status @ 09:30:14 — 0 running, 0 pending, 0 done\n\
             ! jobs file unreadable, the previous queue is in force: line 2: x\n\
             ! the GPUs cannot be read, so nothing new starts: no answer\n",
        );
    }
}
