//! Where the system gives little.

use std::process::Command;

use e2e::wait_until;

use crate::place::{LONG, Place};

/// The keeper of a place.
fn keeper_of(place: &Place) -> Option<u32> {
    let lock = place.read("gpusched_logs/keeper.lock");
    lock.strip_prefix("pid ")?.split(' ').next()?.parse().ok()
}

#[test]
fn more_jobs_than_descriptors_are_taken_over_all_the_same() {
    const JOBS: usize = 150;
    let job = "[vram=1] until [ -e go ]; do sleep 0.5; done; echo x >> ran";
    let jobs: Vec<String> = (1..JOBS).map(|no| format!("{job} # {no}\n")).collect();
    let jobs = jobs.concat();
    let last = "trap 'echo x > asked; exit 0' TERM; while :; do sleep 0.2; done\n";
    let place = Place::new(&format!("{jobs}[vram=1] {last}"));
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(r#"ulimit -n 128; exec "$0" "$@""#).arg(env!("CARGO_BIN_EXE_gpusched"));
    command.current_dir(place.path("")).args(["jobs.txt", "--sim", "2", "--poll", "0.5"]);
    command.env_remove("GPUSCHED_SIM_DIR").env_remove("CUDA_VISIBLE_DEVICES");
    let running = place.start(command);
    let board = || place.read("gpusched_logs/status.txt");
    wait_until("all jobs run", LONG, || board().contains("150 running, 0 pending"));
    let first = keeper_of(&place).unwrap();
    let killed = Command::new("/bin/kill").args(["-KILL", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    // Only a keeper that can be talked to can end it.
    place.edit(&format!("{jobs}[vram=1 cancel] {last}"));
    running.wait_for("job 150 finished ");
    assert_eq!(place.read("asked"), "x\n", "SIGTERM was lost with the keeper it was on its way to");
    place.write("go", "");
    let done = running.wait();
    done.exits(1).says("all 150 jobs done — 0 ok, 149 failed, 1 cancelled");
    assert_eq!(done.out.matches(" is LOST — ").count(), JOBS - 1, "their exit codes went with the keeper");
    assert_eq!(place.read("ran").lines().count(), JOBS - 1);
}
