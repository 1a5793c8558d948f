//! Its jobs file.

use std::os::unix::fs::MetadataExt as _;

use crate::place::Place;

#[test]
fn lines_are_read_as_the_python_tool_reads_them() {
    let place = Place::new(
        "\u{feff}[vram=100]true\n\n# no job\n   # nor this\n[vram=2G]echo a\r\n\t[VRAM=1.5gib]  echo b # said\n[vram=300] echo c\n\
         [vram=300m\tvram=400MB] echo d\n[] [ -n e ] && echo e\n[vram=1g] [gpus=2] echo f || echo second\n",
    );
    place
        .run(&[])
        .exits(0)
        .says("7 jobs queued")
        .says("declared 100 MiB/gpu) — true\n")
        .says("declared 2048 MiB/gpu) — echo a\n")
        .says("declared 1536 MiB/gpu) — echo b # said\n")
        .says("declared 300 MiB/gpu) — echo c\n")
        .says("declared 400 MiB/gpu) — echo d\n")
        .says("undeclared (exclusive idle GPU)) — [ -n e ] && echo e\n")
        .says("declared 1024 MiB/gpu) — [gpus=2] echo f || echo second\n");
    let last = place.log("job007_gpu0") + &place.log("job007_gpu1");
    assert!(last.ends_with("second\n"), "{last}");
}

#[test]
fn what_is_no_attribute_is_told_in_the_words_of_the_python_tool() {
    let errors = [
        ("[vram=-5]", "cannot parse vram value '-5' (use MiB or a G/GiB suffix)"),
        ("[vram=1e3]", "cannot parse vram value '1e3' (use MiB or a G/GiB suffix)"),
        ("[vram=1T]", "cannot parse vram value '1T' (use MiB or a G/GiB suffix)"),
        ("[vram=0.4]", "vram must be positive, got '0.4'"),
        ("[timeout=1h30m]", "cannot parse duration '1h30m' (use s/m/h/d)"),
        ("[timeout=0]", "timeout must be positive, got '0'"),
        ("[retries=x]", "retries must be an integer, got 'x'"),
        ("[retries=-1]", "retries must be >= 0, got -1"),
        ("[mem=8G]", "unknown attribute 'mem' (known: vram, gpus, timeout, retries, cancel, "),
        ("[cancel=1]", "unknown attribute 'cancel' (known: vram, gpus, timeout, retries, cancel, "),
        ("[exclusive]", "malformed attribute 'exclusive' (expected key=value, or bare 'cancel')"),
        ("[vram = 8G]", "malformed attribute 'vram' (expected key=value, or bare 'cancel')"),
        ("[ -f x ] &&", "malformed attribute '-f' (expected key=value, or bare 'cancel')"),
        ("[vram=8G", "unterminated '[...]' attribute block"),
        // Parts of a GPU are more than it knew, so these two are not its words.
        ("[gpus=two]", "gpus must be a number such as 2 or 0.5, got 'two'"),
        ("[gpus=0]", "gpus must be positive, got '0'"),
    ];
    let place = Place::new("");
    for (block, words) in errors {
        place.write("jobs.txt", &format!("{block} echo a\n"));
        let done = place.run(&[]);
        let start = format!("gpusched: jobs file line 1: {words}");
        assert!(done.exits(2).err.starts_with(&start), "{block}: {}", done.err);
    }
    place.write("jobs.txt", "[vram=8G]\n");
    let words = "gpusched: jobs file line 1: attribute block present but command is empty";
    assert!(place.run(&[]).exits(2).err.starts_with(words));
}

#[test]
fn only_a_line_with_a_timeout_is_ended_by_the_clock() {
    let place = Place::new("[timeout=0.01M] sleep 30\nsleep 1.5; echo slow\n");
    place
        .run(&[])
        .exits(1)
        .says("WARN  job 1 TIMEOUT after ")
        .says("s (limit 0.6s) — SIGTERM")
        .says("job 1 finished [TIMEOUT]")
        .says("job 2 finished [OK]")
        .says("  failed: job 1 (timeout, exit -15) — sleep 30");
    assert_eq!(place.log("job002_gpu1"), "slow\n");
}

#[test]
fn equal_lines_are_jobs_of_their_own() {
    let place = Place::new("echo ran >> runs\necho ran >> runs\n");
    place.run(&[]).exits(0).says("job 1 finished [OK]").says("job 2 finished [OK]");
    place.run(&[]).exits(0).says("job 1 already completed ok").says("job 2 already completed ok");
    assert_eq!(place.read("runs"), "ran\nran\n");
}

#[test]
fn a_job_keeps_the_number_it_got_at_first_sight() {
    let place = Place::new("echo a\necho b\n");
    place.run(&[]).exits(0).says("job 1 finished").says("job 2 finished");
    place.edit("echo c\necho b\n[cancel] echo d\n");
    place
        .run(&[])
        .exits(0)
        .says("job 2 already completed ok — skipping (journal): echo b")
        .says("job 3 started on gpu [0] (2/3 dispatched, undeclared (exclusive idle GPU)) — echo c")
        .says("job 4 cancelled before start: echo d");
    place.edit("echo a\n");
    place.run(&[]).exits(0).says("job 1 already completed ok — skipping (journal): echo a");
}

#[test]
fn the_jobs_file_is_never_written() {
    let place = Place::new("[vram=1G retries=1] echo CUDA out of memory; exit 1\n[cancel] true\ntrue\n");
    let state = || {
        let metadata = place.path("jobs.txt").metadata().unwrap();
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        (place.read("jobs.txt"), metadata.ino(), metadata.mode(), seconds, nanoseconds)
    };
    let before = state();
    place.run(&[]).exits(1);
    place.run(&["--retry-failed"]).exits(1);
    assert_eq!(state(), before);
}
