//! Jobs that a dead scheduler has left, and schedulers that meet.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::wait_until;

use crate::place::{LONG, Place, is_there, signal};

/// Says that it runs, waits for the file `go`, says that it ends.
const STORY: &str = "[vram=4G] echo run >> runs; until [ -e go ]; do sleep 0.05; done; echo end >> runs";

/// A queue whose scheduler was killed while its job ran.
fn after_a_kill(job: &str) -> Place {
    let place = Place::new(&format!("{job}\n"));
    let first = place.start(place.queue(&[]));
    wait_until("the job runs", LONG, || place.read("runs").ends_with('\n'));
    first.signal("KILL");
    first.wait();
    place
}

#[test]
fn a_job_that_outlived_its_scheduler_and_ended_well_is_not_run_again() {
    let place = after_a_kill(STORY);
    let second = place.start(place.queue(&["--watch"]));
    second.wait_for("job 1 still runs from an earlier run");
    place.write("go", "");
    second.wait_for("job 1 finished [OK]");
    second.wait_for("queue drained");
    second.signal("INT");
    second.wait().exits(130);
    assert_eq!(place.read("runs"), "run\nend\n");
}

#[test]
fn a_zombie_is_not_alive() {
    let init = Path::new(env!("CARGO_BIN_EXE_gpusched")).with_file_name("never-reaps");
    if !is_there(&init) {
        eprintln!("SKIPPED: never-reaps is not built (cargo build -p e2e)");
        return;
    }
    let place = Place::new("echo $$ > job; until [ -e go ]; do sleep 0.05; done\n");
    let script = format!(
        "{} jobs.txt --sim 2 & echo $! > scheduler; until [ -e stop ] || ! [ -e jobs.txt ]; do sleep 0.05; done",
        env!("CARGO_BIN_EXE_gpusched")
    );
    let mut careless = Command::new(init);
    careless.args(["/bin/sh", "-c", &script]).current_dir(place.path(""));
    let careless = place.start(careless);
    wait_until("the job runs", LONG, || place.read("job").ends_with('\n'));
    // Without a keeper, the job's parent is one that does not look after it.
    let keeper = place.keeper().unwrap();
    signal("KILL", place.read("scheduler").trim().parse().unwrap());
    signal("KILL", keeper);
    wait_until("the keeper is gone", LONG, || !place.has_keeper());
    place.write("go", "");
    let stat = format!("/proc/{}/stat", place.read("job").trim());
    wait_until("the job is a zombie", LONG, || fs::read_to_string(&stat).unwrap().contains(") Z "));
    let again = place.queue(&[]).output().unwrap();
    let out = String::from_utf8(again.stdout).unwrap();
    assert_eq!(again.status.code(), Some(1), "{out}");
    assert!(out.contains("WARN  job 1 is LOST"), "{out}");
    place.write("stop", "");
    careless.wait();
}

#[test]
fn a_stranger_with_the_process_group_of_a_job_is_left_alone() {
    let place = Place::new("echo ran >> runs\n");
    let mut stranger =
        Command::new("sleep").arg("600").env_remove("CUDA_VISIBLE_DEVICES").process_group(0).spawn().unwrap();
    fs::create_dir(place.path("gpusched_logs")).unwrap();
    let key = "73ae5208efc2#0";
    let journal = format!(
        "{{\"key\": \"{key}\", \"event\": \"seen\", \"no\": 1, \"command\": \"echo ran >> runs\"}}\n\
         {{\"key\": \"{key}\", \"event\": \"started\", \"pgid\": {}, \"gpus\": [0]}}\n",
        stranger.id()
    );
    place.write("gpusched_logs/journal.jsonl", &journal);
    let done = place.run(&[]);
    let untouched = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    done.exits(0).says("job 1 finished [OK]");
    assert!(untouched, "the stranger was ended");
    assert_eq!(place.read("runs"), "ran\n");
}

#[test]
fn cancel_ends_a_job_that_outlived_its_scheduler() {
    let place = after_a_kill("echo $$ >> runs; exec sleep 600");
    place.edit("[cancel] echo $$ >> runs; exec sleep 600\n");
    place
        .run(&[])
        .exits(0)
        .says("WARN  job 1 CANCELLED by user — SIGTERM to its process group")
        .says("job 1 finished [CANCELLED]");
    assert!(!is_there(format!("/proc/{}", place.read("runs").trim()).as_ref()), "it runs on");
}

#[test]
fn fresh_does_not_start_a_second_copy_of_what_runs() {
    let place = after_a_kill(STORY);
    let done = place.run(&["--fresh"]);
    assert!(done.exits(73).err.starts_with("gpusched: --fresh: jobs still run in "), "{}", done.err);
    place.write("go", "");
    place.run(&[]).exits(0);
    assert_eq!(place.read("runs"), "run\nend\n");
}

#[test]
fn two_schedulers_started_together_run_every_job_once() {
    let job = |no: u8| format!("echo {no} >> runs; until [ -e go ]; do sleep 0.05; done\n");
    let place = Place::new(&[1, 2, 3].map(job).concat());
    let start = || place.queue(&["--watch"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut both = [start(), start()];
    let mut refused = None;
    wait_until("one of them is refused", LONG, || {
        refused = both.iter_mut().position(|child| child.try_wait().unwrap().is_some());
        refused.is_some()
    });
    let [first, second] = both;
    let (refused, mut other) = if refused == Some(0) { (first, second) } else { (second, first) };
    place.write("go", "");
    wait_until("all is done", LONG, || place.board().contains("0 running, 0 pending, 3 done"));
    signal("INT", other.id());
    assert_eq!(other.wait().unwrap().code(), Some(130));
    let refused = refused.wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(73));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.starts_with("gpusched: another gpusched"), "{words}");
    let mut runs: Vec<_> = place.read("runs").lines().map(str::to_owned).collect();
    runs.sort();
    assert_eq!(runs, ["1", "2", "3"]);
}
