//! Flags that change what a rerun does, and what an end does to jobs.

use e2e::wait_until;

use crate::place::{LONG, Place, Running, is_there};

#[test]
fn retry_failed_runs_again_what_failed_and_nothing_else() {
    let place = Place::new("echo good >> runs\n[timeout=30s] echo bad >> runs; [ -e mended ]\n");
    place.run(&[]).exits(1);
    assert_eq!(place.read("runs").lines().count(), 2);
    // Without the flag, the failure is told and counts, and nothing is run.
    place.run(&[]).exits(1).says("--retry-failed runs it again").says("  failed: job 2");
    assert_eq!(place.read("runs").lines().count(), 2);
    place.write("mended", "");
    place.run(&["--retry-failed"]).exits(0).says("job 2 finished [OK]");
    assert_eq!(place.read("runs").lines().filter(|line| *line == "good").count(), 1);
    // Now it is done for good, flag or not.
    place.run(&["--retry-failed"]).exits(0);
    assert_eq!(place.read("runs").lines().filter(|line| *line == "bad").count(), 2);
}

/// A job that runs until the file `go` is there, under a scheduler with a flag.
fn with_a_job(flags: &[&str]) -> (Place, Running) {
    let place = Place::new("echo ran >> runs; until [ -e go ]; do sleep 0.05; done\n");
    let running = place.start(place.queue(flags));
    wait_until("the job runs", LONG, || is_there(&place.path("runs")));
    (place, running)
}

#[test]
fn on_exit_keep_lets_jobs_live_through_ctrl_c() {
    let (place, running) = with_a_job(&["--on-exit", "keep"]);
    running.signal("INT");
    running.wait().exits(130).says("leaving 1 running jobs to the keeper");
    place.write("go", "");
    place.run(&[]).exits(0);
    assert_eq!(place.read("runs"), "ran\n");
}

#[test]
fn on_exit_stop_ends_jobs_with_sigterm() {
    let (place, running) = with_a_job(&["--on-exit", "stop"]);
    running.signal("TERM");
    running.wait().exits(143).says("terminating running jobs");
    assert!(place.job_processes().is_empty());
    place.write("go", "");
    place.run(&[]).exits(0);
    assert_eq!(place.read("runs"), "ran\nran\n");
}

#[test]
fn how_often_a_job_may_be_overtaken_is_shown() {
    // Two small jobs go around the big one; then the GPU is kept free for it.
    let place = Place::new(
        "[vram=12G] until [ -e go ]; do sleep 0.05; done\n[vram=22G] echo big >> order\n\
         [vram=4G] echo small >> order\n[vram=4G] echo small >> order\n[vram=4G] echo late >> order\n",
    );
    let running = place.start(place.queue(&["--gpus", "0", "--overtakes", "2"]));
    running.wait_for("job 2 has waited");
    wait_until("the board says for whom", LONG, || {
        place.board().contains("GPU 0 is kept free for it") && place.board().contains("kept free for job 2")
    });
    place.write("go", "");
    running.wait().exits(0).says("while 2 later jobs were started — gpu [0] is kept free for it");
    assert_eq!(place.read("order"), "small\nsmall\nbig\nlate\n");
}
