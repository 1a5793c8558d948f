//! Shortening the keeper's log, and beginning it anew: only while no keeper
//! lives, whose lock is held meanwhile.

use std::fs;
use std::path::Path;
use std::time::Duration;

use engine::keeper::{Fate, KeeperRecord, Ledger};
use journal::{Journal, Scan};
use model::{AttemptId, Timestamp};

use crate::host::HostError;
use crate::keeper::{KIND, LOG, LogError, take_lock};
use crate::medium::{FileMedium, PathError};
use crate::proc::{self, Process};
use crate::seat::files::clear;
use crate::seat::seats;

/// Up to this size, in bytes, a log is not worth shortening.
const SMALL: u64 = 1 << 20;

/// How long a keeper that has nothing to do may take to end.
const WAIT_FOR_END: Duration = Duration::from_secs(3);

/// Shortens a large log to the attempts that are not settled.
pub(super) fn shorten(dir: &Path, settled: impl Fn(AttemptId) -> bool) -> Result<(), HostError> {
    let path = dir.join(LOG);
    if fs::metadata(&path).map_or(0, |log| log.len()) <= SMALL {
        return Ok(());
    }
    let Some(_lock) = take_lock(dir, Duration::ZERO)? else { return Ok(()) };
    let (mut journal, scan) = read(&path)?;
    let mut kept: Vec<KeeperRecord> = Vec::new();
    for stamped in scan.records {
        match attempt_of(&stamped.record) {
            Some(attempt) if settled(attempt) => {}
            Some(_) => kept.push(stamped.record),
            // Of keepers in a row only the last has anything behind it.
            None => {
                kept.pop_if(|record| attempt_of(record).is_none());
                kept.push(stamped.record);
            }
        }
    }
    let rewritten = journal.rewrite(&kept, Timestamp::now());
    rewritten.map(drop).map_err(|error| HostError::Log(LogError::from(error).to_string()))
}

/// Puts the keeper's log of a directory aside, as `keeper.jsonl.1`: no attempt
/// has been used then. For a queue that is to be run from the start.
///
/// # Errors
/// When a keeper works there, a job of an earlier one still runs, or the log
/// can't be read or moved.
pub fn start_fresh(dir: &Path) -> Result<(), HostError> {
    let path = dir.join(LOG);
    if !path.exists() {
        return Ok(());
    }
    let busy = || HostError::Busy { dir: dir.into() };
    let _lock = take_lock(dir, WAIT_FOR_END)?.ok_or_else(busy)?;
    let (_, scan) = read(&path)?;
    let mut ledger = Ledger::default();
    scan.records.iter().for_each(|stamped| ledger.apply(&stamped.record));
    let boot_id = proc::boot_id().map_err(PathError::of("read", Path::new("/proc")))?;
    let lives = ledger.iter().any(|(_, kept)| match kept.fate {
        Fate::Running { pid, start_time } => {
            kept.boot_id == boot_id && Process::find(pid, start_time).is_some()
        }
        Fate::Launching | Fate::Ended { .. } | Fate::Failed(_) | Fate::Voided => false,
    });
    if lives || !seats(dir).is_empty() {
        return Err(busy());
    }
    // Names of attempts are used again then, and what is said of these must not
    // be taken for news of those.
    clear(dir)?;
    fs::rename(&path, dir.join(format!("{LOG}.1"))).map_err(PathError::of("put aside", &path))?;
    Ok(())
}

fn read(path: &Path) -> Result<(Journal<FileMedium>, Scan<KeeperRecord>), HostError> {
    let journal = Journal::open(FileMedium::open(path)?, KIND).map_err(LogError::Open);
    journal.map_err(|error| HostError::Log(error.to_string()))
}

fn attempt_of(record: &KeeperRecord) -> Option<AttemptId> {
    match record {
        KeeperRecord::Opened { .. } => None,
        KeeperRecord::Launching { attempt, .. }
        | KeeperRecord::Running { attempt, .. }
        | KeeperRecord::Ended { attempt, .. }
        | KeeperRecord::Failed { attempt, .. }
        | KeeperRecord::Voided { attempt } => Some(*attempt),
    }
}
