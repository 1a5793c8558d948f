//! Starting a process in a session of its own.
//!
//! `posix_spawn` is safe to call, reports a failed `exec` as its own error, and
//! sets the session before the program runs, so that no Ctrl-C can come between.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use model::Pid;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;

/// `POSIX_SPAWN_SETSID`, the same in glibc and musl; `nix` does not name it.
const SETSID: PosixSpawnFlags = PosixSpawnFlags::from_bits_retain(0x80);

/// A program to start.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Its path.
    pub(crate) path: &'a CStr,
    /// Its arguments, its own name first.
    pub(crate) arguments: &'a [&'a CStr],
    /// Its environment as `NAME=value`.
    pub(crate) environment: &'a [&'a CStr],
    /// Its standard input, output and error.
    pub(crate) stdio: Stdio<'a>,
    /// Descriptors it must not inherit, besides those closed on exec anyway.
    pub(crate) close: &'a [RawFd],
}

/// A program's standard input, output and error.
#[derive(Debug)]
pub(crate) enum Stdio<'a> {
    /// These three.
    Files([BorrowedFd<'a>; 3]),
    /// The terminal that lies there, which becomes that of its session.
    Terminal(&'a CStr),
}

/// Starts a program as the leader of a new session, with default signal
/// handling and no signal blocked.
///
/// # Errors
/// When it can't be started: no process is left then.
pub(crate) fn start(program: &Program<'_>) -> io::Result<Pid> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | SETSID,
    )?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let mut actions = PosixSpawnFileActions::init()?;
    match program.stdio {
        Stdio::Files(files) => {
            for (fd, target) in files.iter().zip(0..) {
                actions.add_dup2(fd.as_raw_fd(), target)?;
            }
        }
        // The first terminal that the leader of a session opens is that of the
        // session; it is opened when the session is there already.
        Stdio::Terminal(path) => {
            actions.add_open(0, path, OFlag::O_RDWR, Mode::empty())?;
            actions.add_dup2(0, 1)?;
            actions.add_dup2(0, 2)?;
        }
    }
    for fd in program.close {
        actions.add_close(*fd)?;
    }
    let pid = posix_spawn(program.path, &actions, &attributes, program.arguments, program.environment)?;
    Ok(Pid(pid.as_raw().unsigned_abs()))
}
