//! The connection to the keeper.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use model::{AttemptId, Pid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::host::birth::{Birth, reap};
use crate::host::{HostError, KeeperConfig};
use crate::keeper::{SOCKET, at_socket};
use crate::medium::PathError;
use crate::wire::{Link, LinkError, News, Request, Standing, Text, VERSION};

/// How long a keeper may take to say hello, in seconds.
const HELLO_TIMEOUT: u64 = 10;

/// A keeper that has said hello.
#[derive(Debug)]
pub(super) struct Connection {
    link: Link,
    /// What came while we waited for something else.
    early: Vec<News>,
}

impl Connection {
    /// Connects to the keeper of the directory, if one lives.
    pub(super) fn to_living(config: &KeeperConfig) -> Result<Option<Self>, HostError> {
        let path = config.dir.join(SOCKET);
        let stream = match at_socket(&config.dir, |path| UnixStream::connect(path)) {
            Ok(stream) => stream,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(PathError::of("connect to", &path)(error).into()),
        };
        let link = Link::new(stream).map_err(PathError::of("use", &path))?;
        let mut connection = Self { link, early: Vec::new() };
        match connection.greet(config) {
            Ok(()) => Ok(Some(connection)),
            // It was just ending.
            Err(Unanswered::Link(LinkError::Closed)) => Ok(None),
            Err(Unanswered::Link(error)) => Err(HostError::Talk(error.to_string())),
            Err(Unanswered::TimedOut) => {
                Err(HostError::Silent { dir: config.dir.clone(), seconds: HELLO_TIMEOUT })
            }
            Err(Unanswered::Version { pid, theirs }) => {
                Err(HostError::Version { dir: config.dir.clone(), pid, theirs, ours: VERSION })
            }
        }
    }

    /// Connects to the keeper of the directory, and starts one if there is none.
    /// `child` is the keeper if it is ours.
    pub(super) fn to_any(config: &KeeperConfig, child: &mut Option<Pid>) -> Result<Self, HostError> {
        if let Some(connection) = Self::to_living(config)? {
            return Ok(connection);
        }
        reap(child);
        let mut birth = Birth::new(config)?;
        *child = Some(birth.pid);
        birth.wait(Duration::from_secs(HELLO_TIMEOUT));
        // If ours has ended, another may have been quicker: then take that one.
        let connection = Self::to_living(config)?;
        connection.ok_or_else(|| HostError::Ended(birth.last_words()))
    }

    fn greet(&mut self, config: &KeeperConfig) -> Result<(), Unanswered> {
        self.link.push(&Request::Hello {
            version: VERSION,
            cwd: Text::from(OsString::from(&config.cwd)),
            env: environment(config).into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            umask: umask(),
        });
        let mut said = None;
        self.wait_until(Duration::from_secs(HELLO_TIMEOUT), |news| match news {
            News::Hello { version, pid } => {
                said = Some((version, pid));
                Step::Last
            }
            other @ (News::Attempt { .. } | News::Refused { .. } | News::Surveyed) => Step::NotMine(other),
        })?;
        match said {
            Some((theirs, pid)) if theirs != VERSION => Err(Unanswered::Version { pid, theirs }),
            Some(_) | None => Ok(()),
        }
    }

    /// Hands a request over. It does not wait: what the socket does not take now
    /// follows with the next call.
    pub(super) fn ask(&mut self, request: &Request) -> Result<(), HostError> {
        self.link.push(request);
        self.link.flush().map_err(|error| HostError::Talk(error.to_string()))
    }

    /// What has come.
    pub(super) fn hear(&mut self) -> Result<Vec<News>, HostError> {
        let mut news = std::mem::take(&mut self.early);
        match self.link.flush().and_then(|()| self.link.receive()) {
            Ok(more) => news.extend(more),
            // Once more, when these are taken in, and then without them.
            Err(_) if !news.is_empty() => {}
            Err(error) => return Err(HostError::Talk(error.to_string())),
        }
        Ok(news)
    }

    /// Every attempt the keeper knows.
    pub(super) fn survey(&mut self, timeout: Duration) -> Result<Vec<(AttemptId, Standing)>, HostError> {
        self.link.push(&Request::Survey);
        let mut all = BTreeMap::new();
        for news in std::mem::take(&mut self.early) {
            match news {
                // The survey will say the same, or what came of it since.
                News::Attempt { .. } => {}
                other @ (News::Hello { .. } | News::Refused { .. } | News::Surveyed) => {
                    self.early.push(other);
                }
            }
        }
        self.wait_until(timeout, |news| match news {
            News::Attempt { attempt, is } => {
                all.insert(attempt, is);
                Step::Taken
            }
            News::Surveyed => Step::Last,
            other @ (News::Hello { .. } | News::Refused { .. }) => Step::NotMine(other),
        })
        .map_err(|error| HostError::Talk(error.to_string()))?;
        Ok(all.into_iter().collect())
    }

    /// Waits for the last of the messages the caller looks for. Those it does
    /// not look for, and those that follow, are kept for [`Connection::hear`].
    fn wait_until(
        &mut self,
        timeout: Duration,
        mut step: impl FnMut(News) -> Step,
    ) -> Result<(), Unanswered> {
        let deadline = Instant::now() + timeout;
        let mut done = false;
        loop {
            self.link.flush()?;
            for news in self.link.receive()? {
                match if done { Step::NotMine(news) } else { step(news) } {
                    Step::Taken => {}
                    Step::NotMine(news) => self.early.push(news),
                    Step::Last => done = true,
                }
            }
            if done {
                return Ok(());
            }
            let flags = if self.link.is_backed_up() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            if !wait_for(self.link.as_fd(), flags, deadline) {
                return Err(Unanswered::TimedOut);
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// What one message is to somebody who waits.
enum Step {
    /// Looked for; more will come.
    Taken,
    /// Not looked for.
    NotMine(News),
    /// The last one looked for.
    Last,
}

/// What was asked got no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("it does not answer in time")]
    TimedOut,
    #[error("it is of another version")]
    Version { pid: Pid, theirs: u32 },
}

/// Waits until a descriptor is ready; `false` when the time is over.
pub(super) fn wait_for(fd: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else { return false };
        match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&timeout)) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// What jobs inherit: each variable once, the last one of its name.
pub(super) fn environment(config: &KeeperConfig) -> BTreeMap<OsString, OsString> {
    config.environment.iter().cloned().collect()
}

/// This process's mask of permissions for new files. The system call that reads
/// it also changes it for a moment, for every thread; the file does not.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}
