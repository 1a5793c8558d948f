//! `gpusched doctor` on machines put together for it: what is on PATH, in the
//! home directory and in the environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::{Done, Place};
use crate::smi::gpu;

/// `gpusched doctor` with more flags and nothing of this machine on PATH, in the
/// home directory or in the environment.
fn doctor(place: &Place, flags: &[&str]) -> Command {
    fs::create_dir_all(place.path("bin")).unwrap();
    let mut command = place.program();
    command.env_clear().env("PATH", place.path("bin")).env("HOME", place.path("home"));
    command.arg("doctor").args(flags);
    command
}

fn run(place: &Place, command: Command) -> Done {
    place.start(command).wait()
}

/// Puts a program on PATH.
fn install(place: &Place, program: &str) {
    let path = place.path("bin").join(program);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The same on the GPUs that a fake `nvidia-smi` tells of; nothing where that is
/// not built.
fn doctor_on_smi(place: &Place, flags: &[&str]) -> Option<Command> {
    // It puts the fake on PATH.
    place.queue_on_smi(&[])?;
    let mut command = doctor(place, &[&["--read-gpus", "nvidia-smi"], flags].concat());
    command.env("FAKE_SMI_STATE", place.path("state.json"));
    Some(command)
}

/// The line about a thing.
#[track_caller]
fn line<'a>(done: &'a Done, thing: &str) -> &'a str {
    let about = |line: &&str| line.get(4..).is_some_and(|rest| rest.starts_with(thing));
    done.out
        .lines()
        .find(about)
        .unwrap_or_else(|| panic!("nothing about {thing} in\n{}\n{}", done.out, done.err))
}

#[track_caller]
fn check(done: &Done, thing: &str, mark: &str, has: &str) {
    let line = line(done, thing);
    assert!(line.starts_with(mark) && line.contains(has), "no {mark} with '{has}': {line}");
}

#[test]
fn a_machine_without_anything() {
    let place = Place::new("");
    let done = run(&place, doctor(&place, &["--read-gpus", "nvidia-smi"]));
    done.exits(69);
    check(&done, "GPUs", "!!", "cannot be read: nvidia-smi is not on PATH");
    check(&done, "GPUs", "!!", "--sim 2 tries one on two simulated GPUs");
    check(&done, "NVML", "--", "not asked");
    check(&done, "nvidia-smi", "--", "not on PATH");
    for thing in ["GNU screen", "tmux"] {
        check(&done, thing, "--", "not on PATH");
    }
    check(&done, "python", "--", "neither python nor python3 is on PATH");
    for thing in ["CUDA_VISIBLE_DEVICES", "persistence"] {
        assert!(!done.out.contains(thing), "{}", done.out);
    }
}

#[test]
fn simulated_gpus_are_always_there() {
    let place = Place::new("");
    let done = run(&place, doctor(&place, &["--sim", "3"]));
    check(done.exits(0), "GPUs", "ok", "3 simulated");
    assert!(!done.out.contains("nvidia-smi"), "{}", done.out);
    check(&done, "inotify", "ok", "seen at once");
    check(&done, "directory", "", "");
    check(&done, "memory", "", "");
    let refused = run(&place, doctor(&place, &["--sim", "0"]));
    refused.exits(2);
    assert!(refused.err.contains("nothing to run on without a GPU"), "{}", refused.err);
}

#[test]
fn programs_and_environments() {
    let place = Place::new("");
    for program in ["screen", "python3", "home"] {
        install(&place, program);
    }
    for dir in ["miniconda3/conda-meta", "miniconda3/envs/a/conda-meta", "miniconda3/envs/b/conda-meta"] {
        fs::create_dir_all(place.path("home").join(dir)).unwrap();
    }
    let done = run(&place, doctor(&place, &["--sim", "1"]));
    done.exits(0);
    check(&done, "GNU screen", "ok", place.path("bin/screen").to_str().unwrap());
    check(&done, "tmux", "--", "--session tmux does not work");
    check(&done, "python", "--", "write python3 into commands");
    check(&done, "conda", "ok", place.path("home/miniconda3").to_str().unwrap());
    check(&done, "conda", "ok", "environments");
    install(&place, "python");
    let done = run(&place, doctor(&place, &["--sim", "1"]));
    check(&done, "python", "ok", place.path("bin/python").to_str().unwrap());
}

#[test]
fn gpus_by_nvidia_smi() {
    let place = Place::new("");
    place.set_gpus(&[gpu(0, 4), gpu(1, 9000)], "");
    let Some(command) = doctor_on_smi(&place, &[]) else { return };
    let done = run(&place, command);
    check(done.exits(0), "GPUs", "ok", "2, read by nvidia-smi");
    check(&done, "nvidia-smi", "ok", "it is run for each look at the GPUs");
    check(&done, "persistence", "--", "not told");
    check(&done, "CUDA_VISIBLE_DEVICES", "ok", "not set");
}

