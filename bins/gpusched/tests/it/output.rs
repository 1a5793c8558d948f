//! Who reads what the program says, and who does not.

use std::io::Read as _;
use std::process::Stdio;

use e2e::wait_until;

use crate::place::{LONG, Place};

/// Many lines, each of them long: more than a pipe holds.
fn talkative(last: &str) -> Place {
    let long = "x".repeat(250);
    let jobs: Vec<String> = (1..=300).map(|no| format!("[vram=1] true {no} {long}\n")).collect();
    Place::new(&format!("{}{last}\n", jobs.concat()))
}

#[test]
fn a_reader_that_stops_holds_up_no_job_and_misses_nothing() {
    let place = talkative("[vram=1 timeout=1s] sleep 60");
    // A pipe, and nobody reads: a pager that nobody scrolls.
    let mut child = place.queue(&["--verbose"]).stdout(Stdio::piped()).spawn().unwrap();
    wait_until("all jobs are over", LONG, || {
        place.read("gpusched_logs/status.txt").contains("0 running, 0 pending, 301 done")
    });
    assert!(child.try_wait().unwrap().is_none(), "it went away with lines that nobody has read");
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(out.len() > 1 << 16, "a pipe holds that much: {} bytes", out.len());
    assert_eq!(out.matches(" started on gpu ").count(), 301, "{out}");
    assert!(out.contains("job 301 finished [TIMEOUT]"), "{out}");
    assert!(out.contains("all 301 jobs done — 300 ok, 1 failed"), "{out}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn whoever_is_told_to_end_does_not_wait_for_a_reader_that_has_stopped() {
    let place = talkative("[vram=1] sleep 60");
    let mut child = place.queue(&[]).stdout(Stdio::piped()).spawn().unwrap();
    wait_until("the last job runs", LONG, || {
        place.read("gpusched_logs/status.txt").contains("1 running, 0 pending, 300 done")
    });
    let pid = child.id().to_string();
    let killed = std::process::Command::new("/bin/kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    wait_until("it ends", LONG, || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
