//! Two terminals: the session's, in which the seat is, and the one it gives its
//! job.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// The session's terminal: a screen and a keyboard, if somebody looks in.
#[derive(Debug)]
pub(super) struct Outer {
    /// How it was before.
    settings: Termios,
}

impl Outer {
    /// Takes over standard input, if that is a terminal: every key goes to the
    /// job as it is, and every byte of the job to the screen.
    pub(super) fn take() -> Option<Self> {
        let settings = tcgetattr(stdin()).ok()?;
        let mut raw = settings.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        let flags = fcntl_getfl(stdin()).ok()?;
        fcntl_setfl(stdin(), flags | OFlags::NONBLOCK).ok()?;
        Some(Self { settings })
    }
}

impl AsFd for Outer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // Standard output and error are the same.
        stdin()
    }
}

/// The job's terminal.
#[derive(Debug)]
pub(super) struct Inner {
    master: OwnedFd,
    /// Where the job opens it.
    pub(super) path: CString,
    /// The session's size when it was last looked at.
    size: Option<(u16, u16)>,
    /// Held open, so that a job that closes it may open it again.
    _slave: OwnedFd,
}

impl Inner {
    /// A new one that is like the session's.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(super) fn new(outer: Option<&Outer>) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = ptsname(&master, Vec::new())?;
        let slave = open(path.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = fcntl_getfl(&master)?;
        fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        if let Some(outer) = outer {
            tcsetattr(&slave, OptionalActions::Now, &outer.settings)?;
        }
        let mut inner = Self { master, path, size: None, _slave: slave };
        inner.resize(outer);
        Ok(inner)
    }

    /// Makes it as large as the session's, where that has changed; the system
    /// tells the job.
    pub(super) fn resize(&mut self, outer: Option<&Outer>) {
        let Some(size) = outer.and_then(|outer| tcgetwinsize(outer).ok()) else { return };
        let new = Some((size.ws_row, size.ws_col));
        if new != self.size {
            self.size = new;
            // A job with the old size is better than none.
            let _ = tcsetwinsize(&self.master, size);
        }
    }
}

impl AsFd for Inner {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}
