//! What is remembered from run to run.

use std::fs;

use crate::place::{Place, is_there};

#[test]
fn a_failure_of_an_earlier_run_is_said_and_counts() {
    let place = Place::new("exit 3\n");
    place.run(&[]).exits(3).says("job 1 finished [EXIT 3]");
    place
        .run(&[])
        .exits(3)
        .says("job 1 already failed in an earlier run")
        .says("  failed: job 1 (failed, exit 3) — exit 3");
}

#[test]
fn a_torn_line_of_the_journal_costs_no_other_event() {
    let place = Place::new("true\n");
    place.run(&[]).exits(0);
    let journal = place.read("gpusched_logs/journal.jsonl");
    place.write("gpusched_logs/journal.jsonl", &format!("{journal}{{\"seq\":99,\"at\":\"20"));
    place.write("jobs.txt", "true\n[cancel] echo risen >> ran\n");
    place.run(&[]).exits(0).says("job 2 cancelled before start");
    place.write("jobs.txt", "true\necho risen >> ran\n");
    place.run(&[]).exits(0).says("job 2 was cancelled in an earlier run");
    assert!(!is_there(&place.path("ran")), "a cancelled job was run");
}

#[test]
fn a_journal_with_odd_lines_is_no_crash() {
    let place = Place::new("echo ran >> runs\n");
    fs::create_dir(place.path("gpusched_logs")).unwrap();
    place.write("gpusched_logs/journal.jsonl", "[1,2]\n");
    let done = place.run(&[]);
    assert!(done.exits(74).err.contains("is not a journal of gpusched\nhint: "), "{}", done.err);
    let key = "73ae5208efc2#0";
    let seen = format!(r#"{{"key": "{key}", "event": "seen", "no": 7, "command": "echo ran >> runs"}}"#);
    let odd = [seen.as_bytes(), b"\n[1,2]\n{\"odd\": \"\xe9\"}\n"].concat();
    fs::write(place.path("gpusched_logs/journal.jsonl"), odd).unwrap();
    place.run(&[]).exits(0).says("2 lines unreadable").says("job 7 finished [OK]");
    assert_eq!(place.read("runs"), "ran\n");
}

#[test]
fn a_wrong_gpu_is_refused_and_marks_no_job() {
    let place = Place::new("echo ran >> runs\n");
    let done = place.run(&["--gpus", "7"]);
    assert!(done.exits(2).err.starts_with("gpusched: --gpus: there is no GPU 7\nhint: "), "{}", done.err);
    place.run(&["--gpus", "1"]).exits(0).says("job 1 started on gpu [1]");
    assert_eq!(place.read("runs"), "ran\n");
}

#[test]
fn fresh_does_not_mix_old_logs_and_new() {
    let place = Place::new("echo old\n");
    place.run(&[]).exits(0);
    place.write("jobs.txt", "echo new\n");
    place.run(&["--fresh"]).exits(0);
    assert_eq!(place.log("job001_gpu0"), "new\n");
    assert_eq!(place.log("previous/job001_gpu0"), "old\n");
}
