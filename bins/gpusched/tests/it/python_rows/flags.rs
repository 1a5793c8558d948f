//! Its flags.

use std::process::Command;

use e2e::wait_until;

use super::uses;
use crate::place::{LONG, Place, is_there};
use crate::smi::gpu;

/// Its flags, and the shortest way to write each.
const FLAGS: [(&str, &str); 13] = [
    ("--gpus", "--g=0"),
    ("--idle-threshold", "--i=200"),
    ("--margin", "--mar=512"),
    ("--tolerance", "--t=0.10"),
    ("--poll", "--p=0.1"),
    ("--spike-buffer", "--sp=0.10"),
    ("--exclusive", "--e"),
    ("--watch", "--w"),
    ("--oom-retries", "--oo=0"),
    ("--fresh", "--fr"),
    ("--log-dir", "--log=gpusched_logs"),
    ("--verbose", "--verb"),
    ("--sim", "--si=2"),
];

/// Runs the program with these words alone.
fn ask(words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gpusched")).args(words).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn help_has_every_flag_of_the_python_tool_and_version_the_name() {
    for flag in ["--help", "-h"] {
        let (code, text) = ask(&[flag]);
        assert_eq!(code, Some(0));
        let missing: Vec<_> = FLAGS.iter().filter(|(long, _)| !text.contains(long)).collect();
        assert!(missing.is_empty(), "{missing:?} not in\n{text}");
        assert!(text.contains("-v, --verbose") && text.contains("--version"), "{text}");
    }
    assert_eq!(ask(&[]).0, Some(2), "there is no jobs file");
    let (code, text) = ask(&["--version"]);
    assert_eq!((code, text.split(' ').next()), (Some(0), Some("gpusched")));
}

#[test]
fn flags_may_be_cut_short_and_stand_before_the_file() {
    let place = Place::new("echo a\n");
    let mut command = place.program();
    command.args(FLAGS.iter().map(|(_, short)| *short).filter(|short| *short != "--w")).arg("jobs.txt");
    place.start(command).wait().exits(0).says("job 1 finished [OK]").says("poll every 0.1s");
    for (flag, short) in FLAGS {
        let long = short.replacen(short.split('=').next().unwrap(), flag, 1);
        let mut command = place.program();
        command.args([&long, "missing.txt"]);
        let words = place.start(command).wait().err;
        assert!(words.starts_with("gpusched: cannot read jobs file: missing.txt"), "{long}: {words}");
    }
    // There are more flags here that begin so.
    for short in ["--f", "--m=512", "--ma=512", "--o=0", "--l=gpusched_logs", "--lo=gpusched_logs"] {
        let done = place.run(&[short]);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{short}");
    }
}

#[test]
fn of_a_flag_given_twice_the_last_one_counts() {
    let place = Place::new("true\n");
    let done = place.run(&["-v", "--gpus", "0", "-v", "--poll", "7", "--poll", "0.2", "--gpus", "1"]);
    done.exits(0).says("poll every 0.2s").says("using GPUs: [1]");
}

#[test]
fn a_file_without_jobs_can_be_watched() {
    let place = Place::new("# nothing yet\n");
    let running = place.start(place.queue(&["--watch"]));
    running.wait_for("0 jobs queued");
    running.wait_for("queue drained — watching jobs file for new lines (Ctrl-C to stop)");
    place.edit("echo a\n");
    running.wait_for("job 1 finished [OK]");
    let drained = || running.out().matches("queue drained").count();
    wait_until("it is told that it is drained again", LONG, || drained() == 2);
    running.signal("INT");
    let done = running.wait();
    done.exits(130);
    assert_eq!(done.out.matches("queue drained").count(), 2, "once each time\n{}", done.out);
}

#[test]
fn the_gpus_that_are_named_are_the_only_ones() {
    let place = Place::new("[vram=20G] sleep 0.3\n[vram=20G] true\n");
    let done = place.run(&["--gpus", "1"]);
    done.exits(0).says("using GPUs: [1]");
    assert_eq!(done.out.matches(" started on gpu [1] ").count(), 2, "{}", done.out);
    assert!(!done.out.contains("discovered GPUs"), "{}", done.out);
    place.run(&["--gpus", "", "--fresh"]).exits(0).says("discovered GPUs: [0, 1]");
}

#[test]
fn a_gpu_is_idle_below_the_threshold_and_not_at_it() {
    for (flags, used) in [(&[][..], 200), (&["--idle-threshold", "300"][..], 300)] {
        let place = Place::new("true\n");
        place.set_gpus(&[gpu(0, used), gpu(1, used - 1)], "");
        let Some(queue) = place.queue_on_smi(flags) else { return };
        place.start(queue).wait().exits(0).says("job 1 started on gpu [1]");
    }
}

