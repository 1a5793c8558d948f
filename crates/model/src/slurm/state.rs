//! The state of a job.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A user, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub u32);

/// The state of a job, by the long names that `squeue`, `sacct` and `scontrol`
/// print (the part "JOB STATE CODES" of squeue(1)). It reads any text, and prints
/// it again as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum JobState {
    /// It waits.
    Pending,
    /// It has nodes, which get ready (they boot, or a prolog runs).
    Configuring,
    /// It runs.
    Running,
    /// Its processes are stopped and its nodes are for others.
    Suspended,
    /// It ends: some of its processes or an epilog still run. How it ended is not
    /// told yet, and it may also be about to wait again.
    Completing,
    /// It got SIGSTOP. It keeps its nodes.
    Stopped,
    /// Its size changes.
    Resizing,
    /// It is put back into the queue, under the same id. In accounting: this run
    /// of it has ended so.
    Requeued,
    /// It is held after it was put back.
    RequeueHold,
    /// As [`RequeueHold`](Self::RequeueHold), by a federation.
    RequeueFed,
    /// It is held since its reservation is gone.
    ResvDelHold,
    /// It was put back and is held, and marked as special: by its exit code (seen
    /// with `RequeueExitHold`) or by hand. It runs again when it is released.
    SpecialExit,
    /// Signals are being sent to it; seen for moments before a time limit.
    Signaling,
    /// Files of it are being staged out.
    StageOut,
    /// Its nodes are being powered up.
    PowerUpNode,
    /// It is put back and waits no longer than it must (26.05).
    Expediting,
    /// All of it exited with 0.
    Completed,
    /// It exited with another code, was ended by a signal, or did not start.
    Failed,
    /// It reached its time limit. Also when its script took the signal and exited
    /// with 0 (seen).
    Timeout,
    /// A job of higher priority took its place, and it is not put back.
    Preempted,
    /// A node of it failed. Its processes may still be alive (seen).
    NodeFail,
    /// A node of it did not boot.
    BootFail,
    /// It ran out of memory, not of that of a GPU.
    OutOfMemory,
    /// It could not end before its deadline.
    Deadline,
    /// It was cancelled.
    Cancelled {
        /// By whom; only accounting tells (seen), where it tells at all.
        by: Option<Uid>,
    },
    /// Another cluster of the federation has started it.
    Revoked,
    /// Something else: not known to be an end.
    Other(Box<str>),
}

/// What a state says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// It has not ended, or will run again.
    Active,
    /// It has ended. A job that Slurm may put back (preempted, a failed node) can
    /// still come back to the queue under the same id, which accounting tells
    /// seconds later than the queue: ask the queue first.
    Terminal,
    /// The state is not known to us: as good as active, but worth a word.
    Unknown,
}

/// Every state but `CANCELLED` and those we don't know.
const NAMES: [(&str, JobState); 25] = [
    ("PENDING", JobState::Pending),
    ("CONFIGURING", JobState::Configuring),
    ("RUNNING", JobState::Running),
    ("SUSPENDED", JobState::Suspended),
    ("COMPLETING", JobState::Completing),
    ("STOPPED", JobState::Stopped),
    ("RESIZING", JobState::Resizing),
    ("REQUEUED", JobState::Requeued),
    ("REQUEUE_HOLD", JobState::RequeueHold),
    ("REQUEUE_FED", JobState::RequeueFed),
    ("RESV_DEL_HOLD", JobState::ResvDelHold),
    ("SPECIAL_EXIT", JobState::SpecialExit),
    ("SIGNALING", JobState::Signaling),
    ("STAGE_OUT", JobState::StageOut),
    ("POWER_UP_NODE", JobState::PowerUpNode),
    ("EXPEDITING", JobState::Expediting),
    ("COMPLETED", JobState::Completed),
    ("FAILED", JobState::Failed),
    ("TIMEOUT", JobState::Timeout),
    ("PREEMPTED", JobState::Preempted),
    ("NODE_FAIL", JobState::NodeFail),
    ("BOOT_FAIL", JobState::BootFail),
    ("OUT_OF_MEMORY", JobState::OutOfMemory),
    ("DEADLINE", JobState::Deadline),
    ("REVOKED", JobState::Revoked),
];

const CANCELLED: &str = "CANCELLED";

