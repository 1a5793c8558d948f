//! Where the bytes of a journal lie.

/// A file, or what stands in for one in a test.
///
/// It may fail at any call and need not say how far it came: a [`Journal`]
/// never calls it again for writing after a failure.
///
/// [`Journal`]: crate::Journal
#[expect(clippy::len_without_is_empty, reason = "it measures, and may fail at it; it is no collection")]
pub trait Medium {
    /// All bytes; none where there is no file yet.
    ///
    /// # Errors
    /// When they can't be read.
    fn read(&mut self) -> Result<Vec<u8>, MediumError>;

    /// How many bytes there are now, whoever wrote them; 0 where there is no
    /// file yet.
    ///
    /// # Errors
    /// When it can't be told.
    fn len(&mut self) -> Result<u64, MediumError>;

    /// Cuts off all bytes from `to` on.
    ///
    /// # Errors
    /// When that was not done.
    fn truncate(&mut self, to: u64) -> Result<(), MediumError>;

    /// Adds bytes at the end, making the file where there is none.
    ///
    /// # Errors
    /// When not all were written; some of them may be.
    fn append(&mut self, bytes: &[u8]) -> Result<(), MediumError>;

    /// Returns once everything written survives a reboot.
    ///
    /// # Errors
    /// When that can't be had. What was written since the last success may or
    /// may not survive then.
    fn sync(&mut self) -> Result<(), MediumError>;

    /// Puts `all` in the place of everything there is: whoever reads finds the
    /// old bytes or the new, never a mixture, also after a reboot. On success
    /// the new bytes are synced and the old are kept beside.
    ///
    /// # Errors
    /// When that was not done, or may not have been.
    fn replace(&mut self, all: &[u8]) -> Result<(), MediumError>;
}

/// A medium failed; the verb, the path and the system's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MediumError(pub String);
