//! The jobs file as a level: what it says now, whenever that has changed.
//!
//! The kernel tells at once when a writer on this machine is done. Writers on
//! other machines (NFS) and those that keep the file open are found by a look at
//! its state each second, and believed once it has stood still: so a line that
//! is still being written is not run.

mod notice;
mod read;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::queue::Unreadable;
use jobspec::{Format, JobsFile};

pub use read::JobsFileError;

use crate::medium::PathError;
pub(crate) use notice::{Notice, Stir};
use read::Content;
pub(crate) use read::Stamp;

/// The time between two looks, and how long a change that only they show must
/// have stood still.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a file must have been without jobs before that is believed, and how
/// long a last line that nobody ended must have stood still.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file that takes longer to read than this is given a rest of four times as
/// long, so that a stream of changes leaves the time for everything else.
const QUICK: Duration = Duration::from_millis(10);

/// Watches the jobs file.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// Nothing where the file itself tells it.
    format: Option<Format>,
    /// Nothing where the system gives no inotify: the looks then do it alone.
    notice: Option<Notice>,
    looked: Instant,
    /// No reading before this.
    resting_until: Instant,
    /// A writer was done with the file after it was last read.
    complete: bool,
    /// The state in which it was last read and judged.
    judged: Option<Stamp>,
    /// Another state, and since when it has stood still.
    changing: Option<(Stamp, Instant)>,
    /// The jobs are gone, and since when.
    hollow: Option<(Hollow, Instant)>,
    good: Option<Arc<JobsFile>>,
    /// What was told last, if it was bad.
    told: Option<Unreadable>,
    look_every: Duration,
}

/// How jobs can be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hollow {
    /// There is no file.
    Absent,
    /// There is nothing in it.
    Empty,
}

impl Watch {
    /// Begins to watch a file, which must exist, and has this format, or where
    /// none is given, at each look the one that its first job looks like.
    ///
    /// # Errors
    /// When it does not.
    pub fn new(path: impl Into<PathBuf>, format: Option<Format>) -> Result<Self, JobsFileError> {
        let path = path.into();
        path.canonicalize().map_err(PathError::of("read", &path))?;
        let notice = Notice::new().ok().map(|mut notice| {
            notice.follow(&path);
            notice
        });
        let now = Instant::now();
        Ok(Self {
            path,
            format,
            notice,
            looked: now,
            resting_until: now,
            complete: false,
            judged: None,
            changing: None,
            hollow: None,
            good: None,
            told: None,
            look_every: LOOK_EVERY,
        })
    }

