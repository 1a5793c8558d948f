//! Running a program for its output.

use std::time::Duration;

/// Runs outside programs for the backends, so that they need no processes of
/// their own and tests can answer in the program's place.
pub trait Runner: Send {
    /// Runs `argv` and waits for its end, but no longer than `timeout`; then it
    /// and all it started are killed. Standard input is empty.
    ///
    /// # Errors
    /// When it could not be started or did not end in time. An exit status
    /// other than 0 is not an error here.
    fn run(&mut self, argv: &[&str], timeout: Duration) -> Result<CommandOutput, CommandError>;
}

/// What a program printed, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Its exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// Standard output; what was not UTF-8 is replaced.
    pub stdout: String,
    /// Standard error; what was not UTF-8 is replaced.
    pub stderr: String,
}

/// A program could not be run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such program on PATH.
    #[error("{program} is not on PATH")]
    NotFound {
        /// Its name.
        program: String,
    },
    /// It could not be started or waited for.
    #[error("cannot run {program}: {why}")]
    Failed {
        /// Its name.
        program: String,
        /// The system's words.
        why: String,
    },
    /// It did not end in time and was killed.
    #[error("{program} did not answer within {seconds} s")]
    TimedOut {
        /// Its name.
        program: String,
        /// The time it had.
        seconds: u64,
    },
}
