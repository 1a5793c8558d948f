//! What `/proc` tells about processes, and signals that reach the one meant.
//!
//! A pid alone is no identity: it is given out again. A process is known by its
//! pid and the moment it started, and both are compared *after* a pidfd holds
//! the process fast.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str;
use std::time::Duration;

use model::{AttemptId, Exit, Pid, SignedDuration, StopSignal};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, WaitStatus, kill_process, pidfd_open, pidfd_send_signal};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The variable that tells a job which attempt it is.
pub const ATTEMPT_VARIABLE: &str = "GPUSCHED_ATTEMPT";

/// The variable that tells a job its number.
pub const JOB_VARIABLE: &str = "GPUSCHED_JOB";

/// The variable that tells a job the log directory it belongs to. Attempts of
/// two directories can have the same name, for it is made from the command.
pub const DIR_VARIABLE: &str = "GPUSCHED_DIR";

/// Clock ticks in a second: `USER_HZ`, which Linux fixes at 100 on every
/// architecture with GPUs.
const TICKS: u64 = 100;

/// One process at one moment (`/proc/PID/stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// Its state as one letter (field 3).
    pub state: u8,
    /// Its parent (field 4).
    pub parent: Pid,
    /// Its process group (field 5).
    pub group: Pid,
    /// Its session (field 6): the pid of the process that opened it.
    pub session: Pid,
    /// When it started, in clock ticks since boot (field 22).
    pub start_time: u64,
}

impl Process {
    /// Reads a process; nothing where there is none.
    pub fn read(pid: Pid) -> Option<Self> {
        // One read takes it all: the name has at most 64 bytes, a number 20.
        let mut stat = [0; 1024];
        let length =
            File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut stat)).ok()?;
        Self::parse(pid, stat.get(..length)?)
    }

    /// The name in field 2 may hold spaces, parentheses and line ends, so
    /// fields are counted after its last parenthesis.
    fn parse(pid: Pid, stat: &[u8]) -> Option<Self> {
        let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let mut number = || fields.next()?.parse().ok().map(Pid);
        let (parent, group, session) = (number()?, number()?, number()?);
        let start_time = fields.nth(15)?.parse().ok()?;
        Some(Self { pid, state, parent, group, session, start_time })
    }

    /// Whether it still does anything: a zombie does not.
    pub const fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// The process that started at `start_time`, if it lives.
    pub fn find(pid: Pid, start_time: u64) -> Option<Self> {
        Self::read(pid).filter(|process| process.start_time == start_time && process.is_alive())
    }

    /// How long ago it started, to a hundredth of a second and including time
    /// the machine slept.
    ///
    /// By the clock that start times are made of. `/proc/uptime` is not it
    /// everywhere: some containers are shown their own.
    pub fn age(start_time: u64) -> Option<SignedDuration> {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        let now = Duration::new(tv_sec.try_into().ok()?, tv_nsec.try_into().ok()?);
        let then = Duration::from_millis(start_time.saturating_mul(1000 / TICKS));
        SignedDuration::try_from(now.saturating_sub(then)).ok()
    }

    /// Sends a signal to this process and no other. `false`: it is gone, or not
    /// ours.
    pub fn signal(&self, signal: StopSignal) -> bool {
        let Some(pid) = raw(self.pid) else { return false };
        let number = number_of(signal);
        let same = || Self::read(self.pid).is_some_and(|now| now.start_time == self.start_time);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => same() && pidfd_send_signal(process, number).is_ok(),
            Err(Errno::NOSYS) => same() && kill_process(pid, number).is_ok(),
            Err(_) => false,
        }
    }
}

/// A hold on a living process that becomes readable when it ends.
///
/// # Errors
/// `NotFound` when it is gone or another one has its pid; others when the
/// system has no pidfds (before Linux 5.3) or no room for one.
pub fn hold(pid: Pid, start_time: u64) -> io::Result<OwnedFd> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let held = pidfd_open(raw(pid).ok_or_else(gone)?, PidfdFlags::empty())
        .map_err(|errno| if errno == Errno::SRCH { gone() } else { io::Error::from(errno) })?;
    Process::find(pid, start_time).ok_or_else(gone)?;
    Ok(held)
}

/// The pid as the system calls want it.
pub fn raw(pid: Pid) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(pid.0).ok()?)
}

/// A pid as the system calls give it.
pub fn pid(raw: rustix::process::Pid) -> Pid {
    Pid(raw.as_raw_nonzero().get().unsigned_abs())
}

/// The signal as the system calls want it.
pub const fn number_of(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::TERM,
        StopSignal::Kill => Signal::KILL,
    }
}

