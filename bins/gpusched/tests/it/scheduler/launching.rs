//! What is needed to start a job, and what happens where it is not there.

use std::fs;

use e2e::wait_until;

use crate::place::{LONG, Place};

#[test]
fn what_cannot_be_started_is_tried_again_with_growing_pauses() {
    let place = Place::new("[cwd=later] pwd > where\n");
    let running = place.started(&["--assign-retry-wait", "0.4"]);
    running.wait_for("WARN  job 1 could not start (attempt 1/5): the directory 'later' is not there");
    running.wait_for("trying again in 0.4s");
    running.wait_for("trying again in 0.8s");
    fs::create_dir(place.path("later")).unwrap();
    running.wait_for("job 1 finished [OK]");
    assert!(place.read("later/where").trim().ends_with("/later"));
}

#[test]
fn after_so_many_attempts_a_job_has_failed_and_retry_revives_it() {
    let place = Place::new("[cwd=later] echo a > ran\necho b\n");
    let running = place.started(&["--max-assign-attempts", "2", "--assign-retry-wait", "0.2"]);
    running.wait_for("job 2 finished [OK]");
    running.wait_for("WARN  job 1 was not started, 2 times — the directory 'later' is not there");
    running.wait_for("marking failed (gpusched retry 1 tries again)");
    wait_until("the board says why", LONG, || {
        place.board().contains("✗ job 1   failed (could not start: the directory 'later' is not there")
    });
    // Not by itself, and not after a restart.
    drop(running);
    let running = place.started(&["--max-assign-attempts", "2"]);
    running.wait_for("job 1 already failed in an earlier run");
    fs::create_dir(place.path("later")).unwrap();
    place.ask(&["retry", "1"]).exits(0);
    running.wait_for("job 1 finished [OK]");
    assert_eq!(place.read("later/ran"), "a\n");
    place.ask(&["start", "--max-assign-attempts", "0"]).exits(2);
}

#[test]
fn waiting_for_room_is_no_attempt() {
    let place = Place::new("[gpus=2] until [ -e go ]; do sleep 0.05; done\n[gpus=2] echo b > ran\n");
    let running = place.started(&["--max-assign-attempts", "1"]);
    running.wait_for("job 1 started");
    wait_until("the other waits", LONG, || place.board().contains("· job 2   pending gpus 2"));
    place.write("go", "");
    running.wait_for("job 2 finished [OK]");
    assert_eq!(place.read("ran"), "b\n");
}

#[test]
fn a_job_has_the_variables_of_its_line() {
    let place = Place::new("[env.SEED=7 env.CUDA=x=y] echo $SEED $CUDA $CUDA_VISIBLE_DEVICES > seen\n");
    let running = place.started(&[]);
    running.wait_for("job 1 finished [OK]");
    assert_eq!(place.read("seen"), "7 x=y 0\n");
}
