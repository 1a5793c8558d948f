//! Putting the journal on the disk, beside the work.
//!
//! One sync serves all records written before it began, so under load they are
//! grouped: a sync starts at most every 10 ms and at once when it is quiet.

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use engine::Seq;

use crate::medium::words;

/// The shortest time between the starts of two syncs: a job's end is told at
/// most this and the time of two syncs late.
const PACE: Duration = Duration::from_millis(10);

/// A thread that syncs one file. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Syncer {
    requests: Sender<Seq>,
}

impl Syncer {
    /// Starts the thread. `answer` is called on it: with the number of the last
    /// record on the disk, or once with the reason why there will be no more.
    /// A sync that failed is never tried again: the kernel may have dropped
    /// what it could not write and would call the next one good.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        file: File,
        answer: impl FnMut(Result<Seq, String>) + Send + 'static,
    ) -> io::Result<Self> {
        Self::with(move || file.sync_data(), answer)
    }

    fn with(
        sync: impl FnMut() -> io::Result<()> + Send + 'static,
        answer: impl FnMut(Result<Seq, String>) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, asked) = mpsc::channel();
        thread::Builder::new().name("syncer".into()).spawn(move || serve(&asked, sync, answer))?;
        Ok(Self { requests })
    }

    /// Asks that all records up to this one, which are written, get onto the disk.
    pub(crate) fn request(&self, seq: Seq) {
        // A thread that has ended has said why.
        let _ = self.requests.send(seq);
    }
}

fn serve(
    asked: &Receiver<Seq>,
    mut sync: impl FnMut() -> io::Result<()>,
    mut answer: impl FnMut(Result<Seq, String>),
) {
    let mut next = Instant::now();
    while let Ok(seq) = asked.recv() {
        let seq = gather(asked, seq, next);
        next = Instant::now() + PACE;
        match sync() {
            Ok(()) => answer(Ok(seq)),
            Err(error) => return answer(Err(words(&error))),
        }
    }
}

/// The highest number asked for until the time for the next sync has come.
fn gather(asked: &Receiver<Seq>, first: Seq, until: Instant) -> Seq {
    let mut highest = first;
    while let Ok(seq) = asked.recv_timeout(until.saturating_duration_since(Instant::now())) {
        highest = highest.max(seq);
    }
    asked.try_iter().fold(highest, Seq::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A syncer whose syncs begin when the test hears of them and end as it says.
    struct Rig {
        syncer: Syncer,
        begun: Receiver<()>,
        end: Sender<io::Result<()>>,
        answers: Receiver<Result<Seq, String>>,
    }

    fn rig() -> Rig {
        let (start, begun) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let sync = move || {
            start.send(()).unwrap();
            ends.recv_timeout(LONG).unwrap()
        };
        let syncer = Syncer::with(sync, move |result| answer.send(result).unwrap()).unwrap();
        Rig { syncer, begun, end, answers }
    }

    #[test]
    fn records_written_during_a_sync_share_the_next() {
        let rig = rig();
        rig.syncer.request(1);
        rig.begun.recv_timeout(LONG).unwrap();
        for seq in 2..=5 {
            rig.syncer.request(seq);
        }
        rig.end.send(Ok(())).unwrap();
        assert_eq!(rig.answers.recv_timeout(LONG), Ok(Ok(1)));
        rig.begun.recv_timeout(LONG).unwrap();
        rig.end.send(Ok(())).unwrap();
        assert_eq!(rig.answers.recv_timeout(LONG), Ok(Ok(5)));
        drop(rig.syncer);
        assert!(rig.begun.recv_timeout(LONG).is_err(), "nothing was left to sync");
    }

    #[test]
    fn a_failed_sync_is_the_last() {
        let rig = rig();
        rig.syncer.request(7);
        rig.begun.recv_timeout(LONG).unwrap();
        rig.end.send(Err(io::Error::from_raw_os_error(5))).unwrap();
        assert_eq!(rig.answers.recv_timeout(LONG), Ok(Err("Input/output error".into())));
        rig.syncer.request(8);
        assert!(rig.begun.recv_timeout(LONG).is_err(), "it was tried again");
    }

    #[test]
    fn a_real_file_is_synced() {
        let file = tempfile::tempfile().unwrap();
        let (answer, answers) = mpsc::channel();
        let syncer = Syncer::start(file, move |result| answer.send(result).unwrap()).unwrap();
        for seq in 1..=100 {
            syncer.request(seq);
        }
        let mut last = 0;
        while last < 100 {
            let seq = answers.recv_timeout(LONG).unwrap().unwrap();
            assert!(seq > last);
            last = seq;
        }
    }
}
