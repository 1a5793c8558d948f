//! What a scheduler and its keeper say to each other: one JSON line a message
//! over a Unix stream socket.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;

use model::{AttemptId, Exit, GpuIndex, GpuUuid, JobNo, LaunchError, Pid, Setting, StopSignal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::seat::SeatKind;

/// The version of this language. The two sides part if theirs differ.
pub(crate) const VERSION: u32 = 2;

/// From a scheduler to the keeper. Not to be printed: it holds secrets.
#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Request {
    /// The first thing said; answered with the keeper's own.
    Hello {
        /// The version the scheduler speaks.
        version: u32,
        /// Where its jobs start.
        cwd: Text,
        /// What they inherit.
        env: Vec<(Text, Text)>,
        /// Their mask of permissions for new files.
        umask: u32,
    },
    /// Start an attempt.
    Launch {
        /// The attempt.
        attempt: AttemptId,
        /// The job's number.
        no: JobNo,
        /// The line for `sh -c`.
        command: String,
        /// Its GPUs.
        gpus: Vec<(GpuIndex, GpuUuid)>,
        /// What it runs in and with.
        setting: Setting,
        /// The name of its log in the log directory.
        log: String,
        /// The session of screen or tmux it is to run in.
        seat: Option<SeatOrder>,
    },
    /// Signal every process of an attempt. There is no answer.
    Signal {
        /// The attempt.
        attempt: AttemptId,
        /// The signal.
        signal: StopSignal,
    },
    /// Never start this attempt; the answer is what it is then.
    Void {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Tell of every attempt, and then that this was all.
    Survey,
}

/// A session that a job is to run in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeatOrder {
    /// What it is to be one of.
    pub(crate) kind: SeatKind,
    /// What it is to be called, if nothing else is.
    pub(crate) session: String,
}

/// From the keeper to a scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "snake_case")]
pub(crate) enum News {
    /// The answer to the scheduler's hello.
    Hello {
        /// The version the keeper speaks.
        version: u32,
        /// The keeper.
        pid: Pid,
    },
    /// What an attempt is now.
    Attempt {
        /// The attempt.
        attempt: AttemptId,
        /// What it is.
        is: Standing,
    },
    /// The attempt was used before, or the keeper can't start anything.
    Refused {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        why: LaunchError,
    },
    /// Every attempt has been told of.
    Surveyed,
}

/// What an attempt is, as the keeper knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It runs.
    Running {
        /// Its leading process.
        pid: Pid,
        /// When that started, in clock ticks since boot.
        start_time: u64,
        /// The name of its log in the log directory.
        log: Box<str>,
        /// Where in that file its part begins, in bytes.
        log_from: u64,
    },
    /// Its leading process has ended.
    Ended {
        /// How.
        exit: Exit,
        /// How long it ran, in milliseconds.
        elapsed_ms: i64,
        /// Whether processes it started are still alive.
        survivors: bool,
        /// The name of its log in the log directory.
        log: Box<str>,
        /// Where in that file its part begins, in bytes.
        log_from: u64,
    },
    /// Its process could not be created; the system's words.
    Failed(String),
    /// It is gone, and nobody saw how it ended; the reason.
    Lost(Box<str>),
    /// The machine was rebooted since it was started.
    Interrupted,
    /// It was not started and never will be.
    Voided,
}