    /// Looks at it only so often where the system tells of no change; else each
    /// second.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.look_every = time;
        self
    }

    /// Reads the file for the first time. It is believed as it stands.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn first(&mut self) -> Result<Arc<JobsFile>, JobsFileError> {
        let Content { bytes, stamp, after } = read::read(&self.path)?;
        let file = Arc::new(read::parse(bytes, self.format)?);
        self.judged = (stamp == after).then_some(stamp);
        self.good = Some(Arc::clone(&file));
        Ok(file)
    }

    /// What to poll, if there is anything: readable when a look is worth while.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.notice.as_ref().map(Notice::fd)
    }

    /// When to look although nothing is readable.
    pub fn next_look(&self) -> Instant {
        let soon = self.changing.is_some() || self.hollow.is_some();
        let pause = if soon { LOOK_EVERY.min(self.look_every) } else { self.look_every };
        let next = if self.complete { self.looked } else { self.looked + pause };
        next.max(self.resting_until)
    }

    /// What the file says, if that is news: its jobs, or why it can't be used.
    /// Costs next to nothing where there is nothing to look at.
    pub fn look(&mut self, now: Instant) -> Option<Result<Arc<JobsFile>, Unreadable>> {
        let stir = self.notice.as_mut().map_or(Stir::Nothing, Notice::take);
        self.complete |= stir == Stir::Complete;
        let early = stir == Stir::Nothing && now < self.next_look();
        if early || now < self.resting_until {
            return None;
        }
        self.looked = now;
        let begun = Instant::now();
        let said = self.examine(now);
        let took = begun.elapsed();
        if took > QUICK {
            self.resting_until = now + PATIENCE.min(took * 4);
        }
        match said {
            Ok(file) => self.tell_good(file?),
            Err(error) => self.tell_bad(Unreadable(error.to_string())),
        }
    }

    /// The jobs, where there is reason to read the file and to believe it.
    fn examine(&mut self, now: Instant) -> Result<Option<Arc<JobsFile>>, JobsFileError> {
        let complete = std::mem::take(&mut self.complete);
        let stamp = match read::stamp(&self.path) {
            Ok(stamp) => stamp,
            Err(error) => {
                // Whatever comes back in its place is judged anew.
                (self.judged, self.changing) = (None, None);
                let is_premature = error.is_absence() && !self.is_meant(Hollow::Absent, now);
                return if is_premature { Ok(None) } else { Err(error) };
            }
        };
        if !complete && !self.is_worth_reading(stamp, now) {
            return Ok(None);
        }
        // Before it is read: what happens in between is then noticed.
        if let Some(notice) = &mut self.notice {
            notice.follow(&self.path);
        }
        let Content { bytes, stamp, after } = read::read(&self.path).inspect_err(|_| self.judged = None)?;
        if stamp != after {
            self.changing = Some((after, now));
            return Ok(None);
        }
        let (_, still_since) = *self.changing.get_or_insert((stamp, now));
        if !complete && is_cut_short(&bytes) && now < still_since + PATIENCE {
            return Ok(None);
        }
        self.judge(bytes, stamp, now)
    }

    /// Whether the file, without word from its writer, may say something that
    /// was not judged yet.
    fn is_worth_reading(&mut self, stamp: Stamp, now: Instant) -> bool {
        if self.judged == Some(stamp) {
            self.changing = None;
            return false;
        }
        match self.changing {
            Some((seen, since)) if seen == stamp => now >= since + LOOK_EVERY,
            Some(_) | None => {
                self.changing = Some((stamp, now));
                false
            }
        }
    }

    fn judge(
        &mut self,
        bytes: Vec<u8>,
        stamp: Stamp,
        now: Instant,
    ) -> Result<Option<Arc<JobsFile>>, JobsFileError> {
        let same = self.good.as_ref().filter(|good| good.text().as_bytes() == bytes);
        let said = match same {
            Some(good) => Ok(Arc::clone(good)),
            None => read::parse(bytes, self.format).map(Arc::new),
        };
        if said.as_ref().is_ok_and(|file| file.is_empty()) && !self.is_meant(Hollow::Empty, now) {
            return Ok(None);
        }
        (self.judged, self.changing, self.hollow) = (Some(stamp), None, None);
        said.map(Some)
    }

    /// Whether jobs that are gone are meant to be, and are not just being
    /// written anew by an editor.
    fn is_meant(&mut self, how: Hollow, now: Instant) -> bool {
        if self.good.as_ref().is_none_or(|good| good.is_empty()) {
            return true;
        }
        match self.hollow {
            Some((before, since)) if before == how => now >= since + PATIENCE,
            Some(_) | None => {
                self.hollow = Some((how, now));
                false
            }
        }
    }

    fn tell_good(&mut self, file: Arc<JobsFile>) -> Option<Result<Arc<JobsFile>, Unreadable>> {
        let was_bad = self.told.take().is_some();
        let is_new = self.good.as_ref().is_none_or(|good| good.text() != file.text());
        self.good = Some(Arc::clone(&file));
        (was_bad || is_new).then_some(Ok(file))
    }

    fn tell_bad(&mut self, why: Unreadable) -> Option<Result<Arc<JobsFile>, Unreadable>> {
        self.hollow = None;
        let is_new = self.told.as_ref() != Some(&why);
        self.told = Some(why.clone());
        is_new.then_some(Err(why))
    }
}

/// Whether the last line has no end: its writer may not be done with it.
fn is_cut_short(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|byte| *byte != b'\n')
}

#[cfg(test)]
mod tests;
