//! The file that says what each model needs, watched.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::queue::Unreadable;
use jobspec::Models;

use crate::watched::Watched;

/// `llm_config.json`, or what it is called.
#[derive(Debug)]
pub struct ModelsFile {
    file: Watched,
}

/// What the file says: nothing where it is not there.
type Said = Result<Option<Arc<Models>>, Unreadable>;

impl ModelsFile {
    /// The file at `path`, which need not be there, looked at after `look_every`
    /// where the kernel tells of no change.
    pub fn new(path: PathBuf, look_every: Duration) -> Self {
        Self { file: Watched::new(path, look_every) }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.fd()
    }

    pub(crate) fn next_look(&self) -> Instant {
        self.file.next_look()
    }

    /// What it says, where that may be news.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Said> {
        let content = self.file.look(now)?;
        let named = |why: String| Unreadable(format!("{}: {why}", self.file.path().display()));
        Some(match content {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Models::parse(&text)
                    .map(|models| Some(Arc::new(models)))
                    .map_err(|error| named(error.to_string())),
                Err(_) => Err(named("it is not UTF-8".to_owned())),
            },
            Err(error) => Err(Unreadable(error.to_string())),
        })
    }
}
