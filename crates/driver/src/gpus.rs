//! Reading the GPUs without ever waiting for them.
//!
//! A driver in trouble can hold a reader for minutes. So one thread does the
//! reading, one sample at a time, and a sample that takes too long is answered
//! in its place: the GPUs are unknown, which is no statement about any of them.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use backend::GpuBackend;
use model::{GpuSnapshot, Unavailable};

/// How long a sample may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a sample came to.
pub(crate) type Sample = Result<GpuSnapshot, Unavailable>;

/// The thread that reads the GPUs, seen from the thread that wants to know.
/// Each request is answered once: by one of these methods.
#[derive(Debug)]
pub(crate) struct GpuReader {
    /// What is asked, in words: `nvidia-smi`.
    name: String,
    requests: Sender<()>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A sample is being taken.
    Reading {
        since: Instant,
    },
    /// A sample is being taken that has been answered already.
    Stuck,
}

impl GpuReader {
    /// Starts the thread. It hands each sample to `deliver`, which must bring it
    /// to [`GpuReader::delivered`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        mut gpus: Box<dyn GpuBackend>,
        name: String,
        mut deliver: impl FnMut(Sample) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, asked) = mpsc::channel();
        let work = move || {
            while let Ok(()) = asked.recv() {
                deliver(gpus.snapshot());
            }
        };
        thread::Builder::new().name("gpus".into()).spawn(work)?;
        Ok(Self { name, requests, state: State::Idle })
    }

    /// Asks for a sample; the answer where it is known at once. A request while
    /// another is open is the same request.
    pub(crate) fn request(&mut self, now: Instant) -> Option<Sample> {
        match self.state {
            State::Idle => {
                self.state = State::Reading { since: now };
                // A thread that has died is found out like one that is stuck.
                let _ = self.requests.send(());
                None
            }
            State::Reading { .. } => None,
            State::Stuck => Some(self.silent()),
        }
    }

    /// Takes in what the thread delivered; the answer to the request, unless
    /// that was answered in its place.
    pub(crate) fn delivered(&mut self, sample: Sample) -> Option<Sample> {
        let awaited = matches!(self.state, State::Reading { .. });
        self.state = State::Idle;
        awaited.then_some(sample)
    }

    /// When patience ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Reading { since } => Some(since + PATIENCE),
            State::Idle | State::Stuck => None,
        }
    }

    /// The answer to an open request whose deadline has passed.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<Sample> {
        match self.state {
            State::Reading { since } if now >= since + PATIENCE => {
                self.state = State::Stuck;
                Some(self.silent())
            }
            State::Idle | State::Reading { .. } | State::Stuck => None,
        }
    }

    /// In the same words each time, so that it is told once.
    fn silent(&self) -> Sample {
        Err(Unavailable(format!("{} has not answered for {} s", self.name, PATIENCE.as_secs())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Receiver;

    const LONG: Duration = Duration::from_secs(10);

    /// A backend that answers when it is told to.
    struct OnDemand(Receiver<Sample>);

    impl GpuBackend for OnDemand {
        fn snapshot(&mut self) -> Sample {
            self.0.recv_timeout(LONG).unwrap()
        }
    }

    fn rig() -> (GpuReader, Sender<Sample>, Receiver<Sample>) {
        let (release, gate) = mpsc::channel();
        let (deliver, delivered) = mpsc::channel();
        let gpus = Box::new(OnDemand(gate));
        let reader =
            GpuReader::start(gpus, "nvidia-smi".into(), move |sample| deliver.send(sample).unwrap()).unwrap();
        (reader, release, delivered)
    }

    fn silent() -> Sample {
        Err(Unavailable("nvidia-smi has not answered for 15 s".into()))
    }

    #[test]
    fn a_sample_answers_its_request() {
        let (mut reader, release, delivered) = rig();
        let now = Instant::now();
        for sample in [Ok(GpuSnapshot::default()), Err(Unavailable("no driver".into()))] {
            assert_eq!(reader.request(now), None);
            assert_eq!(reader.request(now), None, "one at a time");
            assert_eq!(reader.deadline(), Some(now + PATIENCE));
            release.send(sample.clone()).unwrap();
            let came = delivered.recv_timeout(LONG).unwrap();
            assert_eq!(reader.delivered(came), Some(sample));
            assert_eq!(reader.deadline(), None);
        }
        release.send(Ok(GpuSnapshot::default())).unwrap();
        drop(reader);
        assert!(delivered.recv_timeout(LONG).is_err(), "nothing else was read");
    }

    #[test]
    fn a_slow_sample_is_answered_in_its_place_and_never_doubled() {
        let (mut reader, release, delivered) = rig();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(reader.request(start), None);
        assert_eq!(reader.overdue(after(14)), None);
        assert_eq!(reader.overdue(after(15)), Some(silent()));
        assert_eq!(reader.overdue(after(16)), None, "one answer to one request");
        assert_eq!(reader.request(after(20)), Some(silent()));
        release.send(Ok(GpuSnapshot::default())).unwrap();
        let late = delivered.recv_timeout(LONG).unwrap();
        assert_eq!(reader.delivered(late), None, "it was answered long ago");
        assert_eq!(reader.request(after(30)), None);
        release.send(Ok(GpuSnapshot::default())).unwrap();
        let came = delivered.recv_timeout(LONG).unwrap();
        assert_eq!(reader.delivered(came), Some(Ok(GpuSnapshot::default())));
    }
}
