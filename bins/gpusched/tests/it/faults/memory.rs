//! Out of GPU memory, and whose memory is whose.

use e2e::{program, wait_until};

use crate::place::{LONG, Place};

#[test]
fn what_an_earlier_attempt_printed_is_not_held_against_the_next() {
    let place = Place::new(
        "[vram=1G retries=3] if [ -e once ]; then exit 7; fi; touch once; \
         echo 'RuntimeError: CUDA out of memory.'; exit 1\n",
    );
    let done = place.run(&[]);
    done.exits(7).says("↻ job 1 hit CUDA OOM (attempt 1/4)").says("job 1 finished [EXIT 7]");
    assert_eq!(done.out.matches("CUDA OOM").count(), 1, "{}", done.out);
}

#[test]
fn a_retry_asks_for_no_more_than_the_largest_gpu_has() {
    let place = Place::new("[vram=20G retries=2] echo ran >> runs; echo CUDA out of memory; exit 1\n");
    let done = place.run(&[]);
    done.exits(1)
        .says("(attempt 1/3) — requeued with vram 20480 → 24064")
        .says(", alone on its GPU")
        .says("(attempt 2/3)")
        .says("job 1 finished [OOM (exit 1, retries exhausted)]");
    assert!(!done.out.contains("INFEASIBLE"), "{}", done.out);
    assert_eq!(place.read("runs"), "ran\nran\nran\n");
}

#[test]
fn no_retries_on_the_line_overrides_the_flag() {
    let place = Place::new("[vram=1G retries=0] echo ran >> runs; echo CUDA out of memory; exit 1\n");
    place.run(&["--oom-retries", "2"]).exits(1).says("  failed: job 1 (failed_oom, exit 1)");
    assert_eq!(place.read("runs"), "ran\n");
}

#[test]
fn a_job_without_declaration_stays_alone_after_it_ran_out_of_memory() {
    let job = "[retries=2] gpusched simjob --vram 5000 --ramp 0.2 --hold 0.2 --oom-once marker || exit 1; \
               until [ -e go ]; do sleep 0.05; done\n";
    let place = Place::new(job);
    let running = place.start(place.queue(&["--gpus", "0"]));
    let alone = "undeclared (exclusive idle GPU)";
    wait_until("its second attempt runs", LONG, || running.out().matches(alone).count() == 2);
    place.edit(&format!("{job}[vram=2G] echo small\n"));
    wait_until("the other one waits", LONG, || {
        let board = place.board();
        board.contains("job 2   pending vram 2048 (") && board.contains("held by a job that has it to itself")
    });
    place.write("go", "");
    running.wait().exits(0).says("↻ job 1 hit CUDA OOM (attempt 1/3)").says("all 2 jobs done — 2 ok");
}

#[test]
fn what_a_job_uses_in_a_session_of_its_own_is_its_own_use() {
    let Some(setsid) = program("setsid") else {
        eprintln!("SKIPPED: there is no program 'setsid'; tests/run looks for it");
        return;
    };
    let job = format!("{} -w gpusched simjob --vram 10000 --ramp 0 --hold 600\n", setsid.display());
    let place = Place::new(&format!("[vram=10G] {job}"));
    let running = place.start(place.queue(&["--gpus", "0"]));
    wait_until("its use is seen", LONG, || place.board().contains("gpu0:10000 MiB (peak 10000)"));
    // There is room beside its declaration, but not beside both: what it said
    // it would use, and what it uses.
    place.edit(&format!("[vram=10G] {job}[vram=12G] echo beside\n"));
    running.wait_for("job 2 finished [OK]");
    place.edit(&format!("[vram=10G cancel] {job}[vram=12G] echo beside\n"));
    running
        .wait()
        .exits(0)
        .says("peak vram gpu0:10000 MiB")
        .says("all 2 jobs done — 1 ok, 0 failed, 1 cancelled");
}

#[test]
fn processes_that_a_job_leaves_behind_are_told_and_keep_their_memory() {
    let left = "(gpusched simjob --vram 9000 --ramp 0 --hold 2; echo over > over) & sleep 1";
    let place = Place::new(&format!("{left}\n[vram=20G] cat over\n"));
    place
        .run(&["--gpus", "0"])
        .exits(0)
        .says("job 1 finished [OK]")
        .says("WARN  job 1 left processes behind — their memory counts as used until they end");
    assert_eq!(place.log("job002_gpu0"), "over\n", "it was started before there was room for it");
}
