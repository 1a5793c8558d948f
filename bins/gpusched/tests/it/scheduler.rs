//! `gpusched start` and its commands: each line of what the GPU job scheduler's
//! README promises, shown with real processes. The table that names these tests
//! is in `docs/guide/coming-from-scheduler.md`.

mod control;
mod csv;
mod environments;
mod launching;
mod logs;
mod models;
mod placement;
mod state_file;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::place::{Done, Place, Running};

impl Place {
    /// `gpusched start --sim 2` with more flags, at work.
    pub(crate) fn started(&self, flags: &[&str]) -> Running {
        let mut command = self.program();
        command.args(["start", "--sim", "2", "--poll", "0.1"]).args(flags);
        self.start(command)
    }

    /// Another command of the program, to its end.
    pub(crate) fn ask(&self, words: &[&str]) -> Done {
        let mut command = self.program();
        command.args(words);
        finish(command)
    }
}

/// The real Python interpreter: what is on PATH may be a script that looks for it.
fn python() -> Option<PathBuf> {
    let mut command = Command::new(e2e::program("python3")?);
    command.args(["-c", "import sys; print(sys.executable)"]);
    Some(finish(command).out.trim().into())
}

/// A place with the script `train.py` and these jobs; nothing where there is no
/// Python.
#[expect(clippy::print_stderr, reason = "that a test was skipped must be seen")]
fn script_place(jobs: &str, script: &str) -> Option<Place> {
    if python().is_none() {
        eprintln!("SKIPPED: there is no program 'python3'; tests/run looks for it");
        return None;
    }
    let place = Place::new(jobs);
    place.write("train.py", script);
    Some(place)
}

/// `gpusched start --sim 2` with a home and a PATH of this place, on which there
/// is `python3` alone.
fn started(place: &Place, flags: &[&str]) -> Running {
    let bin = place.path("bin");
    if std::fs::create_dir(&bin).is_ok() {
        std::os::unix::fs::symlink(python().unwrap(), bin.join("python3")).unwrap();
        std::os::unix::fs::symlink("/bin/sleep", bin.join("sleep")).unwrap();
    }
    let mut command = place.program();
    for variable in ["CONDA_EXE", "CONDA_PREFIX", "CONDA_ROOT", "MAMBA_ROOT_PREFIX", "VIRTUAL_ENV"] {
        command.env_remove(variable);
    }
    command.args(["start", "--sim", "2", "--poll", "0.1"]).args(flags);
    command.env("PATH", &bin).env("HOME", place.path("home"));
    place.start(command)
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Done {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Done { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