impl JobState {
    /// What it says of the job.
    pub const fn conclusion(&self) -> Conclusion {
        match self {
            Self::Pending
            | Self::Configuring
            | Self::Running
            | Self::Suspended
            | Self::Completing
            | Self::Stopped
            | Self::Resizing
            | Self::Requeued
            | Self::RequeueHold
            | Self::RequeueFed
            | Self::ResvDelHold
            | Self::SpecialExit
            | Self::Signaling
            | Self::StageOut
            | Self::PowerUpNode
            | Self::Expediting => Conclusion::Active,
            Self::Completed
            | Self::Failed
            | Self::Timeout
            | Self::Preempted
            | Self::NodeFail
            | Self::BootFail
            | Self::OutOfMemory
            | Self::Deadline
            | Self::Cancelled { .. }
            | Self::Revoked => Conclusion::Terminal,
            Self::Other(_) => Conclusion::Unknown,
        }
    }

    fn read(text: &str) -> Self {
        if let Some((_, state)) = NAMES.iter().find(|(name, _)| *name == text) {
            return state.clone();
        }
        match text.strip_prefix(CANCELLED) {
            Some("") => Self::Cancelled { by: None },
            // Whatever follows: the first word decides.
            Some(rest) if rest.starts_with(' ') => {
                let by = rest.strip_prefix(" by ").and_then(number).map(Uid);
                Self::Cancelled { by }
            }
            _ => Self::Other(text.into()),
        }
    }
}

/// A number as Slurm writes it: digits alone.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl From<&str> for JobState {
    fn from(text: &str) -> Self {
        Self::read(text)
    }
}

impl From<String> for JobState {
    fn from(text: String) -> Self {
        Self::read(&text)
    }
}

impl FromStr for JobState {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::read(text))
    }
}

impl From<JobState> for String {
    fn from(state: JobState) -> Self {
        state.to_string()
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Cancelled { by: Some(by) } = self {
            return write!(f, "{CANCELLED} by {by}");
        }
        let known = NAMES.iter().find(|(_, state)| state == self).map(|(name, _)| *name);
        let other = if let Self::Other(text) = self { text } else { CANCELLED };
        f.write_str(known.unwrap_or(other))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &JobState, conclusion: Conclusion) {
        let state = JobState::from(text);
        assert_eq!((&state, state.conclusion()), (expect, conclusion), "{text:?}");
    }

    #[test]
    fn states_that_are_no_end() {
        for name in [
            "PENDING",
            "CONFIGURING",
            "RUNNING",
            "SUSPENDED",
            "COMPLETING",
            "STOPPED",
            "RESIZING",
            "REQUEUED",
            "REQUEUE_HOLD",
            "REQUEUE_FED",
            "RESV_DEL_HOLD",
            "SPECIAL_EXIT",
            "SIGNALING",
            "STAGE_OUT",
            "POWER_UP_NODE",
            "EXPEDITING",
        ] {
            let state = JobState::from(name);
            assert!(!matches!(state, JobState::Other(_)), "{name}");
            assert_eq!((state.conclusion(), state.to_string()), (Conclusion::Active, name.to_owned()));
        }
    }

    #[test]
    fn states_that_are_one() {
        check("COMPLETED", &JobState::Completed, Conclusion::Terminal);
        check("TIMEOUT", &JobState::Timeout, Conclusion::Terminal);
        check("NODE_FAIL", &JobState::NodeFail, Conclusion::Terminal);
        check("OUT_OF_MEMORY", &JobState::OutOfMemory, Conclusion::Terminal);
        check("REVOKED", &JobState::Revoked, Conclusion::Terminal);
    }

    #[test]
    fn who_cancelled() {
        let by = |uid: u32| JobState::Cancelled { by: Some(Uid(uid)) };
        check("CANCELLED", &JobState::Cancelled { by: None }, Conclusion::Terminal);
        check("CANCELLED by 0", &by(0), Conclusion::Terminal);
        check("CANCELLED by 4294967295", &by(u32::MAX), Conclusion::Terminal);
        check("CANCELLED by 4294967296", &JobState::Cancelled { by: None }, Conclusion::Terminal);
        check("CANCELLED by root", &JobState::Cancelled { by: None }, Conclusion::Terminal);
    }

    #[test]
    fn what_is_not_known_is_no_end() {
        for text in
            ["", "LAUNCH_FAILED", "completed", "COMPLETED+", "CANCELLED+", "CANCELLEDx", " FAILED", "é"]
        {
            check(text, &JobState::Other(text.into()), Conclusion::Unknown);
            assert_eq!(JobState::from(text).to_string(), text);
        }
    }
}
