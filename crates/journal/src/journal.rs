//! A journal that is open for writing.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::line::{self, EncodeError};
use crate::{Medium, MediumError, Scan, ScanError, Tail, scan};

/// A journal on its medium.
///
/// **Invariant:** after any failure nothing is written any more, for nobody
/// knows what the medium holds then: [`Journal::open`] finds out.
#[derive(Debug)]
pub struct Journal<M> {
    medium: M,
    kind: &'static str,
    /// How many bytes the medium holds, unless someone else writes to it.
    len: u64,
    /// The number of the last record.
    last: u64,
    /// Why nothing may be written any more.
    poison: Option<String>,
    buffer: Vec<u8>,
}

/// A journal could not be opened. No record was changed; at most a torn tail is
/// cut off, or the header of an empty journal begun.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<M> {
    /// The medium failed.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// It holds a file of another program, for one a journal of the Python
    /// tool. What can be used of it may go into a new journal in its place:
    /// [`Journal::create`].
    #[error("{}", ScanError::NotOurs)]
    NotOurs {
        /// The medium, unchanged.
        medium: M,
        /// All it holds.
        bytes: Vec<u8>,
    },
    /// It is damaged, or a journal of something else, or too new.
    #[error(transparent)]
    Scan(ScanError),
}

/// A journal could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It failed before, and nothing was tried now.
    #[error("nothing is written after an earlier failure: {0}")]
    Poisoned(String),
    /// Another program has written to it. That is left as it is.
    #[error("another program writes to the journal: it has {found} bytes where we left {expected}")]
    Foreign {
        /// Its length as we left it, in bytes.
        expected: u64,
        /// Its length, in bytes.
        found: u64,
    },
    /// A record can't be written at all.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The medium failed; the records may be written in part.
    #[error(transparent)]
    Medium(#[from] MediumError),
}

impl<M: Medium> Journal<M> {
    /// Opens a journal of the given kind (a plain word) and reads it. A torn
    /// tail is cut off, so that nothing is ever written behind it; a journal
    /// without a header gets one.
    ///
    /// # Errors
    /// When the medium fails or holds something else.
    pub fn open<R: DeserializeOwned>(
        mut medium: M,
        kind: &'static str,
    ) -> Result<(Self, Scan<R>), OpenError<M>> {
        let bytes = medium.read()?;
        let scan = match scan::<R>(&bytes, kind) {
            Ok(scan) => scan,
            Err(ScanError::NotOurs) => return Err(OpenError::NotOurs { medium, bytes }),
            Err(error) => return Err(OpenError::Scan(error)),
        };
        if let Tail::Torn { at, .. } = scan.tail {
            medium.truncate(at)?;
            medium.sync()?;
        }
        let mut len = scan.good;
        if len == 0 {
            let header = line::header(kind, scan.next_seq);
            medium.append(&header)?;
            len = header.len() as u64;
        }
        Ok((Self { medium, kind, len, last: scan.next_seq - 1, poison: None, buffer: Vec::new() }, scan))
    }

    /// Puts a new journal with these records in the place of whatever the
    /// medium holds. It is synced on return, the old content kept beside.
    ///
    /// # Errors
    /// When a record can't be written or the medium fails.
    pub fn create<R: Serialize>(
        medium: M,
        kind: &'static str,
        records: &[R],
        at: Timestamp,
    ) -> Result<Self, AppendError> {
        let mut journal = Self { medium, kind, len: 0, last: 0, poison: None, buffer: Vec::new() };
        journal.replace(records, at)?;
        Ok(journal)
    }

    /// Appends records, all in one write, and tells the number of the last one.
    /// They survive the end of this process; a reboot only after
    /// [`Journal::sync`]. No records are no write.
    ///
    /// # Errors
    /// When they could not all be written: some may be, nothing must follow
    /// from any, and every later call fails.
    pub fn append<R: Serialize>(&mut self, records: &[R], at: Timestamp) -> Result<u64, AppendError> {
        self.guarded(|journal| {
            if records.is_empty() {
                return Ok(journal.last);
            }
            let mut buffer = std::mem::take(&mut journal.buffer);
            buffer.clear();
            let last = encode_all(records, journal.last, at, &mut buffer)?;
            journal.check_len()?;
            journal.medium.append(&buffer)?;
            journal.len += buffer.len() as u64;
            journal.last = last;
            journal.buffer = buffer;
            Ok(last)
        })
    }

    /// Returns once all records survive a reboot.
    ///
    /// # Errors
    /// When that can't be had: every later call fails, for what a failed sync
    /// has left out, a second one may leave out in silence.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.guarded(|journal| Ok(journal.medium.sync()?))
    }

    /// Compacts: puts these records in the place of all others and tells the
    /// number of the last one. They are numbered on and synced; the old content
    /// is kept beside.
    ///
    /// # Errors
    /// When that was not done, or may not have been: every later call fails.
    pub fn rewrite<R: Serialize>(&mut self, records: &[R], at: Timestamp) -> Result<u64, AppendError> {
        self.guarded(|journal| {
            journal.check_len()?;
            journal.replace(records, at)?;
            Ok(journal.last)
        })
    }

    /// Has every later call fail, because of something that was seen elsewhere:
    /// a sync that failed in another thread, say.
    pub fn poison(&mut self, why: String) {
        self.poison.get_or_insert(why);
    }

    /// The number of the last record; 0 where there never was one.
    pub fn written(&self) -> u64 {
        self.last
    }

    /// The medium.
    pub fn medium(&self) -> &M {
        &self.medium
    }

    /// The medium. Whoever writes to it directly is another program to this
    /// journal.
    pub fn medium_mut(&mut self) -> &mut M {
        &mut self.medium
    }

    fn guarded<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        if let Some(why) = &self.poison {
            return Err(AppendError::Poisoned(why.clone()));
        }
        let result = write(self);
        if let Err(error) = &result {
            self.poison(error.to_string());
        }
        result
    }

    fn check_len(&mut self) -> Result<(), AppendError> {
        let found = self.medium.len()?;
        if found == self.len { Ok(()) } else { Err(AppendError::Foreign { expected: self.len, found }) }
    }

    fn replace<R: Serialize>(&mut self, records: &[R], at: Timestamp) -> Result<(), AppendError> {
        let mut all = line::header(self.kind, self.last + 1);
        let last = encode_all(records, self.last, at, &mut all)?;
        self.medium.replace(&all)?;
        self.len = all.len() as u64;
        self.last = last;
        Ok(())
    }
}

/// Adds the lines of records numbered from `last + 1` and tells the last number.
fn encode_all<R: Serialize>(
    records: &[R],
    last: u64,
    at: Timestamp,
    out: &mut Vec<u8>,
) -> Result<u64, EncodeError> {
    let mut seq = last;
    for record in records {
        seq += 1;
        line::encode(record, seq, at, out)?;
    }
    Ok(seq)
}
