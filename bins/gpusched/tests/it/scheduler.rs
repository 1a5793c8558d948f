//! `gpusched start` and its commands: each line of what the GPU job scheduler's
//! README promises, shown with real processes. The table that names these tests
//! is in `docs/guide/coming-from-scheduler.md`.

mod control;
mod launching;
mod logs;
mod placement;
mod state_file;

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

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Done {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Done { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
