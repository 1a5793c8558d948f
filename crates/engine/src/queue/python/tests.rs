use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::queue::Durable;

const A: &str = "38bba75a9021#0";
const B: &str = "bda3a0d4a20b#0";

/// Records in short: what happened, the first digits of the key, the details.
fn short(records: &[Record]) -> String {
    let mut out = String::new();
    for record in records {
        let line = match record {
            Record::Seen { key, no, command } => format!("{} seen {no} {command:?}", name(*key)),
            Record::Started { key, no, attempt, gpus, declared: None, share: None, command } => {
                let gpus: Vec<u16> = gpus.iter().map(|gpu| gpu.0).collect();
                format!("{} started {no} try {attempt} on {gpus:?} {command:?}", name(*key))
            }
            Record::Oom { key, attempt, next_vram, alone } => {
                let next = next_vram.map(Mib::get);
                format!("{} oom try {attempt} next {next:?} alone {alone}", name(*key))
            }
            Record::Interrupted { key, attempt } => format!("{} interrupted try {attempt}", name(*key)),
            Record::Done { key, no, status, exit, peak_mib, avg_util, why: None } => {
                let peak: Vec<_> = peak_mib.iter().map(|(gpu, mib)| (gpu.0, mib.get())).collect();
                format!("{} done {no} {status:?} {exit:?} peak {peak:?} util {avg_util:?}", name(*key))
            }
            Record::Started { .. }
            | Record::Done { .. }
            | Record::Left { .. }
            | Record::NotStarted { .. }
            | Record::Retried { .. }
            | Record::Paused { .. }
            | Record::Stopping { .. } => panic!("{record:?}"),
        };
        writeln!(out, "{line}").unwrap();
    }
    out
}

fn name(key: JobKey) -> String {
    key.to_string()[..2].to_owned()
}

/// A line as the Python tool writes it.
fn line(key: &str, rest: &str) -> String {
    format!("{{\"key\": \"{key}\", {rest}}}\n")
}

#[track_caller]
fn check(journal: impl AsRef<[u8]>, skipped: usize, open: &[(&str, u32)], expect: &[&str]) {
    let (records, python) = read_python_journal(journal.as_ref());
    let expect: String = expect.iter().flat_map(|line| [line, "\n"]).collect();
    assert_eq!(short(&records), expect);
    let open = open.iter().map(|(key, pgid)| (key.parse().unwrap(), *pgid)).collect();
    assert_eq!(python, PythonJournal { skipped, open });
}

/// Written by 0.4.0 with two fake GPUs.
#[test]
fn a_real_journal() {
    let journal = r#"{"key": "38bba75a9021#0", "event": "seen", "no": 8, "command": "sh -c 'echo \"RuntimeError: CUDA out of memory.\"; exit 1'"}
{"key": "38bba75a9021#0", "event": "started", "pgid": 30041, "gpus": [0]}
{"key": "38bba75a9021#0", "event": "oom", "attempts": 1, "next_vram": 2560}
{"key": "38bba75a9021#0", "event": "done", "status": "failed_oom", "returncode": 1, "peak_mib": {}, "avg_util": 37.0}
{"key": "bda3a0d4a20b#0", "event": "done", "status": "ok", "returncode": 0, "peak_mib": {"0": 4000, "1": 4000}, "avg_util": 37.0}
{"key": "72bf29c7116c#0", "event": "interrupted"}
"#;
    let command = r#""sh -c 'echo \"RuntimeError: CUDA out of memory.\"; exit 1'""#;
    check(
        journal,
        0,
        &[],
        &[
            &format!("38 seen 8 {command}"),
            &format!("38 started 8 try 1 on [0] {command}"),
            "38 oom try 1 next Some(2560) alone false",
            "38 done 8 FailedOom Some(Code(1)) peak [] util Some(37.0)",
            "bd seen 9 \"\"",
            "bd done 9 Ok Some(Code(0)) peak [(0, 4000), (1, 4000)] util Some(37.0)",
            "72 seen 10 \"\"",
            "72 interrupted try 1",
        ],
    );
}

