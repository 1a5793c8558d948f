//! Starting an attempt, stopping it, and what is seen of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AttemptId, GpuIndex, GpuUuid, JobNo, Pid, SignedDuration};

/// A request to start one attempt of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The attempt; starting it twice is refused.
    pub attempt: AttemptId,
    /// The job's number, which names its log.
    pub no: JobNo,
    /// The line for `sh -c`.
    pub command: String,
    /// The GPUs it gets, ascending by index.
    pub gpus: Vec<(GpuIndex, GpuUuid)>,
    /// What it runs in and with, besides what all jobs inherit.
    pub setting: Setting,
}

/// What a job runs in and with, besides what all jobs inherit.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    /// The Python environment to activate: the name or the prefix of one of
    /// conda's, or the directory of a venv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conda: Option<Box<str>>,
    /// The directory it starts in; relative to that of the scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Box<str>>,
    /// Variables it gets, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<Box<str>, Box<str>>,
    /// The Python script its command runs, which must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Box<str>>,
}

/// Where an attempt's output is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    /// The name of its log in the log directory.
    pub name: Box<str>,
    /// Where in that file its part begins, in bytes.
    pub from: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
}

/// The signals we stop jobs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopSignal {
    /// SIGTERM: end in good order.
    Term,
    /// SIGKILL: end now.
    Kill,
}

/// What a job host knows of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It runs.
    Running {
        /// The process that leads its session.
        pid: Pid,
        /// For how long it has run.
        elapsed: SignedDuration,
        /// Where its output goes.
        log: LogPart,
    },
    /// Its leading process has ended.
    Ended {
        /// How.
        exit: Exit,
        /// How long it ran.
        elapsed: SignedDuration,
        /// The end of what this attempt alone wrote to its log; only read when
        /// it failed, else empty.
        tail: Box<str>,
        /// Whether processes it started are still alive.
        survivors: bool,
    },
    /// It was started, it is not there any more, and nobody saw how it ended;
    /// the reason, in words.
    Lost(Box<str>),
    /// It was started and the machine was rebooted since: it did not finish.
    Interrupted,
    /// It was not started and never will be.
    Voided,
}

/// One attempt, as a job host sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptSighting {
    /// The attempt.
    pub attempt: AttemptId,
    /// What is known of it.
    pub presence: Presence,
}

/// An observation could not be made: which is not an observation of nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// An attempt was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchError {
    /// It was started before, or given up before it was started.
    #[error("this attempt has been used before")]
    Used,
    /// The process could not be created; trying again will not help.
    #[error("{0}")]
    Spawn(String),
    /// Nobody could be asked to start it.
    #[error("the keeper does not answer: {0}")]
    NoKeeper(String),
}

/// A signal was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot signal the job: {0}")]
pub struct SignalError(pub String);

/// The attempts could not be surveyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot tell which jobs run: {0}")]
pub struct SurveyError(pub String);

impl fmt::Debug for Setting {
    /// Without the values of variables: there are tokens among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("conda", &self.conda)
            .field("cwd", &self.cwd)
            .field("env", &self.env.keys())
            .field("script", &self.script)
            .finish()
    }
}

impl Exit {
    /// Whether it is success.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The code as Python's `subprocess` tells it: a signal is negative.
    pub fn returncode(self) -> i32 {
        match self {
            Self::Code(code) => i32::from(code),
            Self::Signal(signal) => -i32::from(signal),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.returncode().fmt(f)
    }
}
