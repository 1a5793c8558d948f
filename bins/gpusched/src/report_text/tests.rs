//! The exact text of every report.

use allocation::Infeasible;

use super::*;

fn words() -> Words {
    Words {
        poll: SignedDuration::from_secs(5),
        board: "logs/status.txt".to_owned(),
        tolerance: Ratio::new(0.1).unwrap(),
        gpus_chosen: false,
    }
}

#[track_caller]
fn check(report: &Report, expect: &str) {
    assert_eq!(words().lines(report).join("\n"), expect);
}

fn usage(pairs: &[(u16, u32)]) -> BTreeMap<GpuIndex, Mib> {
    pairs.iter().map(|(gpu, mib)| (GpuIndex(*gpu), Mib::new(*mib))).collect()
}

const NO: JobNo = JobNo(7);

fn ended() -> Ended {
    Ended {
        no: NO,
        status: Status::Ok,
        exit: Some(Exit::Code(0)),
        elapsed: SignedDuration::from_millis(1_773_600),
        peak: usage(&[(0, 17_910)]),
        declared: Some(Mib::new(18_432)),
        assessment: Some(Assessment::Within),
        utilization: Some(95.6),
        survivors: false,
        lost: None,
    }
}

#[test]
fn the_start() {
    check(
        &Report::Queued { jobs: 3, done: 0 },
        "3 jobs queued [live queue (file re-read when it changes)] (poll every 5s; status board: logs/status.txt)",
    );
    check(
        &Report::Queued { jobs: 3, done: 2 },
        "3 jobs queued [live queue (file re-read when it changes)] (poll every 5s; status board: logs/status.txt)\n\
         2 of them ended in an earlier run and are not run again",
    );
    let usable = vec![GpuIndex(0), GpuIndex(1)];
    check(&Report::Gpus { usable: usable.clone() }, "discovered GPUs: [0, 1]");
    let chosen = Words { gpus_chosen: true, ..words() };
    assert_eq!(chosen.lines(&Report::Gpus { usable }), ["using GPUs: [0, 1]"]);
}

#[test]
fn a_job_starts() {
    let started = |declared| Report::Started {
        no: NO,
        gpus: vec![GpuIndex(0), GpuIndex(1)],
        dispatched: 1,
        total: 3,
        declared,
        share: None,
        command: "echo a".to_owned(),
    };
    check(
        &started(Some(Mib::new(18_432))),
        "job 7 started on gpu [0,1] (1/3 dispatched, declared 18432 MiB/gpu) — echo a",
    );
    check(
        &started(None),
        "job 7 started on gpu [0,1] (1/3 dispatched, undeclared (exclusive idle GPU)) — echo a",
    );
    check(
        &Report::NotStarted { no: NO, why: LaunchError::Spawn("argument list too long".to_owned()) },
        "WARN  job 7 was not started — argument list too long",
    );
    check(
        &Report::NotStarted { no: NO, why: LaunchError::NoKeeper("it is gone".to_owned()) },
        "WARN  job 7 was not started — the keeper does not answer: it is gone; trying again",
    );
    check(
        &Report::NotStarted { no: NO, why: LaunchError::Used },
        "WARN  job 7 was not started — it may have been started before; asking the keeper",
    );
}

#[test]
fn a_job_that_could_not_be_started() {
    let failed = |attempts, most, again_in| Report::CouldNotStart {
        no: NO,
        why: "the script 'x.py' is not there".to_owned(),
        attempts,
        most,
        again_in,
    };
    check(
        &failed(1, 1, None),
        "WARN  job 7 was not started — the script 'x.py' is not there; marking failed",
    );
    check(
        &failed(2, 5, Some(SignedDuration::from_secs(10))),
        "WARN  job 7 could not start (attempt 2/5): the script 'x.py' is not there — trying again in 10s",
    );
    check(
        &failed(5, 5, None),
        "WARN  job 7 was not started, 5 times — the script 'x.py' is not there; marking failed \
         (gpusched retry 7 tries again)",
    );
}

#[test]
fn parts_and_pauses() {
    let half = model::Share::new(0.5);
    let part = |declared| Report::Started {
        no: NO,
        gpus: vec![GpuIndex(0)],
        dispatched: 1,
        total: 3,
        declared,
        share: half,
        command: "bert: python a.py".to_owned(),
    };
    check(&part(None), "job 7 started on gpu [0] (1/3 dispatched, 0.5 of it) — bert: python a.py");
    check(
        &part(Some(Mib::new(8192))),
        "job 7 started on gpu [0] (1/3 dispatched, 0.5 of it, declared 8192 MiB) — bert: python a.py",
    );
    check(
        &Report::Paused { gpu: GpuIndex(1) },
        "gpu 1 is paused: it takes no new jobs, and those on it run on",
    );
    check(
        &Report::StateUnknownGpus { unknown: vec![7, 9] },
        "WARN  the state file pauses GPUs that there are not: 7, 9",
    );
}

