//! Why the program could not do its work, and what its exit code says of it.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use driver::medium::words;

/// The kinds of failure of the program itself, as opposed to those of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A scheduler that was asked for something has refused: 1.
    Refused,
    /// What was asked for makes no sense: 2.
    Usage,
    /// The GPUs can't be read: 69 (`EX_UNAVAILABLE`).
    NoGpus,
    /// Somebody else works in the log directory: 73 (`EX_CANTCREAT`).
    Locked,
    /// A file can't be read or written, or is damaged: 74 (`EX_IOERR`).
    Io,
}

/// A failure, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind it is.
    pub kind: Kind,
    /// What happened, as a fragment; further lines may show where.
    pub message: String,
    /// What to do about it, one advice each.
    pub hints: Vec<String>,
}

impl Kind {
    /// The exit code of the program.
    pub const fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::NoGpus => 69,
            Self::Locked => 73,
            Self::Io => 74,
        }
    }
}

impl Failure {
    /// A failure without advice.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hints: Vec::new() }
    }

    /// A failure with all that led to it.
    pub fn caused(kind: Kind, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Some errors tell their cause themselves.
            if !message.contains(&words) {
                message.push_str(": ");
                message.push_str(&words);
            }
            cause = error.source();
        }
        Self::new(kind, message)
    }

    /// Something asked for that makes no sense.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A file that can't be read or written, or is damaged.
    pub fn io(message: impl fmt::Display) -> Self {
        Self::new(Kind::Io, message)
    }

    /// The system refused something; `doing` is the verb with its object.
    pub fn cannot(doing: impl fmt::Display, error: &io::Error) -> Self {
        Self::io(format!("cannot {doing}: {}", words(error)))
    }

    /// Adds an advice.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// Tells it on standard error and gives the exit code for it.
    pub fn tell(&self) -> ExitCode {
        // There is nobody left to tell that this could not be told.
        let _ = writeln!(io::stderr(), "{self}");
        ExitCode::from(self.kind.code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gpusched: {}", self.message)?;
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_its_advice() {
        let failure = Failure::usage("no such file").hint("look again").hint("or write one");
        assert_eq!(failure.to_string(), "gpusched: no such file\nhint: look again\nhint: or write one");
    }

    #[test]
    fn the_kinds_have_the_exit_codes_of_the_manual() {
        let codes = [Kind::Refused, Kind::Usage, Kind::NoGpus, Kind::Locked, Kind::Io].map(Kind::code);
        assert_eq!(codes, [1, 2, 69, 73, 74]);
    }
}
