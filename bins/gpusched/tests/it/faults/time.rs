//! Nothing that happens waits for the next look at the GPUs.

use std::time::{Duration, Instant};

use crate::place::Place;
use crate::smi::gpu;

#[test]
fn short_jobs_follow_each_other_without_a_gap() {
    let place = Place::new(&"sleep 0.2\n".repeat(4));
    let mut queue = place.program();
    queue.args(["jobs.txt", "--sim", "1"]);
    let start = Instant::now();
    place.start(queue).wait().exits(0).says("all 4 jobs done — 4 ok").says("poll every 5s");
    // With a look between two of them it would be fifteen seconds.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_timeout_is_kept_to_the_second_whatever_the_poll() {
    let place = Place::new("[timeout=1s] trap 'echo term > term' TERM; while :; do sleep 0.1; done\n");
    let mut queue = place.program();
    queue.args(["jobs.txt", "--sim", "1"]);
    let running = place.start(queue);
    running.wait_for("job 1 started");
    let start = Instant::now();
    running.wait_for("WARN  job 1 TIMEOUT after 1s (limit 1s) — SIGTERM");
    assert!(start.elapsed() < Duration::from_secs(4), "SIGTERM after {:?}", start.elapsed());
    let done = running.wait();
    assert!(start.elapsed() < Duration::from_secs(15), "over after {:?}", start.elapsed());
    done.exits(1).says("WARN  job 1 did not exit after SIGTERM — SIGKILL").says("job 1 finished [TIMEOUT]");
    assert_eq!(place.read("term"), "term\n");
}

#[test]
fn a_timeout_is_kept_while_nvidia_smi_hangs() {
    let place = Place::new("[timeout=1s] sleep 600\n");
    place.set_gpus(&[gpu(0, 0)], "");
    let Some(queue) = place.queue_on_smi(&[]) else { return };
    let running = place.start(queue);
    running.wait_for("job 1 started");
    let start = Instant::now();
    place.set_gpus(&[gpu(0, 0)], r#""delay_ms":8000"#);
    running.wait().exits(1).says("TIMEOUT after 1s").says("job 1 finished [TIMEOUT]");
    assert!(start.elapsed() < Duration::from_secs(6), "over after {:?}", start.elapsed());
}

#[test]
fn a_large_job_is_not_overtaken_for_ever() {
    let large = "[vram=20G] echo large >> order\n";
    let small = |no: usize| format!("[vram=4G] echo {no} >> order; sleep 0.3\n");
    let jobs: String = (0..13).map(small).collect();
    let (first, rest) = jobs.split_at(small(0).len());
    let place = Place::new(&format!("{first}{large}{rest}"));
    place.run(&["--gpus", "0", "--overtakes", "4"]).exits(0).says("is kept free for it");
    let order = place.read("order");
    let before = order.lines().position(|line| line == "large").unwrap();
    assert!(before <= 6, "{before} jobs were started before it:\n{order}");
}