#[test]
fn a_job_uses_memory() {
    check(
        &Report::Usage { no: NO, now: usage(&[(0, 500), (1, 7)]), peak: Mib::new(812) },
        "job 7 vram now gpu0:500 MiB, gpu1:7 MiB (peak 812 MiB)",
    );
    check(
        &Report::Exceeds { no: NO, gpu: GpuIndex(0), peak: Mib::new(15_210), declared: Mib::new(12_288) },
        "WARN  job 7 EXCEEDS declared VRAM: 15210 MiB observed on gpu 0 vs 12288 MiB declared (+24%) \
         — neighbors may OOM",
    );
}

#[test]
fn a_job_succeeds() {
    let finished = |assessment| Report::Finished(Ended { assessment, ..ended() });
    let start = "job 7 finished [OK] in 1774s — peak vram gpu0:17910 MiB";
    check(
        &finished(Some(Assessment::Within)),
        &format!("{start} | declared 18432 MiB → within ±10% | avg gpu util 96%"),
    );
    check(
        &finished(Some(Assessment::Under(12))),
        &format!("{start} | declared 18432 MiB → UNDER-DECLARED (+12%); raise it | avg gpu util 96%"),
    );
    check(
        &finished(Some(Assessment::Over(-59))),
        &format!(
            "{start} | declared 18432 MiB → over-declared (-59%); lowering it frees packing headroom \
             | avg gpu util 96%"
        ),
    );
    check(
        &Report::Finished(Ended { peak: usage(&[]), assessment: None, utilization: None, ..ended() }),
        "job 7 finished [OK] in 1774s — peak vram n/a (never seen on its GPU — see README caveats)",
    );
}

#[test]
fn a_job_ends_otherwise() {
    let finished = |status, exit| {
        let ended = Ended { status, exit, assessment: None, utilization: None, ..ended() };
        Report::Finished(Ended {
            elapsed: SignedDuration::from_secs(3),
            peak: usage(&[(0, 5), (1, 6)]),
            ..ended
        })
    };
    let tail = "in 3s — peak vram gpu0:5 MiB, gpu1:6 MiB";
    let code = |code| Some(Exit::Code(code));
    check(&finished(Status::Failed, code(3)), &format!("job 7 finished [EXIT 3] {tail}"));
    check(&finished(Status::Failed, Some(Exit::Signal(9))), &format!("job 7 finished [EXIT -9] {tail}"));
    check(
        &finished(Status::FailedOom, code(1)),
        &format!("job 7 finished [OOM (exit 1, retries exhausted)] {tail}"),
    );
    check(&finished(Status::Timeout, Some(Exit::Signal(15))), &format!("job 7 finished [TIMEOUT] {tail}"));
    check(&finished(Status::Cancelled, code(0)), &format!("job 7 finished [CANCELLED] {tail}"));
    check(&finished(Status::Infeasible, None), &format!("job 7 finished [INFEASIBLE] {tail}"));
}

#[test]
fn a_job_ends_with_a_warning() {
    let lost = Ended { status: Status::Lost, exit: None, assessment: None, utilization: None, ..ended() };
    check(
        &Report::Finished(Ended { lost: Some("its keeper was killed".to_owned()), ..lost }),
        "job 7 finished [LOST] in 1774s — peak vram gpu0:17910 MiB\n\
         WARN  job 7 is LOST — its keeper was killed; it is not run again (--retry-failed does)",
    );
    check(
        &Report::Finished(Ended { survivors: true, assessment: None, utilization: None, ..ended() }),
        "job 7 finished [OK] in 1774s — peak vram gpu0:17910 MiB\n\
         WARN  job 7 left processes behind — their memory counts as used until they end",
    );
}

#[test]
fn out_of_gpu_memory() {
    let oom = |old, new, alone| Report::OomRequeued {
        no: NO,
        attempt: 1,
        attempts: 3,
        old,
        new,
        alone,
        share: None,
    };
    let start = "↻ job 7 hit CUDA OOM (attempt 1/3) — requeued";
    check(
        &oom(Some(Mib::new(2048)), Some(Mib::new(2560)), false),
        &format!("{start} with vram 2048 → 2560 MiB"),
    );
    check(
        &oom(Some(Mib::new(20_480)), Some(Mib::new(24_000)), true),
        &format!("{start} with vram 20480 → 24000 MiB, alone on its GPU"),
    );
    check(&oom(None, Some(Mib::new(6250)), false), &format!("{start} with vram n/a → 6250 MiB"));
    check(&oom(None, None, true), start);
}

#[test]
fn stopped_and_infeasible() {
    let why = Infeasible::TooFewGpus { needed: 3, usable: 2 };
    check(
        &Report::Infeasible { no: NO, why, command: "echo a".to_owned() },
        "WARN  job 7 INFEASIBLE — needs 3 GPUs but only 2 are usable; marking failed: echo a",
    );
    let (after, limit) = (SignedDuration::from_millis(1520), SignedDuration::from_millis(1500));
    check(&Report::TimedOut { no: NO, after, limit }, "WARN  job 7 TIMEOUT after 2s (limit 1.5s) — SIGTERM");
    check(&Report::Cancelling { no: NO }, "WARN  job 7 CANCELLED by user — SIGTERM to its process group");
    check(&Report::Killing { no: NO }, "WARN  job 7 did not exit after SIGTERM — SIGKILL");
    check(
        &Report::CancelledPending { no: NO, command: "echo a".to_owned() },
        "job 7 cancelled before start: echo a",
    );
}

