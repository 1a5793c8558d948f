//! Standard output that never keeps the queue waiting.
//!
//! A reader can stop reading for hours: a pager that nobody scrolls, a terminal
//! after Ctrl-S. Jobs must end at their `timeout` all the same, so a thread of
//! its own does the writing.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use driver::signals::{OnExit, Signals};

/// So many texts wait for a slow reader; more are counted and left out.
const MOST_WAITING: usize = 10_000;

/// How long a reader that has stopped is waited for where we are told to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often to look whether we are told to end.
const GLANCE: Duration = Duration::from_millis(50);

/// How long to wait before writing again where there is no room.
const PAUSE: Duration = Duration::from_millis(10);

/// The thread that writes. Dropping this waits until all is written; so drop
/// the [`Outlet`] first.
#[derive(Debug)]
pub struct Outflow {
    ended: Receiver<()>,
    in_a_hurry: bool,
}

/// Where to write to. It takes whole texts and never waits.
#[derive(Debug)]
pub struct Outlet {
    texts: SyncSender<Vec<u8>>,
    left_out: usize,
}

/// A thread that writes to standard output, and the way to it.
///
/// # Errors
/// When the system gives no descriptor or thread.
pub fn standard_output() -> io::Result<(Outflow, Outlet)> {
    // Not by `io::stdout()`: what it could not write it would mix with the next.
    to(File::from(io::stdout().as_fd().try_clone_to_owned()?), MOST_WAITING)
}

fn to(out: impl Write + Send + 'static, room: usize) -> io::Result<(Outflow, Outlet)> {
    let (texts, waiting) = mpsc::sync_channel(room);
    let (alive, ended) = mpsc::channel();
    let work = move || {
        write_all_of(&waiting, out);
        drop(alive);
    };
    thread::Builder::new().name("output".into()).spawn(work)?;
    Ok((Outflow { ended, in_a_hurry: false }, Outlet { texts, left_out: 0 }))
}

/// Writes what comes until nothing more will, or nobody reads any more.
fn write_all_of(waiting: &Receiver<Vec<u8>>, mut out: impl Write) {
    while let Ok(text) = waiting.recv() {
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            match out.write(rest) {
                Ok(count @ 1..) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever shares the terminal with us may have made it so.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
                // A full disk may have room again for the next text.
                Ok(0) | Err(_) => break,
            }
        }
    }
}

impl Outflow {
    /// We were told to end: a reader that has stopped is not waited for long.
    pub fn hurry(&mut self) {
        self.in_a_hurry = true;
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        let is_done = || self.ended.recv_timeout(GLANCE) != Err(RecvTimeoutError::Timeout);
        if is_done() {
            return;
        }
        let begun = Instant::now();
        let mut signals = Signals::catch(OnExit::Keep).ok();
        let mut in_a_hurry = self.in_a_hurry;
        while !is_done() {
            in_a_hurry |= signals.as_mut().is_none_or(|signals| !signals.take().is_empty());
            if in_a_hurry && begun.elapsed() >= PATIENCE {
                return;
            }
        }
    }
}

impl Outlet {
    fn send(&mut self, text: Vec<u8>) -> io::Result<bool> {
        match self.texts.try_send(text) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Disconnected(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Write for Outlet {
    /// Takes all of the text, or leaves out all of it.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.left_out > 0 {
            let gap = format!("… {} messages were left out: nobody read them\n", self.left_out);
            if self.send(gap.into_bytes())? {
                self.left_out = 0;
            }
        }
        if self.left_out > 0 || !self.send(text.to_vec())? {
            self.left_out += 1;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_reader_that_stops_keeps_nobody_waiting() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let (outflow, mut outlet) = to(writer, 10).unwrap();
        let text = vec![b'x'; 1 << 16];
        // Until the socket is full, and what waits for it as well.
        while outlet.left_out < 100 {
            assert_eq!(outlet.write(&text).unwrap(), text.len());
            thread::sleep(Duration::from_millis(1));
        }
        let mut lines = BufReader::new(reader).lines();
        // What is read makes room, and then the gap is told.
        let reading = thread::spawn(move || lines.next().unwrap().unwrap());
        while outlet.left_out > 0 {
            assert_eq!(outlet.write(b"").unwrap(), 0);
            thread::sleep(Duration::from_millis(1));
        }
        let line = reading.join().unwrap();
        let told = line.trim_start_matches('x');
        assert!(
            told.starts_with("… ") && told.ends_with(" messages were left out: nobody read them"),
            "{told}"
        );
        drop(outlet);
        drop(outflow);
    }

    #[test]
    fn all_is_written_before_the_end() {
        let (reader, writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let (outflow, mut outlet) = to(writer, 100_000).unwrap();
        for number in 0..50_000 {
            outlet.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        let reading = thread::spawn(move || BufReader::new(reader).lines().map_while(Result::ok).count());
        drop(outlet);
        drop(outflow);
        assert_eq!(reading.join().unwrap(), 50_000);
    }

    #[test]
    fn in_a_hurry_nobody_is_waited_for() {
        let (_reader, writer) = UnixStream::pair().unwrap();
        let (mut outflow, mut outlet) = to(writer, 10).unwrap();
        outlet.write_all(&vec![b'x'; 1 << 20]).unwrap();
        drop(outlet);
        outflow.hurry();
        let begun = Instant::now();
        drop(outflow);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_reader_that_has_gone_is_told() {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let (_outflow, mut outlet) = to(writer, 10).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while outlet.write_all(b"a\n").is_ok() {
            assert!(Instant::now() < deadline, "it was never told");
            thread::sleep(Duration::from_millis(1));
        }
        drop(outlet);
    }
}
