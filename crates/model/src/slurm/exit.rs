//! How a job ended, as a code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An exit code as Slurm prints it, `code:signal`: `3:0` is exit 3, `0:9` is
/// SIGKILL.
///
/// It does not say how a job ended, its [state](crate::slurm::JobState) does:
/// after a time limit it was seen to be `0:0` (sacct) and `0:15` (squeue), after
/// a failed node `0:0` (to 22.05) and `1:0` (from 24.11), out of memory `0:125`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExitCode {
    /// What it exited with; for a job the highest of its parts.
    pub code: u8,
    /// The signal that ended it.
    pub signal: Option<u8>,
}

/// The text is not an exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an exit code")]
pub struct ParseExitCodeError(String);

impl ExitCode {
    /// Success.
    pub const ZERO: Self = Self { code: 0, signal: None };

    /// The code of a status as wait(2) tells it, which is what `squeue` printed up
    /// to 22.05: 768 is exit 3, 11 is signal 11 (seen).
    pub const fn from_wait_status(status: u32) -> Self {
        let [low, high, ..] = status.to_le_bytes();
        match low & 0x7f {
            0 => Self { code: high, signal: None },
            signal => Self { code: 0, signal: Some(signal) },
        }
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.code, self.signal.unwrap_or(0))
    }
}

impl FromStr for ExitCode {
    type Err = ParseExitCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let read = || {
            let (code, signal) =
                text.split_once(':').filter(|(code, signal)| digits(code) && digits(signal))?;
            let signal: u8 = signal.parse().ok()?;
            Some(Self { code: code.parse().ok()?, signal: (signal != 0).then_some(signal) })
        };
        read().ok_or_else(|| ParseExitCodeError(text.to_owned()))
    }
}

impl TryFrom<String> for ExitCode {
    type Error = ParseExitCodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ExitCode> for String {
    fn from(exit: ExitCode) -> Self {
        exit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: u8, signal: impl Into<Option<u8>>) {
        let exit = ExitCode { code, signal: signal.into() };
        assert_eq!(text.parse(), Ok(exit));
        assert_eq!(exit.to_string(), text);
    }

    #[test]
    fn codes_and_signals() {
        check("0:0", 0, None);
        check("3:0", 3, None);
        check("0:125", 0, 125);
        check("1:53", 1, 53);
        check("255:255", 255, 255);
    }

    #[test]
    fn what_is_no_code() {
        for text in
            ["", "3", ":", "3:", ":0", "256:0", "-1:0", "+1:0", "0:0:0", "a:0", "0x1:0", " 0:0", "é:0"]
        {
            assert!(text.parse::<ExitCode>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn wait_statuses() {
        let read = |status| ExitCode::from_wait_status(status).to_string();
        assert_eq!(
            [0, 768, 11, 25088, 4021, u32::MAX].map(read),
            ["0:0", "3:0", "0:11", "98:0", "0:53", "0:127"]
        );
    }
}
