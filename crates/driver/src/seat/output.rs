//! What a job prints: whole to its log, and to the session as that keeps up.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// How much may wait for a session that shows nothing, in bytes.
const MOST_WAITING: usize = 256 * 1024;

/// What is shown in place of what a session was too slow for.
const LEFT_OUT: &[u8] = b"\r\n[left out here; all of it is in the log]\r\n";

/// A job's log.
///
/// A terminal puts a carriage return before each line feed a job prints. That one
/// is taken away again and nothing else: the log holds what the job has written.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// Whether the last byte was a carriage return, which is not written yet.
    held: bool,
    /// How many bytes could not be written since the last that could.
    lost: usize,
}

impl Log {
    pub(super) const fn new(file: File) -> Self {
        Self { file, held: false, lost: 0 }
    }

    /// Writes what has come. A full disk does not hold up a job: what can't be
    /// written is counted, and the log says so where it is missing.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let tidy = self.tidy(bytes);
        self.put(&tidy);
    }

    /// Writes what was held back.
    pub(super) fn finish(&mut self) {
        if std::mem::take(&mut self.held) {
            self.put(b"\r");
        }
    }

    fn tidy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut tidy = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if std::mem::take(&mut self.held) && *byte != b'\n' {
                tidy.push(b'\r');
            }
            match byte {
                b'\r' => self.held = true,
                _ => tidy.push(*byte),
            }
        }
        tidy
    }

    fn put(&mut self, bytes: &[u8]) {
        let note = format!("\n[gpusched: {} bytes could not be written here]\n", self.lost);
        let written = if self.lost > 0 { self.file.write_all(note.as_bytes()) } else { Ok(()) };
        match written.and_then(|()| self.file.write_all(bytes)) {
            Ok(()) => self.lost = 0,
            Err(_) => self.lost += bytes.len(),
        }
    }
}

/// Bytes on their way to somebody who may be slow.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<u8>,
}

impl Queue {
    /// Adds what is to go out, whatever waits already.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
    }

    /// Adds what is to be shown. For somebody who takes nothing, what waits is
    /// left out and replaced by a line that says so.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        if self.waiting.len() + bytes.len() > MOST_WAITING {
            self.waiting.clear();
            self.push(LEFT_OUT);
        }
        self.push(bytes.get(bytes.len().saturating_sub(MOST_WAITING)..).unwrap_or_default());
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nothing more should be taken in.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > MOST_WAITING
    }

    /// Writes what is taken at this moment.
    ///
    /// # Errors
    /// When nothing is taken any more.
    pub(super) fn flush(&mut self, to: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let (front, _) = self.waiting.as_slices();
            if front.is_empty() {
                return Ok(());
            }
            match rustix::io::write(to, front) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[track_caller]
    fn check(chunks: &[&str], expect: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::new(File::create(&path).unwrap());
        for chunk in chunks {
            log.write(chunk.as_bytes());
        }
        log.finish();
        assert_eq!(fs::read_to_string(path).unwrap(), expect, "{chunks:?}");
    }

    #[test]
    fn only_the_terminal_s_own_carriage_returns_go() {
        check(&["one\r\ntwo\r\n"], "one\ntwo\n");
        check(&["one\r", "\ntwo\r", "", "\n"], "one\ntwo\n");
        check(&["10 %\r20 %\r", "30 %\r\n"], "10 %\r20 %\r30 %\n");
        check(&["as written\r\r\n"], "as written\r\n");
        check(&["\x1b[31mred\x1b[0m\r\n", "end\r"], "\x1b[31mred\x1b[0m\nend\r");
        check(&["\n", "\r", "\r", "x"], "\n\r\rx");
    }

    #[test]
    fn what_could_not_be_written_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::new(File::open("/dev/null").unwrap());
        log.write(b"12345");
        log.write(b"678");
        log.file = File::create(&path).unwrap();
        log.write(b"more");
        log.write(b"\n");
        let expect = "\n[gpusched: 8 bytes could not be written here]\nmore\n";
        assert_eq!(fs::read_to_string(path).unwrap(), expect);
    }

    #[test]
    fn nobody_waits_for_a_session_that_shows_nothing() {
        let mut queue = Queue::default();
        queue.show(&vec![b'a'; MOST_WAITING]);
        assert_eq!(queue.waiting.len(), MOST_WAITING);
        queue.show(b"new");
        let now: Vec<u8> = queue.waiting.iter().copied().collect();
        assert_eq!(now, [LEFT_OUT, b"new"].concat());
    }
}
