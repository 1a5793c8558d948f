//! Its retries.

use e2e::wait_until;

use super::uses;
use crate::place::{LONG, Place};

#[test]
fn what_it_took_for_a_lack_of_memory_is_one_still() {
    let texts = [
        "RuntimeError: CUDA out of memory. Tried to allocate 2 MiB",
        "torch.OutOfMemoryError: no room",
        "CUDA error: out of memory",
        "CUDA_ERROR_OUT_OF_MEMORY",
        "cudaErrorMemoryAllocation",
        "RESOURCE_EXHAUSTED: no room",
        "cuda OUT of memory",
        // These it did not know.
        "RuntimeError: HIP out of memory. Tried to allocate 2.00 MiB",
        "CUBLAS_STATUS_ALLOC_FAILED",
    ];
    let others = ["echo std::bad_alloc; exit 1\n", "echo OutOfMemoryError; exit 1\n"];
    // What it said long before its end is no reason.
    let long_ago = "echo CUDA out of memory; head -c 20000 /dev/zero | tr '\\0' x; exit 1\n";
    let lines: Vec<String> =
        texts.iter().map(|text| format!("[vram=1G retries=1] echo '{text}'; exit 1\n")).collect();
    let others = others.iter().chain([&long_ago]).map(|line| format!("[vram=1G retries=1] {line}"));
    let place = Place::new(&(lines.concat() + &others.collect::<String>()));
    let done = place.run(&[]);
    done.exits(1).says("all 12 jobs done — 0 ok, 12 failed");
    for no in 1..=texts.len() {
        done.says(&format!("↻ job {no} hit CUDA OOM (attempt 1/2) — requeued with vram 1024 → 1280 MiB"))
            .says(&format!("  failed: job {no} (failed_oom, exit 1)"));
    }
    for no in texts.len() + 1..=12 {
        done.says(&format!("job {no} finished [EXIT 1]"));
    }
}

#[test]
fn a_retry_asks_for_a_quarter_more_than_the_peak_or_the_declaration() {
    let job = format!("[ -e once ] && exit; touch once; {}", uses(2000, 2000));
    let place = Place::new(&format!("[vram=1G retries=1] {job}; echo CUDA out of memory; exit 1\n"));
    place.run(&[]).exits(0).says("— requeued with vram 1024 → 2500 MiB").says("declared 2500 MiB/gpu");
}

#[test]
fn what_a_retry_asks_for_outlives_the_scheduler_and_edits() {
    let job = "[ -e once ] || { touch once; echo CUDA out of memory; exit 1; }; echo ran >> runs; \
               until [ -e go ]; do sleep 0.05; done\n";
    let place = Place::new(&format!("[vram=2G retries=1] {job}"));
    let running = place.start(place.queue(&[]));
    wait_until("the second attempt runs", LONG, || place.read("runs") == "ran\n");
    running.signal("INT");
    running.wait().exits(130).says("(attempt 1/2)").says("declared 2560 MiB/gpu");
    place.edit(&format!("[vram=1G retries=1] {job}"));
    place.write("go", "");
    place.run(&[]).exits(0).says("declared 2560 MiB/gpu");
    assert_eq!(place.read("runs"), "ran\nran\n");
}

#[test]
fn a_failure_that_is_not_about_memory_is_final() {
    let place = Place::new("[vram=1G retries=5] echo ran >> runs; exit 3\n");
    place.run(&["--oom-retries", "5"]).exits(3).says("job 1 finished [EXIT 3]");
    assert_eq!(place.read("runs"), "ran\n");
}
