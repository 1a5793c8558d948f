//! The queue at work: placement, failures, edits.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use e2e::wait_until;

use crate::place::{LONG, Place, is_there};
use crate::smi::gpu;

#[test]
fn the_example_of_the_documents_goes_well() {
    let place = Place::new("");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/jobs.txt");
    let mut command = place.program();
    command.arg(&example).args(["--sim", "2", "--poll", "0.5"]);
    let done = place.start(command).wait();
    done.exits(0)
        .says("8 jobs queued")
        .says("discovered GPUs: [0, 1]")
        .says("job 2 started on gpu [0]")
        .says("job 4 EXCEEDS declared VRAM")
        .says("UNDER-DECLARED (+27%); raise it")
        .says("over-declared (-56%)")
        .says("↻ job 5 hit CUDA OOM (attempt 1/3) — requeued with vram 1024 → ")
        .says("job 6 started on gpu [0,1]")
        .says("undeclared (exclusive idle GPU)")
        .says("all 8 jobs done — 8 ok, 0 failed, 1 under-declared vram, ");
    assert!(!done.out.contains("peak vram n/a"), "a job was not seen:\n{}", done.out);
}

#[test]
fn the_exit_code_is_the_largest_of_a_failed_job() {
    let place = Place::new("exit 3\nexit 7\nexit 0\nkill -9 $$\n");
    let done = place.run(&[]);
    done.exits(7)
        .says("[EXIT 3]")
        .says("[EXIT 7]")
        .says("[EXIT -9]")
        .says("all 4 jobs done — 1 ok, 3 failed");
    Place::new("exit 255\nexit 9\n").run(&[]).exits(255);
    Place::new("kill -9 $$\n").run(&[]).exits(1).says("  failed: job 1 (failed, exit -9)");
}

#[test]
fn jobs_get_their_gpus_their_directory_and_no_input() {
    let words = "$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $GPUSCHED_JOB";
    let place = Place::new(&format!("[vram=1G gpus=2] echo {words}; cat; pwd; echo odd >&2\n"));
    place.run(&[]).exits(0).says("job 1 started on gpu [0,1] (1/1 dispatched, declared 1024 MiB/gpu)");
    let dir = place.path("").canonicalize().unwrap();
    assert_eq!(place.log("job001_gpu0-1"), format!("0,1 PCI_BUS_ID 1\n{}\nodd\n", dir.display()));
}

#[test]
fn what_can_never_run_fails_at_once() {
    let place = Place::new("[gpus=3] echo a\n[vram=24G] echo b\n[vram=23.5G] echo c\n");
    let done = place.run(&[]);
    done.exits(1)
        .says("WARN  job 1 INFEASIBLE — needs 3 GPUs but only 2 are usable; marking failed: echo a")
        .says("WARN  job 2 INFEASIBLE — declared 24576 MiB + 512 MiB margin exceeds total capacity")
        .says("job 3 finished [OK]")
        .says("  failed: job 1 (infeasible) — echo a");
}

#[test]
fn out_of_memory_is_tried_again_with_more() {
    let place = Place::new(
        "[vram=2G retries=1] gpusched simjob --vram 3000 --ramp 0.5 --hold 0.2 --oom-once marker\n",
    );
    place
        .run(&[])
        .exits(0)
        .says("↻ job 1 hit CUDA OOM (attempt 1/2) — requeued with vram 2048 → ")
        .says("job 1 finished [OK]");
    assert!(place.log("job001_gpu0").contains("CUDA out of memory"));
    let place = Place::new("echo 'RuntimeError: CUDA out of memory. Tried to allocate 2 MiB'; exit 5\n");
    place.run(&["--oom-retries", "2"]).exits(5).says("attempt 2/3").says("[OOM (exit 5, retries exhausted)]");
}

