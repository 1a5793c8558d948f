//! What jobs print, line by line, among the words of the scheduler.
//!
//! Jobs write into their logs and nowhere else. A thread reads on in the logs of
//! those that run and prints each line with the number of its job; what the
//! scheduler says goes through the same thread, so that a job's last line comes
//! before the news of its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use model::{JobNo, LogPart};

/// How often the logs are looked at while any job runs.
const EVERY: Duration = Duration::from_millis(100);

/// So much of one log is read at a time, in bytes.
const CHUNK: u64 = 64 * 1024;

/// A line that does not end is printed in pieces of so many bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// The way to the thread: words go in, in order, among the lines of jobs.
#[derive(Debug, Clone)]
pub struct Stream {
    said: Sender<Said>,
}

/// What the thread is told.
#[derive(Debug)]
enum Said {
    Words(Vec<u8>),
    Begins(JobNo, LogPart),
    Ends(JobNo),
}

/// A log that is read on in.
struct Followed {
    file: Option<File>,
    path: PathBuf,
    at: u64,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
}

impl Stream {
    /// A thread that prints to `out`; the logs are in `dir`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(out: impl Write + Send + 'static, dir: &Path) -> io::Result<Self> {
        let (said, hear) = mpsc::channel();
        let dir = dir.to_owned();
        thread::Builder::new().name("job output".into()).spawn(move || run(&hear, out, &dir))?;
        Ok(Self { said })
    }

    /// A job runs and prints there.
    pub fn begins(&self, no: JobNo, log: LogPart) {
        // It has ended where nobody reads any more.
        let _ = self.said.send(Said::Begins(no, log));
    }

    /// A job has ended: all it has printed comes before what is said next.
    pub fn ends(&self, no: JobNo) {
        let _ = self.said.send(Said::Ends(no));
    }
}

impl Write for Stream {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.said.send(Said::Words(text.to_vec())).map(|()| text.len()).map_err(gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints until nobody will say anything more, or nobody reads.
fn run(hear: &Receiver<Said>, mut out: impl Write, dir: &Path) {
    let mut followed: BTreeMap<JobNo, Followed> = BTreeMap::new();
    loop {
        let said = if followed.is_empty() {
            hear.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            hear.recv_timeout(EVERY)
        };
        let printed = match said {
            Ok(Said::Words(words)) => out.write_all(&words),
            Ok(Said::Begins(no, log)) => {
                followed.insert(no, Followed::new(dir.join(&*log.name), log.from));
                Ok(())
            }
            Ok(Said::Ends(no)) => match followed.remove(&no) {
                Some(mut log) => log.print_rest(no, &mut out),
                None => Ok(()),
            },
            Err(RecvTimeoutError::Timeout) => {
                followed.iter_mut().try_for_each(|(no, log)| log.print(*no, &mut out).map(drop))
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if printed.and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

impl Followed {
    fn new(path: PathBuf, at: u64) -> Self {
        Self { file: None, path, at, line: Vec::new() }
    }

    /// Prints the lines that have come, as far as they fit into one chunk. Tells
    /// whether there may be more.
    fn print(&mut self, no: JobNo, out: &mut impl Write) -> io::Result<bool> {
        // One that can't be read is tried again: nothing of it is lost.
        let bytes = self.read().unwrap_or_default();
        let mut text = Vec::new();
        for byte in &bytes {
            if *byte == b'\n' || self.line.len() >= LONGEST_LINE {
                self.end_line(no, &mut text);
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
        if !text.is_empty() {
            out.write_all(&text)?;
        }
        Ok(bytes.len() as u64 == CHUNK)
    }

    fn print_rest(&mut self, no: JobNo, out: &mut impl Write) -> io::Result<()> {
        while self.print(no, out)? {}
        if !self.line.is_empty() {
            let mut text = Vec::new();
            self.end_line(no, &mut text);
            out.write_all(&text)?;
        }
        Ok(())
    }

    fn end_line(&mut self, no: JobNo, text: &mut Vec<u8>) {
        text.extend_from_slice(format!("[job {no}] ").as_bytes());
        text.extend_from_slice(last_overwritten(&self.line));
        text.push(b'\n');
        self.line.clear();
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.path)?),
        };
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.take(CHUNK).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}

/// What would stand on a terminal in the end: a progress bar writes one state of
/// the line over the other.
fn last_overwritten(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.rsplit(|byte| *byte == b'\r').next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer whose text can be looked at.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn part(name: &str, from: u64) -> LogPart {
        LogPart { name: name.into(), from }
    }

    #[test]
    fn all_of_a_job_comes_before_its_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(3 * LONGEST_LINE);
        fs::write(dir.path().join("a"), format!("old\none\r\n10%\r50%\r100%\n{long}\nno end")).unwrap();
        let page = Page::default();
        let mut stream = Stream::start(page.clone(), dir.path()).unwrap();
        stream.write_all(b"begins\n").unwrap();
        stream.begins(JobNo(7), part("a", 4));
        stream.ends(JobNo(7));
        stream.ends(JobNo(8));
        stream.write_all(b"ended\n").unwrap();
        drop(stream);
        e2e::wait_until("all is written", Duration::from_secs(20), || {
            page.0.lock().unwrap().ends_with(b"ended\n")
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["begins", "[job 7] one", "[job 7] 100%"]);
        assert_eq!(lines[lines.len() - 2..], ["[job 7] no end", "ended"]);
        assert_eq!(text.matches('x').count(), long.len());
    }

    #[test]
    fn a_log_that_is_not_there_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let page = Page::default();
        let stream = Stream::start(page.clone(), dir.path()).unwrap();
        stream.begins(JobNo(1), part("later", 0));
        fs::write(dir.path().join("later"), "here\n").unwrap();
        e2e::wait_until("the line is there", Duration::from_secs(20), || {
            page.0.lock().unwrap().ends_with(b"[job 1] here\n")
        });
    }
}
