//! Its live queue.

use std::fs;

use e2e::wait_until;

use crate::place::{LONG, Place, Running, is_there};

/// Keeps the only GPU busy until the file `go` is there.
const HOLDS: &str = "[vram=20G] echo ran >> runs; until [ -e go ]; do sleep 0.05; done\n";

/// A queue on one GPU that such a job holds, with these lines waiting behind it.
fn with_waiting(lines: &str) -> (Place, Running) {
    let place = Place::new(&format!("{HOLDS}{lines}"));
    let running = place.start(place.queue(&["--gpus", "0"]));
    wait_until("it runs", LONG, || is_there(&place.path("runs")));
    let waiting = format!("1 running, {} pending", lines.lines().count());
    wait_until("the others wait", LONG, || place.board().contains(&waiting));
    (place, running)
}

/// Changes the file, and waits until that is taken in.
fn edit(place: &Place, running: &Running, jobs: &str) {
    place.edit(&format!("{jobs}[cancel] echo taken in\n"));
    running.wait_for("cancelled before start: echo taken in");
}

#[test]
fn lines_that_wait_may_be_deleted_moved_and_replaced() {
    let line = |no: u32| format!("[vram=20G] echo {no} >> order\n");
    let (place, running) = with_waiting(&[2, 3, 4, 5].map(line).concat());
    edit(&place, &running, &[HOLDS, &line(5), &line(3), &line(6)].concat());
    place.write("go", "");
    running.wait().exits(0).says("all 5 jobs done — 4 ok, 0 failed, 1 cancelled");
    assert_eq!(
        place.read("order"),
        "5\n3\n6\n",
        "the second is gone, and the sixth is in the fourth's place"
    );
}

#[test]
fn the_block_of_a_line_that_waits_may_be_changed() {
    let (place, running) = with_waiting("[vram=20G] echo b\n");
    place.edit(&format!("{HOLDS}[vram=2G] echo b\n"));
    running.wait_for("job 2 started on gpu [0] (2/2 dispatched, declared 2048 MiB/gpu) — echo b");
    running.wait_for("job 2 finished [OK]");
    place.write("go", "");
    running.wait().exits(0);
}

#[test]
fn the_block_of_a_line_that_runs_or_is_over_changes_nothing() {
    let over = "echo over >> runs\n";
    let place = Place::new(&format!("[vram=1G] {over}"));
    place.run(&["--gpus", "0"]).exits(0);
    place.edit(&format!("[vram=1G] {over}{HOLDS}"));
    let running = place.start(place.queue(&["--gpus", "0"]));
    wait_until("the second runs", LONG, || place.read("runs") == "over\nran\n");
    let holds = HOLDS.replace("vram=20G", "vram=1G timeout=0.1s");
    // There would be room for a third one if the second needed less from now on.
    let third = "[vram=10G] echo third\n";
    edit(&place, &running, &format!("[vram=2G retries=3] {over}{holds}{third}"));
    wait_until("the third waits", LONG, || place.board().contains("pending vram 10240 ("));
    place.write("go", "");
    let done = running.wait();
    done.exits(0).says("job 2 finished [OK]").says("job 3 finished [OK]");
    assert!(!done.out.contains("TIMEOUT"), "{}", done.out);
    assert_eq!(place.read("runs"), "over\nran\n");
}

#[test]
fn a_jobs_file_that_is_gone_is_told_and_the_queue_stays() {
    let (place, running) = with_waiting("[vram=20G] echo b\n");
    fs::remove_file(place.path("jobs.txt")).unwrap();
    running
        .wait_for("WARN  jobs file unreadable, keeping previous queue: cannot read jobs.txt: No such file");
    assert!(place.board().contains("1 running, 1 pending"), "{}", place.board());
    place.edit(&format!("{HOLDS}[vram=20G] echo b\n"));
    running.wait_for("jobs file is readable again");
    place.write("go", "");
    running.wait().exits(0).says("all 2 jobs done — 2 ok");
}

#[test]
fn a_comment_at_its_end_makes_a_line_run_again() {
    let place = Place::new("echo ran >> runs\n");
    place.run(&[]).exits(0);
    place.edit("echo ran >> runs # again\n");
    place.run(&[]).exits(0).says("job 2 finished [OK]");
    assert_eq!(place.read("runs"), "ran\nran\n");
}

#[test]
fn a_job_that_ctrl_c_ended_is_run_again_and_what_was_done_is_not() {
    let place = Place::new("echo done >> runs\necho ran >> runs; until [ -e go ]; do sleep 0.05; done\n");
    let running = place.start(place.queue(&["--gpus", "0"]));
    wait_until("the second runs", LONG, || place.read("runs") == "done\nran\n");
    running.signal("INT");
    let done = running.wait();
    done.exits(130).says("job 2 was interrupted — it is run again next time");
    assert!(!done.out.contains("crash"), "{}", done.out);
    place.write("go", "");
    place
        .run(&["--gpus", "0"])
        .exits(0)
        .says("job 1 already completed ok — skipping (journal): echo done >> runs")
        .says("job 2 started on gpu [0]");
    assert_eq!(place.read("runs"), "done\nran\nran\n");
}
