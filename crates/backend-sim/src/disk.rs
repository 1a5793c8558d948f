//! A disk that tears writes and forgets what was not synced.

use std::cell::RefCell;
use std::rc::Rc;

use journal::{Medium, MediumError};

/// The file a journal is in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Rc<RefCell<Content>>);

#[derive(Debug, Default)]
struct Content {
    /// What every reader sees.
    written: Vec<u8>,
    /// What survives a reboot.
    synced: Vec<u8>,
    /// The next append stops after this many bytes.
    tear_at: Option<usize>,
}

impl Disk {
    /// Has the next append stop after `bytes`.
    pub(crate) fn tear_next(&self, bytes: usize) {
        self.0.borrow_mut().tear_at = Some(bytes);
    }

    /// Puts everything written so far on the platter.
    pub(crate) fn sync_all(&self) {
        self.0.borrow_mut().sync();
    }

    /// How much was written so far.
    pub(crate) fn written(&self) -> usize {
        self.0.borrow().written.len()
    }

    /// Puts the first `bytes` on the platter.
    pub(crate) fn sync_up_to(&self, bytes: usize) {
        let mut content = self.0.borrow_mut();
        if bytes > content.synced.len() && bytes <= content.written.len() {
            content.synced = content.written[..bytes].to_vec();
        }
    }

    /// A reboot: of what was written but not synced, `kept` bytes survive.
    pub(crate) fn reboot(&self, kept: usize) {
        let mut content = self.0.borrow_mut();
        let length = (content.synced.len() + kept).min(content.written.len());
        if content.written.starts_with(&content.synced) {
            content.written.truncate(length);
        } else {
            content.written = std::mem::take(&mut content.synced);
        }
        content.sync();
    }
}

impl Content {
    fn sync(&mut self) {
        self.synced.clone_from(&self.written);
    }
}

impl Medium for Disk {
    fn read(&mut self) -> Result<Vec<u8>, MediumError> {
        Ok(self.0.borrow().written.clone())
    }

    fn len(&mut self) -> Result<u64, MediumError> {
        Ok(self.0.borrow().written.len() as u64)
    }

    fn truncate(&mut self, to: u64) -> Result<(), MediumError> {
        let mut content = self.0.borrow_mut();
        content.written.truncate(usize::try_from(to).unwrap_or(usize::MAX));
        content.sync();
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), MediumError> {
        let mut content = self.0.borrow_mut();
        let torn = content.tear_at.take().filter(|at| *at < bytes.len());
        content.written.extend_from_slice(&bytes[..torn.unwrap_or(bytes.len())]);
        if torn.is_some() { Err(MediumError("no space left on device".to_owned())) } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        self.sync_all();
        Ok(())
    }

    fn replace(&mut self, all: &[u8]) -> Result<(), MediumError> {
        let mut content = self.0.borrow_mut();
        content.written = all.to_vec();
        content.synced = all.to_vec();
        Ok(())
    }
}