#[test]
fn attempts_are_counted_over_all_ends() {
    let started = |pgid: u32| line(A, &format!(r#""event": "started", "pgid": {pgid}, "gpus": [0, 2]"#));
    let journal = [
        line(A, r#""event": "seen", "no": 1, "command": "a""#),
        started(11),
        line(A, r#""event": "oom", "attempts": 1, "next_vram": null"#),
        started(12),
        line(A, r#""event": "interrupted""#),
        started(13),
        started(14),
    ];
    check(
        journal.concat(),
        0,
        &[(A, 14)],
        &[
            "38 seen 1 \"a\"",
            "38 started 1 try 1 on [0, 2] \"a\"",
            "38 oom try 1 next None alone true",
            "38 started 1 try 2 on [0, 2] \"a\"",
            "38 interrupted try 2",
            "38 started 1 try 3 on [0, 2] \"a\"",
            "38 interrupted try 3",
            "38 started 1 try 4 on [0, 2] \"a\"",
            "38 interrupted try 4",
        ],
    );
}

#[test]
fn open_jobs_come_in_the_order_of_their_numbers() {
    let journal = [
        line(B, r#""event": "seen", "no": 1, "command": "b""#),
        line(A, r#""event": "seen", "no": 2, "command": "a""#),
        line(A, r#""event": "started", "pgid": 20, "gpus": [0]"#),
        line(B, r#""event": "started", "pgid": 10, "gpus": [1]"#),
        line("72bf29c7116c#3", r#""event": "started", "pgid": 1, "gpus": null"#),
    ];
    check(
        journal.concat(),
        0,
        &[(B, 10), (A, 20)],
        &[
            "bd seen 1 \"b\"",
            "38 seen 2 \"a\"",
            "38 started 2 try 1 on [0] \"a\"",
            "bd started 1 try 1 on [1] \"b\"",
            "72 seen 3 \"\"",
            "72 started 3 try 1 on [] \"\"",
            "bd interrupted try 1",
            "38 interrupted try 1",
            "72 interrupted try 1",
        ],
    );
}

#[test]
fn numbers_are_unique() {
    let seen = |key: &str, no: &str| {
        line(key, &format!(r#""event": "seen", "no": {no}, "command": "{}""#, &key[..1]))
    };
    let journal = [
        seen(A, "1"),
        seen(B, "1"),
        seen("111111111111#0", "4"),
        seen("222222222222#0", "4294967295"),
        seen("333333333333#0", "\"five\""),
        seen("333333333333#0", "7"),
        seen(A, "9"),
    ];
    check(
        journal.concat(),
        0,
        &[],
        &["38 seen 1 \"3\"", "bd seen 8 \"b\"", "11 seen 4 \"1\"", "22 seen 9 \"2\"", "33 seen 7 \"3\""],
    );
}

/// Expects this status and exit of a job's `done`, after a `started` or not.
#[track_caller]
fn check_done(started: bool, status: &str, returncode: &str, expect: (Status, Option<Exit>)) {
    let mut journal = line(A, r#""event": "seen", "no": 1, "command": "a""#);
    if started {
        journal += &line(A, r#""event": "started", "pgid": 11, "gpus": [0]"#);
    }
    let done =
        format!(r#""event": "done", "status": "{status}", "returncode": {returncode}, "peak_mib": {{}}"#);
    journal += &line(A, &done);
    // A job that is over stays over, whatever a second scheduler wrote.
    journal += &line(A, r#""event": "started", "pgid": 12, "gpus": [0]"#);
    let (records, python) = read_python_journal(journal.as_bytes());
    let Some(Record::Done { status, exit, avg_util: None, .. }) = records.last() else {
        panic!("{records:?}")
    };
    assert_eq!((*status, *exit), expect);
    assert_eq!(python, PythonJournal::default());
}

#[test]
fn an_end_means_here_what_it_meant_there() {
    check_done(true, "ok", "0", (Status::Ok, Some(Exit::Code(0))));
    check_done(false, "ok", "0", (Status::Ok, Some(Exit::Code(0))));
    check_done(true, "failed", "255", (Status::Failed, Some(Exit::Code(255))));
    check_done(true, "failed", "-9", (Status::Failed, Some(Exit::Signal(9))));
    check_done(true, "failed", "256", (Status::Failed, None));
    check_done(true, "failed", "-9223372036854775808", (Status::Failed, None));
    check_done(true, "failed", "null", (Status::Failed, None));
    check_done(true, "failed_oom", "1", (Status::FailedOom, Some(Exit::Code(1))));
    check_done(true, "timeout", "-15", (Status::Timeout, Some(Exit::Signal(15))));
    check_done(true, "cancelled", "-15", (Status::Cancelled, Some(Exit::Signal(15))));
    check_done(false, "cancelled", "0", (Status::Cancelled, None));
    check_done(false, "infeasible", "1", (Status::Infeasible, None));
    check_done(true, "dreamt", "0", (Status::Lost, Some(Exit::Code(0))));
}

#[test]
fn what_cannot_be_read_is_counted_and_passed_over() {
    let done = line(A, r#""event": "done", "status": "ok", "returncode": 0"#);
    let mut journal = b"[1,2]\n\n  \nnull\n\xff\xfe\x00\n{}\n{\"key\": 5}\n".to_vec();
    journal.extend_from_slice(line(A, r#""event": "sung""#).as_bytes());
    journal.extend_from_slice(line("38bb#0", r#""event": "interrupted""#).as_bytes());
    journal.extend_from_slice(done.as_bytes());
    journal.extend_from_slice(&done.as_bytes()[..40]);
    check(&journal, 8, &[], &["38 seen 1 \"\"", "38 done 1 Ok Some(Code(0)) peak [] util None"]);
    check("[".repeat(100_000), 1, &[], &[]);
    check("", 0, &[], &[]);
}

#[test]
fn lines_behind_a_torn_one_are_found() {
    let seen = line(A, r#""event": "seen", "no": 3, "command": "echo '{\"key\": \"72bf29c7116c#0\"'""#);
    let cancelled = line(A, r#""event": "done", "status": "cancelled", "returncode": 0"#);
    let expect =
        [r#"38 seen 3 "echo '{\"key\": \"72bf29c7116c#0\"'""#, "38 done 3 Cancelled None peak [] util None"];
    // Only the line feed is missing.
    check(format!("{}{cancelled}", seen.trim_end()), 0, &[], &expect);
    let torn = &line(B, r#""event": "started", "pgid": 7"#)[..30];
    check(format!("{seen}{torn}{cancelled}"), 1, &[], &expect);
    check([seen.as_bytes(), b"{\"k\xc3", cancelled.as_bytes()].concat(), 1, &[], &expect);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the lines: nobody is left running, numbers are unique, and a
    /// job that is done in the journal is done in what is made of it.
    #[test]
    fn any_lines_make_a_sound_history(
        lines in proptest::collection::vec((0u32..4, 0usize..6, 0u32..5), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut journal = String::new();
        let mut done = BTreeSet::new();
        for (job, event, n) in lines {
            let rest = [
                format!(r#""event": "seen", "no": {n}, "command": "c{job}""#),
                format!(r#""event": "started", "pgid": {n}, "gpus": [{n}]"#),
                format!(r#""event": "oom", "attempts": {n}, "next_vram": {n}"#),
                r#""event": "interrupted""#.to_owned(),
                format!(r#""event": "done", "status": "ok", "returncode": {n}"#),
                format!(r#""event": {n}"#),
            ];
            let key = format!("{job:012x}#{job}");
            journal += &line(&key, &rest[event]);
            if event == 4 {
                done.insert(key);
            }
        }
        let (records, python) = read_python_journal(journal.as_bytes());
        let durable = Durable::fold(&records);
        let numbers: BTreeSet<JobNo> = durable.jobs().map(|(_, job)| job.no).collect();
        prop_assert_eq!(numbers.len(), durable.jobs().count());
        for (key, job) in durable.jobs() {
            let is_done = matches!(job.phase, crate::queue::Phase::Done { .. });
            prop_assert_eq!(is_done, done.contains(&key.to_string()));
            prop_assert!(!matches!(job.phase, crate::queue::Phase::Running(_)));
        }
        prop_assert!(python.open.iter().all(|(key, pgid)| *pgid > 1 && !done.contains(&key.to_string())));

        // Cut short anywhere, it loses at most the line that is cut.
        let cut = cut.index(journal.len() + 1);
        let whole = journal[..cut].rfind('\n').map_or(0, |end| end + 1);
        let (of_cut, _) = read_python_journal(&journal.as_bytes()[..cut]);
        let (of_whole, _) = read_python_journal(&journal.as_bytes()[..whole]);
        let all_but_the_line_feed = journal[..cut].ends_with('}');
        prop_assert!(of_cut == of_whole || all_but_the_line_feed);
    }
}
