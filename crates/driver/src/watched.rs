//! A small file that others write, looked at whenever it may have changed.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::jobsfile::{Notice, Stamp, Stir};
use crate::medium::PathError;

/// A file of more bytes than this is not read.
const LARGEST: u64 = 1 << 20;

/// What is known of such a file.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    notice: Option<Notice>,
    look_every: Duration,
    next_look: Instant,
    /// The state in which it was last read.
    judged: State,
    /// Another state that was seen at the last look.
    changing: Option<State>,
}

/// In which state the file was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    NeverLookedAt,
    Absent,
    There(Stamp),
}

/// What a file says.
pub(crate) type Content = Result<Option<Vec<u8>>, PathError>;

impl Watched {
    /// A file, which need not be there; looked at after this time where the
    /// kernel tells of no change.
    pub(crate) fn new(path: PathBuf, look_every: Duration) -> Self {
        let mut notice = Notice::new().ok();
        if let Some(notice) = &mut notice {
            notice.follow_name(&path);
        }
        Self {
            path,
            notice,
            look_every,
            next_look: Instant::now(),
            judged: State::NeverLookedAt,
            changing: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.notice.as_ref().map(Notice::fd)
    }

    pub(crate) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// What it says, where that may be news; `Ok(None)` inside means that it is
    /// not there. One that is being written is waited for.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Content> {
        let stir = self.notice.as_mut().map_or(Stir::Nothing, Notice::take);
        if stir == Stir::Nothing && now < self.next_look {
            return None;
        }
        self.next_look = now + self.look_every;
        let state = self.state();
        if self.judged == state {
            self.changing = None;
            return None;
        }
        let is_first = self.judged == State::NeverLookedAt;
        let stands_still = is_first || state == State::Absent || self.changing == Some(state);
        if stir != Stir::Complete && !stands_still {
            self.changing = Some(state);
            self.next_look = now + self.look_every.min(Duration::from_secs(1));
            return None;
        }
        self.changing = None;
        self.judged = state;
        Some(self.read())
    }

    /// Its present state is known: we have just written it.
    pub(crate) fn is_known(&mut self) {
        self.judged = self.state();
        self.changing = None;
    }

    /// Whether its state is another than the one last known.
    pub(crate) fn has_changed(&self) -> bool {
        self.judged != self.state()
    }

    fn state(&self) -> State {
        fs::metadata(&self.path).map_or(State::Absent, |metadata| State::There(Stamp::from(&metadata)))
    }

    fn read(&self) -> Content {
        let failed = |error| PathError::of("read", &self.path)(error);
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_file() && metadata.len() <= LARGEST => {
                fs::read(&self.path).map(Some).map_err(failed)
            }
            Ok(_) => Err(failed(io::Error::other("it is no regular file of at most 1 MiB"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}