/// How a process ended that was waited for; nothing where it did not end.
pub(crate) fn exit_of(status: WaitStatus) -> Option<Exit> {
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok()).map(Exit::Code);
    code.or_else(|| {
        status.terminating_signal().and_then(|number| u8::try_from(number).ok()).map(Exit::Signal)
    })
}

/// The boot this machine is in (`/proc/sys/kernel/random/boot_id`).
///
/// # Errors
/// When `/proc` can't be read.
pub fn boot_id() -> io::Result<Box<str>> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().into())
}

/// The children of a single-threaded process. A subreaper's children include
/// the orphans of all it ever started.
pub fn children(parent: Pid) -> Vec<Pid> {
    if let Ok(list) = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        return list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok().map(Pid)).collect();
    }
    // A kernel without CONFIG_PROC_CHILDREN.
    let all = Census::take();
    all.iter().filter(|process| process.parent == parent).map(|process| process.pid).collect()
}

/// How processes of a log directory's jobs are told from all others: by what
/// stands in their environment.
#[derive(Debug, Clone)]
pub struct Mark {
    dir: Vec<u8>,
}

impl Mark {
    /// The mark of the jobs of a log directory, given as an absolute path.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.as_os_str().as_bytes().to_vec() }
    }

    /// The attempt that a process was started for, if its environment says so
    /// and may be read.
    pub fn read(&self, pid: Pid) -> Option<AttemptId> {
        self.find(&fs::read(format!("/proc/{pid}/environ")).ok()?)
    }

    fn find(&self, environ: &[u8]) -> Option<AttemptId> {
        let value = |name: &str| {
            environ
                .split(|byte| *byte == 0)
                .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        if value(DIR_VARIABLE)? != self.dir {
            return None;
        }
        str::from_utf8(value(ATTEMPT_VARIABLE)?).ok()?.parse().ok()
    }
}

/// All processes that could be seen at one moment.
#[derive(Debug, Default)]
pub struct Census {
    processes: BTreeMap<Pid, Process>,
    children: BTreeMap<Pid, Vec<Pid>>,
}

impl Census {
    /// Reads the whole of `/proc`: some milliseconds.
    pub fn take() -> Self {
        let mut census = Self::default();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).map(Pid) else { continue };
            if let Some(process) = Process::read(pid) {
                census.children.entry(process.parent).or_default().push(pid);
                census.processes.insert(pid, process);
            }
        }
        census
    }

    /// All of them, by pid.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// These processes and all that descend from them, by pid.
    pub fn with_descendants(&self, roots: impl IntoIterator<Item = Pid>) -> BTreeMap<Pid, Process> {
        let mut found = BTreeMap::new();
        let mut open: Vec<Pid> = roots.into_iter().collect();
        while let Some(pid) = open.pop() {
            if let Some(process) = self.processes.get(&pid)
                && found.insert(pid, *process).is_none()
            {
                open.extend(self.children.get(&pid).into_iter().flatten());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stat: &str, expect: Option<(u8, u32, u32, u64)>) {
        let seen = Process::parse(Pid(7), stat.as_bytes());
        assert_eq!(seen.map(|p| (p.state, p.parent.0, p.session.0, p.start_time)), expect, "{stat:?}");
    }

    #[test]
    fn the_stat_line() {
        let rest = "5 6 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 0";
        check(&format!("7 (sh) S {rest}"), Some((b'S', 5, 7, 12345)));
        check(&format!("7 (a) R 1 (b c)\n) Z {rest}"), Some((b'Z', 5, 7, 12345)));
        check("7 (sh) S 5 6", None);
        check("", None);
    }

    #[test]
    fn a_mark_counts_in_its_own_directory_only() {
        let mark = Mark::new(Path::new("/logs/a"));
        let environ = |dir: &str| format!("X=1\0GPUSCHED_DIR={dir}\0GPUSCHED_ATTEMPT=3f9a1c20b7de#0/2\0");
        assert_eq!(mark.find(environ("/logs/a").as_bytes()), "3f9a1c20b7de#0/2".parse().ok());
        assert_eq!(mark.find(environ("/logs/ab").as_bytes()), None);
        assert_eq!(mark.find(b"GPUSCHED_DIR=/logs/a\0"), None);
    }

    #[test]
    fn this_very_process() {
        let me = Pid(std::process::id());
        let process = Process::read(me).unwrap();
        assert!(process.is_alive());
        assert!(hold(me, process.start_time).is_ok());
        let other = hold(me, process.start_time + 1).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::NotFound);
        assert!(Process::age(process.start_time).is_some_and(|age| age < SignedDuration::from_hours(1)));
        assert!(Census::take().with_descendants([process.parent]).contains_key(&me));
    }
}
