//! Who a job and its attempts are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a job is known by for ever: the first six bytes of the SHA-1 of its
/// command, and which of the equal lines it is, counted from 0. Written
/// `3f9a1c20b7de#0`, the same as by the Python tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobKey {
    digest: [u8; 6],
    occurrence: u32,
}

/// The number a person calls a job by: given at first sight, from 1, and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobNo(pub u32);

/// One execution of a job, counted from 1. It is never used twice: whoever
/// starts processes refuses an attempt that was started before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId {
    /// The job.
    pub key: JobKey,
    /// Which execution of it, from 1.
    pub attempt: u32,
}

/// A process id of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pid(pub u32);

/// The text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
}

impl JobKey {
    /// The key of the `occurrence`-th line with a command of this digest.
    pub const fn new(digest: [u8; 6], occurrence: u32) -> Self {
        Self { digest, occurrence }
    }

    /// The first six bytes of the command's SHA-1.
    pub const fn digest(self) -> [u8; 6] {
        self.digest
    }

    /// Which of the lines with an equal command, from 0.
    pub const fn occurrence(self) -> u32 {
        self.occurrence
    }

    /// The `attempt`-th execution (from 1) of this job.
    pub const fn attempt(self, attempt: u32) -> AttemptId {
        AttemptId { key: self, attempt }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.digest {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "#{}", self.occurrence)
    }
}

impl FromStr for JobKey {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIdError { text: text.to_owned(), what: "a job key" };
        let (hex, occurrence) = text.split_once('#').ok_or_else(error)?;
        if hex.len() != 12 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error());
        }
        let mut digest = [0; 6];
        for (byte, at) in digest.iter_mut().zip((0..12).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| error())?;
        }
        Ok(Self { digest, occurrence: occurrence.parse().map_err(|_| error())? })
    }
}

impl TryFrom<String> for JobKey {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<JobKey> for String {
    fn from(key: JobKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for JobNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key, self.attempt)
    }
}

impl FromStr for AttemptId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIdError { text: text.to_owned(), what: "an attempt" };
        let (key, attempt) = text.split_once('/').ok_or_else(error)?;
        Ok(Self { key: key.parse()?, attempt: attempt.parse().map_err(|_| error())? })
    }
}

impl TryFrom<String> for AttemptId {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AttemptId> for String {
    fn from(attempt: AttemptId) -> Self {
        attempt.to_string()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_and_parses_back() {
        let key = JobKey::new([0x3f, 0x9a, 0x1c, 0x20, 0xb7, 0xde], 7);
        assert_eq!(key.to_string(), "3f9a1c20b7de#7");
        assert_eq!("3f9a1c20b7de#7".parse(), Ok(key));
        assert_eq!(key.attempt(2).to_string(), "3f9a1c20b7de#7/2");
        assert_eq!("3f9a1c20b7de#7/2".parse(), Ok(key.attempt(2)));
    }

    #[test]
    fn what_is_no_key() {
        for text in ["", "3f9a1c20b7de", "3f9a1c20b7d#0", "3f9a1c20b7dx#0", "3f9a1c20b7de#-1", "ééé#0"] {
            assert!(text.parse::<JobKey>().is_err(), "{text:?}");
        }
    }
}