#[test]
fn a_job_that_takes_too_long_is_ended_with_all_it_started() {
    let place = Place::new(
        "[timeout=0.5s] sh -c 'trap \"\" TERM; echo $$ > pid; while :; do sleep 0.1; done' & sleep 30\n",
    );
    place
        .run(&[])
        .exits(1)
        .says("WARN  job 1 TIMEOUT after ")
        .says("(limit 0.5s) — SIGTERM")
        .says("job 1 finished [TIMEOUT]");
    let straggler = format!("/proc/{}", place.read("pid").trim());
    wait_until("the one that ignores SIGTERM is gone", LONG, || !is_there(straggler.as_ref()));
}

#[test]
fn lines_are_followed_while_the_queue_runs() {
    let place = Place::new("echo a\n");
    let running = place.start(place.queue(&["--watch"]));
    running.wait_for("queue drained — watching jobs file for new lines (Ctrl-C to stop)");
    place.write("jobs.txt", "echo a\necho b\n");
    running.wait_for("job 2 finished [OK]");
    place.edit("echo a\n[vram=oops] echo b\necho c\n");
    running.wait_for(
        "WARN  jobs file unreadable, keeping previous queue: line 2: cannot parse vram value 'oops'",
    );
    place.edit("echo a\necho b\necho c\n");
    running.wait_for("jobs file is readable again");
    running.wait_for("job 3 finished [OK]");
    running.signal("INT");
    running.wait().exits(130);
}

#[test]
fn cancel_ends_a_running_job_and_drops_a_waiting_one() {
    let place = Place::new("[gpus=2] sleep 30\necho a\n");
    let running = place.start(place.queue(&[]));
    running.wait_for("job 1 started");
    place.edit("[gpus=2] sleep 30\n[cancel] echo a\n");
    running.wait_for("job 2 cancelled before start: echo a");
    place.edit("[gpus=2 cancel] sleep 30\n[cancel] echo a\n");
    running
        .wait()
        .exits(0)
        .says("job 1 CANCELLED by user")
        .says("job 1 finished [CANCELLED]")
        .says("2 cancelled");
}

#[test]
fn the_new_text_of_a_running_line_is_not_run() {
    let place = Place::new("until [ -e go ]; do sleep 0.05; done\n");
    let running = place.start(place.queue(&[]));
    running.wait_for("job 1 started");
    place.edit("touch never\n");
    running.wait_for("WARN  line 1 was job 1, which still runs: its new text is not run");
    place.write("go", "");
    running.wait().exits(0);
    assert!(!is_there(&place.path("never")));
}

#[test]
fn the_board_says_what_runs_waits_and_why() {
    let place =
        Place::new("[vram=20G] until [ -e go ]; do sleep 0.05; done\n[vram=20G gpus=2] echo b\nexit 4\n");
    let running = place.start(place.queue(&[]));
    wait_until("the board shows all three", LONG, || {
        let board = place.board();
        board.contains("1 running, 1 pending, 1 done")
            && board.contains("▶ job 1   gpu[0] ")
            && board.contains("· job 2   pending vram 20480 gpus 2 (")
            && board.contains("✗ job 3   failed (exit 4) — exit 4")
    });
    place.write("go", "");
    running.wait().exits(4);
    assert!(place.board().contains("0 running, 0 pending, 3 done"), "{}", place.board());
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_queue() {
    let place = Place::new("echo a >> ran\nsleep 0.2; echo b >> ran\necho c >> ran\n");
    let mut child = place.queue(&["--gpus", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("3 jobs queued"), "{line}");
    assert!(child.wait().unwrap().success());
    assert_eq!(place.read("ran"), "a\nb\nc\n");
}

#[test]
fn gpus_are_read_from_nvidia_smi_too() {
    let place = Place::new("[vram=20G] echo $CUDA_VISIBLE_DEVICES\n");
    place.set_gpus(&[gpu(0, 9000), gpu(1, 4)], "");
    let Some(queue) = place.queue_on_smi(&[]) else { return };
    let done = place.start(queue).wait();
    done.exits(0).says("discovered GPUs: [0, 1]").says("job 1 started on gpu [1]");
    assert_eq!(place.log("job001_gpu1"), "1\n");
}