#[test]
fn earlier_runs() {
    let done = |status| Report::AlreadyDone { no: NO, status, command: "echo a".to_owned() };
    check(&done(Status::Ok), "job 7 already completed ok — skipping (journal): echo a");
    check(&done(Status::Cancelled), "job 7 was cancelled in an earlier run — skipping (journal): echo a");
    for (status, what) in [
        (Status::Failed, "already failed"),
        (Status::FailedOom, "already failed (out of GPU memory)"),
        (Status::Timeout, "already timed out"),
        (Status::Infeasible, "was infeasible"),
        (Status::Lost, "was lost"),
    ] {
        let rest = "in an earlier run — skipping (journal; --retry-failed runs it again): echo a";
        check(&done(status), &format!("job 7 {what} {rest}"));
    }
    check(
        &Report::Adopted { no: NO, elapsed: SignedDuration::from_secs(90) },
        "job 7 still runs from an earlier run (for 90s) — looking after it again",
    );
    for (by, what) in [
        (Interruption::Crash, "interrupted by a reboot or a crash — re-queuing"),
        (Interruption::Shutdown, "interrupted — it is run again next time"),
        (Interruption::EarlierShutdown, "ended with the scheduler — re-queuing"),
    ] {
        check(&Report::Requeued { no: NO, by }, &format!("job 7 was {what}"));
    }
}

#[test]
fn the_file_and_the_gpus() {
    check(
        &Report::QueueKept { why: "line 2: x".to_owned() },
        "WARN  jobs file unreadable, keeping previous queue: line 2: x",
    );
    check(&Report::QueueGood, "jobs file is readable again");
    check(
        &Report::Reserved {
            no: NO,
            gpus: vec![GpuIndex(0), GpuIndex(1)],
            overtakings: 24,
            waited: SignedDuration::from_secs(65),
        },
        "job 7 has waited 65s while 24 later jobs were started — gpu [0,1] is kept free for it",
    );
    let edit = |running| Report::EditIgnored { no: NO, line: 4, running, command: "echo b".to_owned() };
    let rest = "its new text is not run (put it on a line of its own to run it): echo b";
    check(&edit(true), &format!("WARN  line 4 was job 7, which still runs: {rest}"));
    check(&edit(false), &format!("WARN  line 4 was job 7, which has ended: {rest}"));
    check(
        &Report::GpusUnknown { why: "no answer".to_owned(), attempt: 2 },
        "WARN  GPU query failed (no answer); attempt 2 — nothing new starts until one succeeds",
    );
    check(&Report::GpusKnown, "GPU query works again");
    check(
        &Report::GpuOut { gpu: GpuIndex(1), why: "MIG is on".to_owned() },
        "WARN  gpu 1 takes no new jobs — MIG is on",
    );
    check(&Report::GpuBack { gpu: GpuIndex(1) }, "gpu 1 takes jobs again");
}

#[test]
fn the_end() {
    check(&Report::Drained, "queue drained — watching jobs file for new lines (Ctrl-C to stop)");
    let interrupt = |urgency| Report::Interrupted { urgency, running: 2 };
    check(&interrupt(Urgency::Stop), "WARN  interrupted — terminating running jobs");
    check(&interrupt(Urgency::Kill), "WARN  interrupted again — killing 2 running jobs");
    check(
        &interrupt(Urgency::Leave),
        "WARN  told to end — leaving 2 running jobs to the keeper; the same command looks after them again",
    );
    let summary = Summary { jobs: 4, ok: 2, failed: 2, under: 1, over: 1, ..Summary::default() };
    check(
        &Report::Summary(summary.clone()),
        "all 4 jobs done — 2 ok, 2 failed, 1 under-declared vram, 1 over-declared vram",
    );
    let failures = vec![
        (JobNo(2), Status::Failed, Some(Exit::Code(3)), "exit 3".to_owned()),
        (JobNo(4), Status::Infeasible, None, "big".to_owned()),
    ];
    check(
        &Report::Summary(Summary { cancelled: 1, earlier: 5, failures, ..summary }),
        "all 4 jobs done — 2 ok, 2 failed, 1 cancelled, 1 under-declared vram, 1 over-declared vram; \
         5 more ended in an earlier run\n\
         \x20 failed: job 2 (failed, exit 3) — exit 3\n\
         \x20 failed: job 4 (infeasible) — big",
    );
}

#[test]
fn commands_are_shown_safely() {
    assert_eq!(shown("echo \u{1b}[31m\ta\u{7f}\u{202e}é"), "echo \\u{1b}[31m\\ta\\u{7f}\\u{202e}é");
    assert_eq!(shown(&"é".repeat(200)), "é".repeat(200));
    assert_eq!(shown(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
}
