//! What ended the Python tool and left its jobs to nobody.

use std::fs;

use e2e::wait_until;

use crate::place::{LONG, Place, Running, is_there};
use crate::smi::gpu;

/// Says that it runs, waits for the file `go`, and fails.
const JOB: &str = "echo ran >> runs; until [ -e go ]; do sleep 0.05; done; exit 5\n";

fn wait_for_the_job(place: &Place) {
    wait_until("the job runs", LONG, || is_there(&place.path("runs")));
}

/// The job was looked after to its end.
#[track_caller]
fn check_looked_after(place: &Place, running: Running) {
    place.write("go", "");
    running.wait().exits(5).says("job 1 finished [EXIT 5]");
    assert_eq!(place.read("runs"), "ran\n");
}

#[test]
fn a_line_that_cannot_be_used_leaves_no_job_alone() {
    let place = Place::new(JOB);
    let running = place.start(place.queue(&[]));
    wait_for_the_job(&place);
    let long = format!("true {}\n", "x".repeat(140_000));
    let odd = [
        (&b"echo \xe9\n"[..], "the byte 0xe9"),
        (b"echo \0\n", "NUL"),
        (long.as_bytes(), "the command is too long"),
    ];
    for (odd, words) in odd {
        fs::write(place.path("jobs.txt"), [JOB.as_bytes(), odd].concat()).unwrap();
        wait_until(words, LONG, || {
            let out = running.out();
            out.lines().any(|line| line.contains("keeping previous queue: line 2") && line.contains(words))
        });
    }
    place.write("jobs.txt", JOB);
    running.wait_for("jobs file is readable again");
    check_looked_after(&place, running);
}

#[test]
fn a_poll_that_makes_no_sense_starts_nothing() {
    let place = Place::new(JOB);
    let mut queue = place.program();
    queue.args(["jobs.txt", "--sim", "1", "--poll", "-1"]);
    let done = place.start(queue).wait();
    assert!(done.exits(2).err.starts_with("gpusched: --poll: '-1' is not a time\nhint: "), "{}", done.err);
    assert!(!is_there(&place.path("runs")));
}

#[test]
fn gpus_that_tell_nothing_leave_no_job_alone() {
    let place = Place::new(JOB);
    place.set_gpus(&[gpu(0, 0)], "");
    let Some(queue) = place.queue_on_smi(&[]) else { return };
    let running = place.start(queue);
    wait_for_the_job(&place);
    place.set_gpus(&[r#"{"uuid":"GPU-0","total":null,"used":null,"free":null}"#.to_owned()], "");
    place.edit(&format!("{JOB}[vram=1G] true\n"));
    wait_until("nothing is placed by it", LONG, || place.board().contains("job 2   pending vram 1024 ("));
    place.set_gpus(&[gpu(0, 0)], r#""stdout":"","stderr":"Unable to determine the device handle","exit":15"#);
    running.wait_for("attempt 8");
    place.set_gpus(&[gpu(0, 0)], "");
    running.wait_for("GPU query works again");
    check_looked_after(&place, running);
}

#[test]
fn an_environment_that_knows_only_ascii_is_no_harm() {
    let place = Place::new("echo grün\n");
    let mut queue = place.queue(&[]);
    queue.envs([("PYTHONIOENCODING", "ascii"), ("LC_ALL", "C"), ("LANG", "C")]);
    place.start(queue).wait().exits(0).says("dispatched, undeclared (exclusive idle GPU)) — echo grün");
    assert_eq!(place.log("job001_gpu0"), "grün\n");
}
