//! Asking Slurm to run a job, and to stop it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::SlurmJobId;

/// A request to submit a batch job.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Options of `sbatch`, the earlier ones first. Those that change what it
    /// prints or when it returns (`--quiet`, `--wait`, `--test-only`) are not for
    /// a job that is to be followed.
    pub options: Vec<Box<str>>,
    /// The path of the script.
    pub script: Box<str>,
    /// What the script is given.
    pub arguments: Vec<Box<str>>,
    /// The directory to submit from: paths begin there, and the job starts there
    /// unless an option says otherwise. Ours, where none is named.
    pub cwd: Option<Box<str>>,
    /// The whole environment to submit with, which is that of the job too unless
    /// an option says otherwise. Ours, where none is given.
    pub env: Option<BTreeMap<Box<str>, Box<str>>>,
}

/// A job was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Its id.
    pub job: SlurmJobId,
    /// What `sbatch` said besides, in one line; mostly nothing.
    pub said: Box<str>,
}

/// What came of a submission that is not known to have succeeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmitError {
    /// Slurm has refused it: there is no job.
    #[error("{0}")]
    Rejected(Refusal),
    /// Nobody knows. The job may be there, or come to be within seconds: look for
    /// it before it is submitted again.
    #[error("it is not known whether the job was submitted: {0}")]
    Ambiguous(String),
    /// Slurm could not be asked: there is no job.
    #[error("cannot submit: {0}")]
    Unavailable(String),
}

/// Why Slurm has refused a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its own words, in one line.
    pub words: Box<str>,
    /// Whether the same may be accepted later: a limit on the number of jobs was
    /// reached, a partition is closed for now.
    pub may_pass: bool,
}

/// A job was not cancelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// It is not ours to cancel.
    #[error("{0}")]
    Denied(String),
    /// It is not known whether it was cancelled; cancelling again does no harm.
    #[error("{0}")]
    Unavailable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl fmt::Debug for Submission {
    /// Without the values of variables: there are tokens among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("options", &self.options)
            .field("script", &self.script)
            .field("arguments", &self.arguments)
            .field("cwd", &self.cwd)
            .field("env", &self.env.as_ref().map(BTreeMap::keys))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_not_shown() {
        let env = BTreeMap::from([("TOKEN".into(), "secret".into())]);
        let submission = Submission { script: "job.sh".into(), env: Some(env), ..Submission::default() };
        let shown = format!("{submission:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("secret"), "{shown}");
    }
}
