//! Edits of the jobs file while the queue runs.

use std::thread;
use std::time::Duration;

use e2e::wait_until;

use crate::place::{LONG, Place, Running};
use crate::smi::gpu;

#[test]
fn a_jobs_file_that_is_emptied_for_a_moment_ends_nothing() {
    let place = Place::new("[vram=20G] echo a >> runs\n");
    place.set_gpus(&[gpu(0, 20_000)], "");
    let Some(queue) = place.queue_on_smi(&[]) else { return };
    let running = place.start(queue);
    wait_until("the job waits", LONG, || place.board().contains("1 pending"));
    place.write("jobs.txt", "");
    // The point is that nothing happens.
    thread::sleep(Duration::from_secs(1));
    assert!(!running.out().contains("jobs done"), "{}", running.out());
    place.write("jobs.txt", "[vram=20G] echo a >> runs\n[vram=20G] echo b >> runs\n");
    wait_until("the new line waits", LONG, || place.board().contains("2 pending"));
    place.set_gpus(&[gpu(0, 0)], "");
    running.wait().exits(0).says("all 2 jobs done — 2 ok");
    let mut runs: Vec<_> = place.read("runs").lines().map(str::to_owned).collect();
    runs.sort();
    assert_eq!(runs, ["a", "b"]);
}

/// A line that runs until the file `go` is there.
const JOB: &str = "echo ran >> runs; until [ -e go ]; do sleep 0.05; done\n";

/// A queue where the first of two equal jobs runs, after an edit that deleted
/// one of the two lines.
fn after_a_deletion() -> (Place, Running) {
    let place = Place::new(&format!("{JOB}{JOB}true\n"));
    let running = place.start(place.queue(&["--gpus", "0"]));
    wait_until("one runs, two wait", LONG, || place.board().contains("1 running, 2 pending"));
    // The third line shows when the edit was taken in.
    place.edit(&format!("{JOB}[cancel] true\n"));
    running.wait_for("job 3 cancelled before start");
    (place, running)
}

#[test]
fn of_two_equal_lines_the_one_that_stays_is_run() {
    let (place, running) = after_a_deletion();
    place.write("go", "");
    running.wait().exits(0).says("job 1 finished [OK]").says("job 2 finished [OK]");
    assert_eq!(place.read("runs"), "ran\nran\n");
    place.run(&["--gpus", "0"]).exits(0).says("job 2 already completed ok");
    assert_eq!(place.read("runs"), "ran\nran\n", "nothing is run a third time");
}

#[test]
fn of_two_equal_lines_the_one_that_comes_back_is_the_job_it_was() {
    let (place, running) = after_a_deletion();
    place.edit(&format!("{JOB}{JOB}[cancel] true\n[cancel] false\n"));
    running.wait_for("job 4 cancelled before start");
    place.write("go", "");
    running.wait().exits(0).says("all 4 jobs done — 2 ok, 0 failed, 2 cancelled");
    assert_eq!(place.read("runs"), "ran\nran\n");
}
