//! What its jobs find, and what is seen of them.

use e2e::wait_until;

use super::uses;
use crate::place::{LONG, Place};

#[test]
fn a_job_is_a_shell_in_a_session_of_its_own_with_our_environment() {
    let place = Place::new("[vram=1G] echo $0 $OURS; set -- $(cat /proc/$$/stat); echo $1 $5 $6\n");
    let mut queue = place.queue(&[]);
    queue.env("OURS", "inherited");
    place.start(queue).wait().exits(0);
    let log = place.log("job001_gpu0");
    let (first, second) = log.trim_end().split_once('\n').unwrap();
    assert_eq!(first, "/bin/sh inherited");
    let ids: Vec<&str> = second.split(' ').collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]), "pid, group and session: {second}");
}

#[test]
fn what_a_job_has_started_uses_counts_as_its_own_on_each_gpu() {
    let both = format!(
        "gpusched simjob --vram 1000 --ramp 0 --hold 600 & other=$!; {}; kill $other",
        uses(1000, 2000)
    );
    let place = Place::new(&format!("[vram=2G gpus=2] {both}\n"));
    place
        .run(&[])
        .exits(0)
        .says("peak vram gpu0:2000 MiB, gpu1:2000 MiB | declared 2048 MiB → within ±10% | avg gpu util ");
}

#[test]
fn attempts_on_one_gpu_follow_each_other_in_one_log() {
    let place = Place::new("[vram=1G retries=2] echo $GPUSCHED_ATTEMPT: CUDA out of memory; exit 1\n");
    place.run(&[]).exits(1);
    let log = place.log("job001_gpu0");
    assert_eq!(log.lines().count(), 3, "{log}");
    place.run(&["--retry-failed"]).exits(1);
    assert!(place.log("job001_gpu0").starts_with(&log), "a later run writes behind it");
}

#[test]
fn a_job_that_reports_as_those_of_the_python_tool_do_is_seen() {
    let place = Place::new(
        "[vram=4G] printf '{\"pid\":%d,\"usage\":{\"0\":3800}}' $$ > \"$GPUSCHED_SIM_DIR/$$.json\"; \
         until [ -e go ]; do sleep 0.05; done\n",
    );
    let mut queue = place.queue(&[]);
    queue.env("GPUSCHED_SIM_DIR", place.path("elsewhere"));
    let running = place.start(queue);
    wait_until("its use is seen", LONG, || place.board().contains("gpu0:3800 MiB (peak 3800)"));
    place.write("go", "");
    running.wait().exits(0).says("peak vram gpu0:3800 MiB | declared 4096 MiB → within ±10%");
    assert!(place.path("elsewhere").is_dir());
}

#[test]
fn simjob_takes_the_words_of_the_one_of_the_python_tool() {
    let job = "gpusched simjob --vram 900 --ramp 0.1 --hold 0.5 --exit-code 6 --oom-once marker";
    let place = Place::new(&format!("[vram=1G retries=1] {job}\n"));
    place.run(&[]).exits(6).says("↻ job 1 hit CUDA OOM (attempt 1/2)").says("job 1 finished [EXIT 6]");
    // Without words it takes half a second to grow and holds for one.
    let place = Place::new("[vram=1G] gpusched simjob --vram 1000\n");
    place.run(&[]).exits(0).says("finished [OK] in ").says("peak vram gpu0:1000 MiB");
    assert!(
        place.log("job001_gpu0").contains("within 0.5 s, holds it for 1 s"),
        "{}",
        place.log("job001_gpu0")
    );
}
