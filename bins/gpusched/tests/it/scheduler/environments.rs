//! Python environments, and sessions that can be listed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use e2e::{program, wait_until};

use crate::place::{LONG, Place};
use crate::scheduler::{python, script_place, started};

const SCRIPT: &str = "import os, sys\n\
    print(os.environ.get('CONDA_DEFAULT_ENV'), os.environ.get('SOURCED'), os.environ.get('FROM_STATE'), sys.argv[1:])\n\
    print(os.environ.get('WHICH'), sys.flags.unbuffered if hasattr(sys.flags, 'unbuffered') else '', flush=False)\n";

/// Makes a tree as conda makes it, whose Python is the real one and says so.
fn make_conda(place: &Place) {
    let root = place.path("home/miniconda3");
    let env = root.join("envs/llm");
    for dir in ["conda-meta", "bin", "etc/conda/activate.d"] {
        fs::create_dir_all(env.join(dir)).unwrap();
    }
    fs::create_dir_all(root.join("conda-meta")).unwrap();
    let python = python().unwrap();
    let stub = format!("#!/bin/sh\nWHICH=\"llm's own, $1\" exec {} \"$@\"\n", python.display());
    fs::write(env.join("bin/python"), stub).unwrap();
    fs::set_permissions(env.join("bin/python"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(env.join("etc/conda/activate.d/a.sh"), "export SOURCED=\"yes in $CONDA_PREFIX\"\n").unwrap();
    fs::write(env.join("conda-meta/state"), r#"{"version": 1, "env_vars": {"FROM_STATE": "x"}}"#).unwrap();
}

#[test]
fn a_job_runs_in_its_conda_environment() {
    let Some(place) = script_place("0,train.py,llm,--x 1,0\n", SCRIPT) else { return };
    make_conda(&place);
    let running = started(&place, &[]);
    running.wait_for("job 1 finished [OK]");
    let prefix = place.path("home/miniconda3/envs/llm");
    let log = place.ask(&["logs", "1"]).out;
    assert!(
        log.starts_with(&format!("llm yes in {} x ['--x', '1', '--cuda', '0']\n", prefix.display())),
        "{log}"
    );
    drop(running);
    // By its prefix, in a file of commands.
    let command = "python -c 'import os; print(os.environ[\"WHICH\"])'";
    place.write("lines.txt", &format!("[conda={}] {command}\n", prefix.display()));
    let running = started(&place, &["--jobs-file", "lines.txt", "--log-dir", "other"]);
    running.wait_for("job 1 finished [OK]");
    assert_eq!(place.ask(&["logs", "1", "--log-dir", "other"]).out, "llm's own, -c\n");
}

#[test]
fn a_script_runs_unbuffered_in_the_python_of_its_environment() {
    let Some(place) = script_place("0,train.py,llm\n0,train.py\n", SCRIPT) else { return };
    make_conda(&place);
    let running = started(&place, &[]);
    running.wait_for("queue drained");
    let log = place.ask(&["logs", "1"]).out;
    assert!(log.contains("\nllm's own, -u"), "{log}");
    let log = place.ask(&["logs", "2"]).out;
    assert!(log.starts_with("None None None ['--cuda', ") && log.contains("\nNone"), "{log}");
}

#[test]
fn a_missing_environment_is_told() {
    let Some(place) = script_place("0,train.py,nosuch\n0,train.py,./here\n", SCRIPT) else { return };
    make_conda(&place);
    let running = started(&place, &["--max-assign-attempts", "1"]);
    running.wait_for("WARN  job 1 was not started — there is no conda environment 'nosuch' (looked in ");
    running.wait_for("WARN  job 2 was not started — ");
    wait_until("status says it as well", LONG, || {
        place.ask(&["status"]).out.contains("could not start: there is no conda environment 'nosuch'")
    });
    assert!(running.out().contains("here"), "{}", running.out());
}

#[test]
fn screens_lists_the_sessions_of_running_jobs() {
    if program("screen").is_none() {
        return;
    }
    let place = Place::new("sh -c 'until [ -e go ]; do sleep 0.05; done' job --mode train\n");
    let sessions = place.path("sessions");
    fs::create_dir(&sessions).unwrap();
    fs::set_permissions(&sessions, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = place.program();
    command.args(["start", "--sim", "2", "--screen"]).env("SCREENDIR", &sessions);
    let running = place.start(command);
    let line = "1. gpujob_0_train_1 (job 1; attach: screen -r gpujob_0_train_1)\n";
    wait_until("it is listed", LONG, || place.ask(&["screens"]).out == line);
    place.write("go", "");
    running.wait_for("job 1 finished [OK]");
    wait_until("it is gone", LONG, || place.ask(&["screens"]).out == "no job runs in a session\n");
}
