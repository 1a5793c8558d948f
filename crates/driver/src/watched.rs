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

/// How long a file has to be away, or to stay as it is where nobody tells that it
/// is complete: who replaces it may first move the old one away.
const SETTLED: Duration = Duration::from_secs(1);

/// What is known of such a file.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    notice: Option<Notice>,
    look_every: Duration,
    next_look: Instant,
    /// The state in which it was last read.
    judged: State,
    /// Another state, and since when it was seen.
    changing: Option<(State, Instant)>,
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
        let is_complete = stir == Stir::Complete && state != State::Absent;
        if !is_first && !is_complete {
            let since = self.changing.filter(|(before, _)| *before == state).map_or(now, |(_, since)| since);
            let settled = since + if state == State::Absent { SETTLED } else { self.look_every.min(SETTLED) };
            if now < settled {
                self.changing = Some((state, since));
                self.next_look = settled;
                return None;
            }
        }
        self.changing = None;
        self.judged = state;
        Some(self.read())
    }

    /// Its present state is known: we have just written this. Where somebody has
    /// written something else since, that is news.
    pub(crate) fn is_known(&mut self, written: &[u8]) {
        self.changing = None;
        self.judged = self.state();
        if !self.read().is_ok_and(|content| content.as_deref() == Some(written)) {
            self.judged = State::NeverLookedAt;
            self.next_look = Instant::now();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What looks find at times after the file was changed, without a word of the
    /// kernel's: `no news`, `away` or what it says.
    #[track_caller]
    fn check(change: impl Fn(&Path), looks: &[(u64, &str)]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        let every = Duration::from_millis(10);
        let mut file = Watched { notice: None, ..Watched::new(path.clone(), every) };
        let began = Instant::now();
        assert!(matches!(file.look(began), Some(Ok(Some(old))) if old == b"old"));
        change(&path);
        for (after, expect) in looks {
            let found = match file.look(began + every + Duration::from_millis(*after)) {
                None => "no news".to_owned(),
                Some(Ok(None)) => "away".to_owned(),
                Some(content) => String::from_utf8(content.unwrap().unwrap()).unwrap(),
            };
            assert_eq!(found, *expect, "after {after} ms");
        }
    }

    #[test]
    fn one_that_is_away_for_a_moment_is_waited_for() {
        let remove = |path: &Path| fs::remove_file(path).unwrap();
        let looks = [(0, "no news"), (500, "no news"), (999, "no news"), (1000, "away"), (2000, "no news")];
        check(remove, &looks);
    }

    #[test]
    fn one_that_is_written_is_read_when_it_stands_still() {
        let write = |path: &Path| fs::write(path, "newer").unwrap();
        check(write, &[(0, "no news"), (5, "no news"), (10, "newer"), (30, "no news")]);
    }

    #[test]
    fn what_is_written_right_behind_us_is_news() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "ours").unwrap();
        let mut file = Watched::new(path.clone(), Duration::from_secs(60));
        file.is_known(b"ours");
        assert!(!file.has_changed());
        fs::write(&path, "theirs").unwrap();
        file.is_known(b"ours");
        assert!(file.has_changed());
        assert!(matches!(file.look(Instant::now()), Some(Ok(Some(theirs))) if theirs == b"theirs"));
    }
}
