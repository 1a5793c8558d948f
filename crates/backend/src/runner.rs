//! Running a program for its output.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How much of each stream of a program a runner keeps, in bytes. An answer of that
/// size may have no end.
pub const MOST_OUTPUT: usize = 16 << 20;

/// Runs outside programs for the backends, so that they need no processes of
/// their own and tests can answer in the program's place.
pub trait Runner: Send {
    /// Runs `argv` in these surroundings, to which nothing is added, and waits for
    /// its end, but no longer than `timeout`; then it and all it started are
    /// killed. Standard input is empty.
    ///
    /// # Errors
    /// When it could not be started, its directory is not there, or it did not end
    /// in time. An exit status other than 0 is not an error here.
    fn run(
        &mut self,
        surroundings: &Surroundings,
        argv: &[&str],
        timeout: Duration,
    ) -> Result<CommandOutput, CommandError>;
}

/// What a program runs in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The directory it starts in; ours, where none is named.
    pub cwd: Option<Box<str>>,
    /// Whether none of our variables are passed on.
    pub bare: bool,
    /// Variables by name, with their values; one without a value is taken away.
    pub variables: BTreeMap<Box<str>, Option<Box<str>>>,
}

impl Surroundings {
    /// Ours, with `LC_ALL=C`: for a program whose words are to be read.
    pub fn plain() -> Self {
        Self { variables: BTreeMap::from([("LC_ALL".into(), Some("C".into()))]), ..Self::default() }
    }
}

impl fmt::Debug for Surroundings {
    /// Without the values of variables: there are tokens among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("cwd", &self.cwd)
            .field("bare", &self.bare)
            .field("variables", &self.variables.keys())
            .finish()
    }
}

/// What a program printed, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Its exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// Standard output, [`MOST_OUTPUT`] at most; what was not UTF-8 is replaced.
    pub stdout: String,
    /// Standard error, [`MOST_OUTPUT`] at most; what was not UTF-8 is replaced.
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
    /// It could not be started, so it has done nothing.
    #[error("cannot run {program}: {why}")]
    NotStarted {
        /// Its name.
        program: String,
        /// The system's words, or ours.
        why: String,
    },
    /// It was started, and could not be waited for.
    #[error("cannot tell what became of {program}: {why}")]
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