#[test]
fn persistence_mode_is_told_where_the_driver_tells() {
    let place = Place::new("");
    let with = |index, mode| {
        gpu(index, 4).replace("\"util\":0", &format!(r#""extra":{{"persistence_mode":"{mode}"}}"#))
    };
    for (modes, mark, has) in
        [(["Enabled", "Enabled"], "ok", "on"), (["Enabled", "Disabled"], "--", "off on gpu [1]")]
    {
        place.set_gpus(&[with(0, modes[0]), with(1, modes[1])], "");
        let Some(command) = doctor_on_smi(&place, &[]) else { return };
        check(&run(&place, command), "persistence", mark, has);
    }
}

#[test]
fn a_gpu_that_takes_no_jobs_is_named() {
    let place = Place::new("");
    let odd = r#"{"uuid":"GPU-1","total":null,"used":null,"free":null,"util":0}"#.to_owned();
    place.set_gpus(&[gpu(0, 4), odd], "");
    let Some(command) = doctor_on_smi(&place, &[]) else { return };
    check(run(&place, command).exits(0), "GPUs", "!!", "no job is placed on 1 of them: gpu 1: ");
}

#[test]
fn the_environment_may_leave_some_of_the_gpus_or_none() {
    let place = Place::new("");
    place.set_gpus(&[gpu(0, 4), gpu(1, 4)], "");
    for (value, code, mark, has) in [("1", 0, "--", "only gpu [1] is used"), ("", 69, "!!", "leaves none")] {
        let Some(mut command) = doctor_on_smi(&place, &[]) else { return };
        command.env("CUDA_VISIBLE_DEVICES", value);
        check(run(&place, command).exits(code), "CUDA_VISIBLE_DEVICES", mark, has);
    }
}

#[test]
fn mps_is_seen_by_its_daemon() {
    let place = Place::new("");
    place.set_gpus(&[gpu(0, 4)], "");
    let pipes = place.path("pipes");
    fs::create_dir(&pipes).unwrap();
    fs::write(pipes.join("control"), "").unwrap();
    let run_with = || {
        let mut command = doctor_on_smi(&place, &[])?;
        command.env("CUDA_MPS_PIPE_DIRECTORY", &pipes);
        Some(run(&place, command))
    };
    let Some(done) = run_with() else { return };
    check(&done, "MPS", "--", "no control daemon is seen, but its pipes are in");
    // A process that goes by that name.
    let mut daemon = Command::new("/bin/sh");
    std::os::unix::process::CommandExt::arg0(&mut daemon, "/usr/bin/nvidia-cuda-mps-control");
    let daemon = daemon.args(["-c", "read line; exit 0"]).stdin(std::process::Stdio::piped()).spawn();
    let mut daemon = daemon.unwrap();
    let done = run_with().unwrap();
    drop(daemon.stdin.take());
    daemon.wait().unwrap();
    check(&done, "MPS", "ok", "the control daemon runs");
    check(&done, "MPS", "ok", pipes.to_str().unwrap());
}

#[test]
fn json_says_the_same() {
    let place = Place::new("");
    install(&place, "tmux");
    let done = run(&place, doctor(&place, &["--sim", "2", "--json"]));
    done.exits(0);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(told["usable"], true);
    let rows = told["rows"].as_array().unwrap();
    let row = |thing: &str| rows.iter().find(|row| row["thing"] == thing).unwrap();
    assert_eq!((&row("GPUs")["mark"], &row("GPUs")["found"]), (&"ok".into(), &"2 simulated".into()));
    assert_eq!((&row("tmux")["mark"], &row("GNU screen")["mark"]), (&"ok".into(), &"note".into()));
    assert!(row("GPUs")["follows"].as_str().unwrap().contains("pretend"));
    let things =
        ["GPUs", "GNU screen", "tmux", "python", "conda", "memory", "container", "inotify", "directory"];
    assert_eq!(rows.iter().map(|row| row["thing"].as_str().unwrap()).collect::<Vec<_>>(), things);

    let done = run(&place, doctor(&place, &["--json", "--read-gpus", "nvidia-smi"]));
    done.exits(69);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&told["usable"], &told["rows"][0]["mark"]), (&false.into(), &"bad".into()));
}

#[test]
fn a_home_directory_that_cannot_be_used_holds_nothing_up() {
    let place = Place::new("");
    let mut command = doctor(&place, &["--sim", "1"]);
    command.env("HOME", "/dev/null").env("CONDA_EXE", "relative").env("CONDA_PREFIX", "");
    let began = Instant::now();
    run(&place, command).exits(0);
    assert!(began.elapsed() < Duration::from_secs(20));
}