/// A string of the system's: mostly UTF-8, but it need not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    /// UTF-8.
    Utf8(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Text {
    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Utf8(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The string as the system takes it.
    pub(crate) fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(self.as_bytes())
    }
}

impl From<OsString> for Text {
    fn from(text: OsString) -> Self {
        match text.into_string() {
            Ok(text) => Self::Utf8(text),
            Err(text) => Self::Bytes(text.into_vec()),
        }
    }
}

/// One end of a conversation. Nothing here waits: what can't be written yet is
/// kept, and what has not come yet is not there.
pub(crate) struct Link {
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    closed: bool,
}

/// The conversation can't go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The other side has closed it.
    #[error("the other side has hung up")]
    Closed,
    /// The socket failed.
    #[error("the socket failed: {}", crate::medium::words(.0))]
    Socket(#[source] io::Error),
    /// The other side said something that is no message.
    #[error("the other side speaks another language: {0}")]
    Language(#[source] serde_json::Error),
}

impl Link {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// When it can't be set not to block.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, incoming: Vec::new(), outgoing: Vec::new(), closed: false })
    }

    /// Adds a message to what goes out with the next [`Link::flush`].
    pub(crate) fn push(&mut self, message: &impl Serialize) {
        // Writing to memory can't fail, and our messages have no odd map keys.
        if serde_json::to_writer(&mut self.outgoing, message).is_ok() {
            self.outgoing.push(b'\n');
        }
    }

    /// Writes what the other side takes at this moment.
    ///
    /// # Errors
    /// When it takes nothing any more.
    pub(crate) fn flush(&mut self) -> Result<(), LinkError> {
        let mut written = 0;
        let result = loop {
            match self.outgoing.get(written..) {
                None | Some([]) => break Ok(()),
                Some(rest) => match self.stream.write(rest) {
                    Ok(0) => break Err(LinkError::Closed),
                    Ok(count) => written += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Err(LinkError::Closed),
                    Err(error) => break Err(LinkError::Socket(error)),
                },
            }
        };
        self.outgoing.drain(..written);
        result
    }

    /// Whether something still waits to be written.
    pub(crate) fn is_backed_up(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// All messages that have come. What came before the other side hung up is
    /// still told; the error follows at the next call.
    ///
    /// # Errors
    /// When nothing will come any more.
    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> Result<Vec<M>, LinkError> {
        if self.closed {
            return Err(LinkError::Closed);
        }
        self.fill()?;
        let Some(end) = self.incoming.iter().rposition(|byte| *byte == b'\n') else {
            return if self.closed { Err(LinkError::Closed) } else { Ok(Vec::new()) };
        };
        let lines = self.incoming.get(..end).unwrap_or_default();
        let messages: Result<Vec<M>, _> =
            lines.split(|byte| *byte == b'\n').map(serde_json::from_slice).collect();
        self.incoming.drain(..=end);
        messages.map_err(LinkError::Language)
    }

    fn fill(&mut self) -> Result<(), LinkError> {
        let mut chunk = [0; 16 * 1024];
        // Bounded, so that a side that never pauses can't keep us here.
        for _ in 0..256 {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    self.closed = true;
                    break;
                }
                Ok(count) => {
                    self.incoming.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    if count < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    self.closed = true;
                    break;
                }
                Err(error) => return Err(LinkError::Socket(error)),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Link {
    /// Without what is said: an environment is part of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("stream", &self.stream)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(ours).unwrap(), theirs)
    }

    fn surveyed_and(end: &str) -> Vec<u8> {
        [br#"{"tell":"surveyed"}"#, end.as_bytes()].concat()
    }

    #[test]
    fn a_message_counts_once_its_line_has_ended() {
        let (mut link, mut other) = pair();
        assert_eq!(link.receive::<News>().unwrap(), []);
        other.write_all(&surveyed_and("\n{\"tell\":")).unwrap();
        assert_eq!(link.receive::<News>().unwrap(), [News::Surveyed]);
        assert_eq!(link.receive::<News>().unwrap(), []);
        other.write_all(b"\"surveyed\"}\n").unwrap();
        assert_eq!(link.receive::<News>().unwrap(), [News::Surveyed]);
    }

    #[test]
    fn what_came_before_the_end_is_told() {
        let (mut link, mut other) = pair();
        other.write_all(&surveyed_and("\n")).unwrap();
        drop(other);
        assert_eq!(link.receive::<News>().unwrap(), [News::Surveyed]);
        assert!(matches!(link.receive::<News>(), Err(LinkError::Closed)));
    }

    #[test]
    fn another_language_is_an_error() {
        let (mut link, mut other) = pair();
        other.write_all(b"GET / HTTP/1.1\n").unwrap();
        assert!(matches!(link.receive::<News>(), Err(LinkError::Language(_))));
    }

    #[test]
    fn a_side_that_does_not_listen_blocks_nobody() {
        let (mut link, theirs) = pair();
        let mut other = Link::new(theirs).unwrap();
        for _ in 0..50_000 {
            link.push(&News::Surveyed);
        }
        link.flush().unwrap();
        assert!(link.is_backed_up());
        let mut came = 0;
        while came < 50_000 {
            came += other.receive::<News>().unwrap().len();
            link.flush().unwrap();
        }
        assert!(!link.is_backed_up());
    }

    #[test]
    fn strings_of_the_system_come_back_as_they_were() {
        for bytes in [&b"plain"[..], b"caf\xc3\xa9", b"caf\xe9", b"", b"1"] {
            let text = Text::from(OsString::from_vec(bytes.to_vec()));
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap().as_bytes(), bytes, "{json}");
        }
    }
}
