//! Signals as descriptors to poll.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use engine::queue::Urgency;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

/// SIGINT, SIGTERM and SIGHUP, caught.
///
/// The first SIGINT asks to end in good order and every later one to kill;
/// SIGTERM and SIGHUP leave the jobs to the keeper. A signal that was ignored
/// when the program started (`nohup`, `&` in a script) stays ignored.
#[derive(Debug)]
pub struct Signals {
    interrupts: UnixStream,
    hangups: UnixStream,
    /// Kept open: a pipe without a writer is readable for ever.
    _writers: [UnixStream; 2],
    handlers: Vec<SigId>,
    interrupted: bool,
}

impl Signals {
    /// Begins to catch them.
    ///
    /// # Errors
    /// When the system gives no more descriptors.
    pub fn catch() -> io::Result<Self> {
        Self::catch_except(ignored_signals())
    }

    /// Catches those that are not in the mask.
    pub(crate) fn catch_except(ignored: u64) -> io::Result<Self> {
        let (interrupts, interrupt) = UnixStream::pair()?;
        let (hangups, hangup) = UnixStream::pair()?;
        let mut handlers = Vec::new();
        for (signal, end) in [(SIGINT, &interrupt), (SIGTERM, &hangup), (SIGHUP, &hangup)] {
            if ignored & (1 << (signal - 1)) == 0 {
                handlers.push(pipe::register(signal, end.try_clone()?)?);
            }
        }
        interrupts.set_nonblocking(true)?;
        hangups.set_nonblocking(true)?;
        Ok(Self { interrupts, hangups, _writers: [interrupt, hangup], handlers, interrupted: false })
    }

    /// What to poll: one of them is readable when a signal has come.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.interrupts.as_fd(), self.hangups.as_fd()]
    }

    /// What the signals that have come ask for, without waiting.
    pub fn take(&mut self) -> Vec<Urgency> {
        let mut asked = vec![Urgency::Leave; usize::from(count(&self.hangups) > 0)];
        for _ in 0..count(&self.interrupts) {
            asked.push(if self.interrupted { Urgency::Kill } else { Urgency::Stop });
            self.interrupted = true;
        }
        asked
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            unregister(handler);
        }
    }
}

/// How many signals have come through a pipe: each is a byte.
fn count(mut pipe: &UnixStream) -> usize {
    let mut bytes = [0; 16];
    pipe.read(&mut bytes).unwrap_or(0)
}

/// The mask of the signals this process ignores; none where that can't be told.
fn ignored_signals() -> u64 {
    std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_in(&status))
}

fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use signal_hook::low_level::raise;

    #[test]
    fn what_each_signal_asks_for() {
        // Whoever runs the tests may have them ignored.
        let mut signals = Signals::catch_except(0).unwrap();
        assert_eq!(signals.take(), []);
        raise(SIGINT).unwrap();
        assert_eq!(signals.take(), [Urgency::Stop]);
        raise(SIGINT).unwrap();
        raise(SIGINT).unwrap();
        assert_eq!(signals.take(), [Urgency::Kill, Urgency::Kill]);
        raise(SIGTERM).unwrap();
        assert_eq!(signals.take(), [Urgency::Leave]);
        raise(SIGHUP).unwrap();
        assert_eq!(signals.take(), [Urgency::Leave]);
        assert_eq!(signals.take(), []);
    }

    #[test]
    fn nothing_is_there_to_read_where_all_are_ignored() {
        let signals = Signals::catch_except(u64::MAX).unwrap();
        let mut fds = signals.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        assert_eq!(poll(&mut fds, Some(&Timespec::default())), Ok(0));
    }

    #[test]
    fn the_mask_of_ignored_signals() {
        assert_eq!(ignored_in("Name:\tsh\nSigIgn:\t0000000000001003\nSigCgt:\t0\n"), 0x1003);
        assert_eq!(ignored_in("Name:\tsh\n"), 0);
    }
}