#[test]
fn the_margin_is_added_and_what_fits_exactly_fits() {
    for (flags, margin) in [(&[][..], 512), (&["--margin", "1000"][..], 1000)] {
        let fits = 24_576 - margin;
        let place = Place::new(&format!("[vram={fits}] true\n[vram={}] false\n", fits + 1));
        place.run(flags).exits(1).says("job 1 finished [OK]").says(&format!(
            "WARN  job 2 INFEASIBLE — declared {} MiB + {margin} MiB margin exceeds total capacity of 1 \
             required GPU(s); marking failed: false",
            fits + 1
        ));
    }
}

#[test]
fn how_far_from_its_declaration_a_job_may_be_is_the_tolerance() {
    let use_of = |mib| format!("[vram=1000] {}\n", uses(mib, mib));
    let place = Place::new(&(use_of(1060) + &use_of(940)));
    let done = place.run(&["--exclusive"]);
    done.exits(0)
        .says("peak vram gpu0:1060 MiB | declared 1000 MiB → within ±10%")
        .says("peak vram gpu1:940 MiB | declared 1000 MiB → within ±10%")
        .says("0 under-declared vram, 0 over-declared vram");
    assert!(!done.out.contains("EXCEEDS"), "{}", done.out);
    let done = place.run(&["--exclusive", "--fresh", "--tolerance", "0.05"]);
    done.exits(0)
        .says(
            "WARN  job 1 EXCEEDS declared VRAM: 1060 MiB observed on gpu 0 vs 1000 MiB declared (+6%) — \
             neighbors may OOM",
        )
        .says("declared 1000 MiB → UNDER-DECLARED (+6%); raise it")
        .says("declared 1000 MiB → over-declared (-6%); lowering it frees packing headroom")
        .says("1 under-declared vram, 1 over-declared vram");
    assert_eq!(done.out.matches("EXCEEDS").count(), 1, "told once\n{}", done.out);
}

#[test]
fn a_job_that_exceeds_its_declaration_is_held_to_its_peak_and_the_buffer() {
    let job = "gpusched simjob --vram 10000 --ramp 0 --hold 600\n";
    let start = |flags: &[&str]| {
        let place = Place::new(&format!("[vram=2G] {job}"));
        let running = place.start(place.queue(&[&["--gpus", "0"], flags].concat()));
        wait_until("its use is seen", LONG, || place.board().contains("(peak 10000)"));
        place.edit(&format!("[vram=2G] {job}[vram=13500] echo beside\n"));
        (place, running)
    };
    let (place, running) = start(&[]);
    // 24576 less 10000 and a tenth of it.
    let why = "needs 13500 + 512 MiB; GPU 0 comes closest with 13576 MiB free";
    wait_until(why, LONG, || place.board().contains(why));
    running.signal("INT");
    running.wait().exits(130);
    let (_place, running) = start(&["--spike-buffer", "0"]);
    running.wait_for("job 2 finished [OK]");
    running.signal("INT");
    running.wait().exits(130);
}

#[test]
fn exclusive_gives_each_job_a_gpu_of_its_own() {
    let place = Place::new("[vram=1G] until [ -e go ]; do sleep 0.05; done\n".repeat(3).as_str());
    let running = place.start(place.queue(&["--exclusive"]));
    wait_until("two run", LONG, || place.board().contains("2 running, 1 pending"));
    running.wait_for("job 1 started on gpu [0]");
    running.wait_for("job 2 started on gpu [1]");
    place.write("go", "");
    running.wait().exits(0).says("all 3 jobs done — 3 ok");
}

#[test]
fn the_log_directory_is_made_where_it_is_asked_for() {
    let place = Place::new("echo a\n");
    place.run(&["--log-dir", "far/away/logs"]).exits(0).says("status board: far/away/logs/status.txt");
    for file in ["journal.jsonl", "status.txt", "job001_gpu0.log"] {
        assert!(is_there(&place.path("far/away/logs").join(file)), "{file}");
    }
    assert!(!is_there(&place.path("gpusched_logs")));
}

#[test]
fn verbose_tells_memory_as_it_grows() {
    let place = Place::new("[vram=4G] gpusched simjob --vram 3000 --ramp 1.5 --hold 0.5\n");
    let done = place.run(&["-v"]);
    let peaks: Vec<u32> = done
        .out
        .lines()
        .filter(|line| line.contains("] job 1 vram now gpu0:"))
        .map(|line| line.rsplit_once("(peak ").unwrap().1.trim_end_matches(" MiB)").parse().unwrap())
        .collect();
    assert!(peaks.len() >= 3, "{}", done.out);
    assert!(peaks.windows(2).all(|pair| pair[1] >= pair[0] + 256), "{peaks:?}");
    let done = place.run(&["--fresh"]);
    assert!(!done.out.contains("vram now"), "{}", done.out);
}
