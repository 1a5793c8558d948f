//! The keeper's log, `keeper.jsonl`, and the memory it folds into.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::keeper::{KeeperRecord, Ledger};
use journal::{AppendError, Journal, Medium, OpenError};
use model::Timestamp;

use crate::medium::{FileMedium, PathError};

/// The name of the log in the log directory.
pub(crate) const LOG: &str = "keeper.jsonl";

/// What kind of journal it is.
pub(crate) const KIND: &str = "gpusched-keeper";

/// How long after a failed write the next is tried.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The log could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("cannot read {LOG}: {}", chain(.0))]
    Open(#[source] OpenError<FileMedium>),
    #[error("cannot write {LOG}: {}", chain(.0))]
    Append(#[from] AppendError),
    #[error("{LOG} could not be written a moment ago")]
    JustFailed,
}

/// The log and what it says.
///
/// What has *happened* is in memory at once and in the file as soon as that can
/// be written; what is *about to* happen is in the file first.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    journal: Option<Journal<FileMedium>>,
    /// The length of the file in bytes after the last good write.
    length: u64,
    /// Happened, but not written yet.
    backlog: Vec<KeeperRecord>,
    failed_at: Option<Instant>,
    ledger: Ledger,
}

impl Log {
    /// Reads the log at `path`, or begins one.
    ///
    /// # Errors
    /// When it can't be read, or is damaged elsewhere than at its end.
    pub(super) fn open(path: PathBuf) -> Result<Self, LogError> {
        let (journal, scan) = Journal::open(FileMedium::open(&path)?, KIND).map_err(LogError::Open)?;
        let mut ledger = Ledger::default();
        for stamped in &scan.records {
            ledger.apply(&stamped.record);
        }
        let mut log =
            Self { path, journal: Some(journal), length: 0, backlog: Vec::new(), failed_at: None, ledger };
        log.measure();
        Ok(log)
    }

    /// All that is known of attempts.
    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether something that has happened still waits to be written.
    pub(super) const fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Writes what is about to happen.
    ///
    /// # Errors
    /// When it could not be written: then it must not happen, and nothing of it
    /// is left in the file.
    pub(super) fn intend(&mut self, records: &[KeeperRecord]) -> Result<(), LogError> {
        self.catch_up()?;
        self.write(records)?;
        records.iter().for_each(|record| self.ledger.apply(record));
        Ok(())
    }

    /// Takes in what has happened.
    pub(super) fn note(&mut self, records: Vec<KeeperRecord>) {
        records.iter().for_each(|record| self.ledger.apply(record));
        self.backlog.extend(records);
        // Told to the scheduler all the same, and tried again.
        let _ = self.catch_up();
    }

    /// Tries to write what has happened but is not written yet.
    pub(super) fn catch_up(&mut self) -> Result<(), LogError> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        let backlog = std::mem::take(&mut self.backlog);
        let result = self.write(&backlog);
        if result.is_err() {
            self.backlog = backlog;
        }
        result
    }

    fn write(&mut self, records: &[KeeperRecord]) -> Result<(), LogError> {
        if self.failed_at.is_some_and(|failed| failed.elapsed() < TRY_AGAIN) {
            return Err(LogError::JustFailed);
        }
        let result = self.append(records);
        self.failed_at = result.is_err().then(Instant::now);
        result
    }

    fn append(&mut self, records: &[KeeperRecord]) -> Result<(), LogError> {
        let journal = match &mut self.journal {
            Some(journal) => journal,
            None => self.journal.insert(reopen(&self.path, self.length)?),
        };
        match journal.append(records, Timestamp::now()) {
            Ok(_) => {
                self.measure();
                Ok(())
            }
            Err(error) => {
                self.journal = None;
                Err(error.into())
            }
        }
    }

    fn measure(&mut self) {
        if let Some(Ok(length)) = self.journal.as_mut().map(|journal| journal.medium_mut().len()) {
            self.length = length;
        }
    }
}

/// Opens the log anew after a failed write, without what that left behind:
/// an intention that was refused must not be found there by a later keeper.
fn reopen(path: &std::path::Path, length: u64) -> Result<Journal<FileMedium>, LogError> {
    let mut medium = FileMedium::open(path)?;
    if medium.len().is_ok_and(|now| now > length) {
        // Nothing to do if it fails: then so will the next write.
        let _ = medium.truncate(length);
    }
    let (journal, _) = Journal::open::<KeeperRecord>(medium, KIND).map_err(LogError::Open)?;
    Ok(journal)
}

/// An error and all it came from, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        next = source.source();
    }
    text
}
