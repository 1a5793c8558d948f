//! The keeper's log, `keeper.jsonl`, and the memory it folds into.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::keeper::{KeeperRecord, Ledger};
use journal::{AppendError, Journal, Medium, MediumError, OpenError};
use model::Timestamp;

use crate::medium::{FileMedium, PathError};

/// The name of the log in the log directory.
pub(crate) const LOG: &str = "keeper.jsonl";

/// What kind of journal it is.
pub(crate) const KIND: &str = "keeper";

/// How long after a failed write the next is tried.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The keeper's log could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file could not be opened.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It could not be read or begun, or is damaged elsewhere than at its end.
    #[error("cannot open {LOG}: {0}")]
    Open(#[source] OpenError<FileMedium>),
    /// It could not be written.
    #[error("cannot write {LOG}: {0}")]
    Append(#[from] AppendError),
    /// It could not be mended after a failed write.
    #[error("cannot mend {LOG}: {0}")]
    Mend(#[from] MediumError),
    /// It could not be written just now, and was not tried again.
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
    /// Whether a failed write may have left something behind that.
    soiled: bool,
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
        let (backlog, failed_at, soiled) = (Vec::new(), None, false);
        let mut log = Self { path, journal: Some(journal), length: 0, soiled, backlog, failed_at, ledger };
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
        for record in records {
            self.ledger.apply(record);
        }
        Ok(())
    }

    /// Takes in what has happened.
    pub(super) fn note(&mut self, records: Vec<KeeperRecord>) {
        for record in &records {
            self.ledger.apply(record);
        }
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
        let journal = if let Some(journal) = &mut self.journal {
            journal
        } else {
            let journal = reopen(&self.path, self.soiled.then_some(self.length))?;
            self.soiled = false;
            self.journal.insert(journal)
        };
        let result = journal.append(records, Timestamp::now());
        if let Err(error) = &result {
            self.soiled = matches!(error, AppendError::Medium(_));
            self.journal = None;
        }
        self.measure();
        result.map(drop).map_err(LogError::from)
    }

    fn measure(&mut self) {
        if let Some(Ok(length)) = self.journal.as_mut().map(|journal| journal.medium_mut().len()) {
            self.length = length;
        }
    }
}

/// Opens the log anew after a failed write, cut to the length it had before: an
/// intention that was refused must not be found there by a later keeper.
fn reopen(path: &Path, cut: Option<u64>) -> Result<Journal<FileMedium>, LogError> {
    let mut medium = FileMedium::open(path)?;
    if let Some(length) = cut
        && medium.len()? > length
    {
        medium.truncate(length)?;
    }
    let (journal, _) = Journal::open::<KeeperRecord>(medium, KIND).map_err(LogError::Open)?;
    Ok(journal)
}
