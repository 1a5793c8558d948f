//! Signals as descriptors to poll.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engine::queue::Urgency;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::low_level::{pipe, unregister};

/// From now on a file that may not grow any more (`ulimit -f`) is an error of the
/// write, as a full disk is, and not the end of this process. Unlike an ignored
/// signal this is not handed on to jobs.
///
/// # Errors
/// When the system takes no handler.
pub fn outlive_file_limits() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// What becomes of running jobs when we are told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExit {
    /// SIGINT stops them; SIGTERM and SIGHUP leave them to the keeper.
    BySignal,
    /// They are left to the keeper.
    Keep,
    /// They are stopped.
    Stop,
}

/// SIGINT, SIGTERM and SIGHUP, caught.
///
/// Where a signal stops the jobs, the first asks to end in good order and every
/// later one to kill. A signal that was ignored when the program started (`nohup`,
/// `&` in a script) stays ignored.
#[derive(Debug)]
pub struct Signals {
    interrupts: UnixStream,
    hangups: UnixStream,
    /// Kept open: a pipe without a writer is readable for ever.
    _writers: [UnixStream; 2],
    handlers: Vec<SigId>,
    on_exit: OnExit,
    first: Option<u8>,
    stopping: bool,
}

impl Signals {
    /// Begins to catch them.
    ///
    /// # Errors
    /// When the system gives no more descriptors.
    pub fn catch(on_exit: OnExit) -> io::Result<Self> {
        Self::catch_except(on_exit, ignored_signals())
    }

    /// Catches those that are not in the mask.
    pub(crate) fn catch_except(on_exit: OnExit, ignored: u64) -> io::Result<Self> {
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
        Ok(Self {
            interrupts,
            hangups,
            _writers: [interrupt, hangup],
            handlers,
            on_exit,
            first: None,
            stopping: false,
        })
    }

    /// What to poll: one of them is readable when a signal has come.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.interrupts.as_fd(), self.hangups.as_fd()]
    }

    /// The signal that came first.
    pub fn first(&self) -> Option<u8> {
        self.first
    }

    /// What the signals that have come ask for, without waiting.
    pub fn take(&mut self) -> Vec<Urgency> {
        let hangups = std::iter::repeat_n(TERMINATED, count(&self.hangups));
        let interrupts = std::iter::repeat_n(INTERRUPTED, count(&self.interrupts));
        hangups.chain(interrupts).map(|signal| self.asks_for(signal)).collect()
    }

    fn asks_for(&mut self, signal: u8) -> Urgency {
        self.first.get_or_insert(signal);
        let stops = match self.on_exit {
            OnExit::BySignal => signal == INTERRUPTED,
            OnExit::Keep => false,
            OnExit::Stop => true,
        };
        if !stops {
            return Urgency::Leave;
        }
        if std::mem::replace(&mut self.stopping, true) { Urgency::Kill } else { Urgency::Stop }
    }
}

/// SIGINT.
const INTERRUPTED: u8 = 2;

/// SIGTERM, and SIGHUP with it: who went away meant the same.
const TERMINATED: u8 = 15;

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
        let mut signals = Signals::catch_except(OnExit::BySignal, 0).unwrap();
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

    #[track_caller]
    fn check(on_exit: OnExit, signals: &[u8], expect: &[Urgency]) {
        let mut caught = Signals::catch_except(on_exit, u64::MAX).unwrap();
        let asked: Vec<Urgency> = signals.iter().map(|signal| caught.asks_for(*signal)).collect();
        assert_eq!(asked, expect);
        assert_eq!(caught.first(), signals.first().copied());
    }

    #[test]
    fn on_exit_goes_for_every_signal() {
        use Urgency::{Kill, Leave, Stop};
        check(OnExit::Keep, &[INTERRUPTED, TERMINATED, INTERRUPTED], &[Leave, Leave, Leave]);
        check(OnExit::Stop, &[TERMINATED, TERMINATED], &[Stop, Kill]);
        check(OnExit::BySignal, &[TERMINATED, INTERRUPTED, INTERRUPTED], &[Leave, Stop, Kill]);
        check(OnExit::BySignal, &[], &[]);
    }

    #[test]
    fn nothing_is_there_to_read_where_all_are_ignored() {
        let signals = Signals::catch_except(OnExit::BySignal, u64::MAX).unwrap();
        let mut fds = signals.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        assert_eq!(poll(&mut fds, Some(&Timespec::default())), Ok(0));
    }

    #[test]
    fn the_mask_of_ignored_signals() {
        assert_eq!(ignored_in("Name:\tsh\nSigIgn:\t0000000000001003\nSigCgt:\t0\n"), 0x1003);
        assert_eq!(ignored_in("Name:\tsh\n"), 0);
    }
}
