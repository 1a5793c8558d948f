//! Real journals of the Python tool, recorded by `tests/data/record_journals.py`,
//! found where ours should be.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use e2e::wait_until;

use crate::place::{Done, LONG, Place, is_there, signal};

const JOBS: &str = include_str!("../../../../tests/data/python-journals/jobs.txt");

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/data/python-journals/", $name, ".jsonl"))
    };
}

/// What failed by the journals, and the exit code that comes of it. What was too
/// large then is looked at anew.
const FAILURES: &[&str] = &[
    "(failed, exit 3) — exit 3",
    "(failed_oom, exit 4) — echo 'RuntimeError: CUDA out of memory.'; exit 4",
    "(timeout, exit -15) — sleep 30",
    "(infeasible) — echo too large >> ran",
    "(failed, exit -9) — kill -9 $$",
];
const WORST: i32 = 4;

/// A place where the Python tool has left this journal. 0.3.0 knows no `cancel`,
/// so its jobs file was shorter.
fn place(journal: &str, has_cancel: bool) -> Place {
    let lines = JOBS.split_inclusive('\n').filter(|line| has_cancel || !line.contains("cancel"));
    let place = Place::new(&lines.collect::<String>());
    fs::create_dir(place.path("gpusched_logs")).unwrap();
    place.write("gpusched_logs/journal.jsonl", journal);
    place.write("go", "");
    place
}

/// The journal with another process group for the job that was started last.
fn with_group(journal: &str, group: u32) -> String {
    let (before, after) = journal.rsplit_once("\"pgid\": ").unwrap();
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    format!("{before}\"pgid\": {group}{}", &after[digits..])
}

/// A process group that has ended.
fn ended_group() -> u32 {
    let mut child = Command::new("true").process_group(0).spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// Runs what is left of such a journal, twice: the second time there is nothing.
#[track_caller]
fn check(journal: &str, has_cancel: bool, ran: &str) -> Done {
    let place = place(journal, has_cancel);
    let first = place.run(&[]);
    first.exits(WORST).says("took over the journal of the Python tool (");
    for failure in FAILURES {
        first.says(failure);
    }
    assert_eq!(place.read("ran"), ran, "{}", first.out);
    assert_eq!(place.read("gpusched_logs/journal.jsonl.1"), journal, "the old journal is kept as it was");
    let second = place.run(&[]);
    second.exits(WORST).says(FAILURES[0]);
    assert!(!second.out.contains("Python tool"), "{}", second.out);
    assert!(!second.out.contains(" started on "), "{}", second.out);
    assert_eq!(place.read("ran"), ran);
    first
}

#[test]
fn what_is_done_by_it_is_not_run_again() {
    for journal in [recorded!("0.4.0-finished"), recorded!("0.4.0-resumed"), recorded!("0.4.0-torn")] {
        let done = check(journal, true, "");
        assert!(!done.out.contains(" started on "), "{}", done.out);
        assert!(!done.out.contains("it does not tell"), "{}", done.out);
        done.says("job 2 already completed ok — skipping (journal): echo first >> ran");
    }
    check(recorded!("0.3.0-finished"), false, "");
    check(recorded!("0.3.0-resumed"), false, "");
    check(recorded!("0.3.0-torn"), false, "");
}

#[test]
fn what_was_left_by_it_is_run() {
    let journal = with_group(recorded!("0.4.0-killed"), ended_group());
    let done = check(&journal, true, "slow\nlate\n");
    done.says("it does not tell how job 11 ended, so that is run again");
    // 0.3.0 does not write down what it starts.
    check(recorded!("0.3.0-killed"), false, "slow\nlate\n");
}

#[test]
fn a_line_that_it_never_finished_writing_is_no_trouble() {
    let whole = recorded!("0.4.0-killed");
    let torn = &whole[..whole.len() - 20];
    check(torn, true, "slow\nlate\n").says(", 1 line unreadable)");
}

#[test]
fn what_it_has_still_running_is_not_run_beside_it() {
    let mut job = Command::new("/bin/sh");
    job.args(["-c", "until [ -e end ] || ! [ -d gpusched_logs ]; do sleep 0.05; done; echo slow >> ran"]);
    job.process_group(0).env("CUDA_VISIBLE_DEVICES", "0,1");
    let place = place("", true);
    let mut job = job.current_dir(place.path("")).spawn().unwrap();
    let group = job.id();
    let journal = with_group(recorded!("0.4.0-killed"), group);
    place.write("gpusched_logs/journal.jsonl", &journal);
    let refused = format!(
        "gpusched: still running from the Python tool: job 11 (process group {group})\n\
         hint: wait for their end, or end them: kill -TERM -- -{group}\n\
         hint: how they end can't be known, so their lines are then run again: delete those that are done\n"
    );
    for flags in [&[][..], &["--fresh"]] {
        let done = place.run(flags);
        assert_eq!(done.exits(73).err, refused);
        assert_eq!(place.read("gpusched_logs/journal.jsonl"), journal, "nothing was to be written");
        assert!(!is_there(&place.path("gpusched_logs/journal.jsonl.1")));
    }
    place.write("end", "");
    wait_until("the job ends", LONG, || job.try_wait().unwrap().is_some());
    place.edit(&place.read("jobs.txt").replace("until [ -e go ]", "# done: until [ -e go ]"));
    place.run(&[]).exits(WORST);
    assert_eq!(place.read("ran"), "slow\nlate\n");
}

#[test]
fn a_stranger_with_the_number_of_its_job_is_none_of_our_business() {
    let mut stranger =
        Command::new("sleep").arg("60").process_group(0).env_remove("CUDA_VISIBLE_DEVICES").spawn().unwrap();
    let journal = with_group(recorded!("0.4.0-killed"), stranger.id());
    let place = place(&journal, true);
    let done = place.run(&[]);
    let lives = stranger.try_wait().unwrap().is_none();
    signal("KILL", stranger.id());
    stranger.wait().unwrap();
    done.exits(WORST);
    assert!(lives, "it was ended");
    assert_eq!(place.read("ran"), "slow\nlate\n");
}
