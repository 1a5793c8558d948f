//! The keeper's memory: which attempts were asked for and what became of them.
//!
//! It is the fence against running an attempt twice, so it is pure and shared
//! by the real keeper and the simulated one.

use std::collections::BTreeMap;

use model::{AttemptId, Exit, LaunchError, Pid};
use serde::{Deserialize, Serialize};

/// One line of the keeper's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum KeeperRecord {
    /// A keeper has begun to write here.
    Opened {
        /// The boot it runs in (`/proc/sys/kernel/random/boot_id`).
        boot_id: Box<str>,
        /// The keeper.
        pid: Pid,
    },
    /// An attempt is about to be started.
    Launching {
        /// The attempt.
        attempt: AttemptId,
        /// The name of its log in the log directory.
        log: Box<str>,
        /// Where in that file this attempt's part begins, in bytes.
        log_from: u64,
        /// Its start, in milliseconds since 1970.
        at_ms: i64,
        /// Whether it runs in a session of screen or tmux, where another process
        /// than the keeper waits for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        seat: bool,
    },
    /// Its process exists.
    Running {
        /// The attempt.
        attempt: AttemptId,
        /// Its leading process.
        pid: Pid,
        /// When that process started, in clock ticks since boot
        /// (`/proc/PID/stat`, field 22).
        start_time: u64,
    },
    /// Its leading process has ended.
    Ended {
        /// The attempt.
        attempt: AttemptId,
        /// How.
        exit: Exit,
        /// How long it ran, in milliseconds.
        elapsed_ms: i64,
        /// Whether processes it started are still alive.
        survivors: bool,
    },
    /// Its process could not be created.
    Failed {
        /// The attempt.
        attempt: AttemptId,
        /// The system's words.
        why: String,
    },
    /// It was given up before it was started.
    Voided {
        /// The attempt.
        attempt: AttemptId,
    },
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was about to be started when the log stopped.
    Launching,
    /// Its process existed.
    Running {
        /// Its leading process.
        pid: Pid,
        /// When that process started, in clock ticks since boot.
        start_time: u64,
    },
    /// Its leading process has ended.
    Ended {
        /// How.
        exit: Exit,
        /// How long it ran, in milliseconds.
        elapsed_ms: i64,
        /// Whether processes it started were still alive.
        survivors: bool,
    },
    /// Its process could not be created.
    Failed(String),
    /// It was given up before it was started.
    Voided,
}

/// An attempt in the keeper's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What became of it.
    pub fate: Fate,
    /// The boot it was started in.
    pub boot_id: Box<str>,
    /// The name of its log in the log directory.
    pub log: Box<str>,
    /// Where in that file its part begins, in bytes.
    pub log_from: u64,
    /// Its start, in milliseconds since 1970.
    pub at_ms: i64,
    /// Whether it runs in a session of screen or tmux.
    pub seat: bool,
}

/// All attempts a keeper and its predecessors were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    boot_id: Box<str>,
    attempts: BTreeMap<AttemptId, Kept>,
}

impl Ledger {
    /// Whether an attempt may be started: only if it was never asked for.
    ///
    /// # Errors
    /// `Used` when it was.
    pub fn admit(&self, attempt: AttemptId) -> Result<(), LaunchError> {
        if self.attempts.contains_key(&attempt) { Err(LaunchError::Used) } else { Ok(()) }
    }

    /// What is known of an attempt.
    pub fn get(&self, attempt: AttemptId) -> Option<&Kept> {
        self.attempts.get(&attempt)
    }

    /// All attempts.
    pub fn iter(&self) -> impl Iterator<Item = (AttemptId, &Kept)> {
        self.attempts.iter().map(|(attempt, kept)| (*attempt, kept))
    }

    /// Takes in one line of the log: the only way the memory changes.
    pub fn apply(&mut self, record: &KeeperRecord) {
        match record {
            KeeperRecord::Opened { boot_id, .. } => self.boot_id.clone_from(boot_id),
            KeeperRecord::Launching { attempt, log, log_from, at_ms, seat } => {
                let kept = Kept {
                    fate: Fate::Launching,
                    boot_id: self.boot_id.clone(),
                    log: log.clone(),
                    log_from: *log_from,
                    at_ms: *at_ms,
                    seat: *seat,
                };
                self.attempts.insert(*attempt, kept);
            }
            KeeperRecord::Running { attempt, pid, start_time } => {
                self.settle(*attempt, Fate::Running { pid: *pid, start_time: *start_time });
            }
            KeeperRecord::Ended { attempt, exit, elapsed_ms, survivors } => {
                let fate = Fate::Ended { exit: *exit, elapsed_ms: *elapsed_ms, survivors: *survivors };
                self.settle(*attempt, fate);
            }
            KeeperRecord::Failed { attempt, why } => self.settle(*attempt, Fate::Failed(why.clone())),
            KeeperRecord::Voided { attempt } => self.settle(*attempt, Fate::Voided),
        }
    }

    fn settle(&mut self, attempt: AttemptId, fate: Fate) {
        let boot_id = &self.boot_id;
        self.attempts
            .entry(attempt)
            .or_insert_with(|| Kept {
                fate: Fate::Voided,
                boot_id: boot_id.clone(),
                log: Box::default(),
                log_from: 0,
                at_ms: 0,
                seat: false,
            })
            .fate = fate;
    }
}
