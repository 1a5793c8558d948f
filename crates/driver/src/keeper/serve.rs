//! The keeper's loop: children, schedulers and nothing else.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::keeper::jobs::Jobs;
use crate::keeper::launch::Starter;
use crate::keeper::log::Log;
use crate::keeper::setting::Surroundings;
use crate::keeper::stop::{Stop, signal_all};
use crate::keeper::{KeepError, Signals};
use crate::proc::Mark;
use crate::wire::Link;

/// How long a keeper without jobs waits for a scheduler.
const IDLE: Duration = Duration::from_secs(1);

/// How often to look again at what tells nothing by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A scheduler that is connected.
pub(super) struct Client {
    pub(super) link: Link,
    /// What its jobs inherit: known once it has said hello.
    pub(super) surroundings: Option<Rc<Surroundings>>,
}

/// A keeper at work.
pub(super) struct Keeper {
    listener: UnixListener,
    signals: Signals,
    pub(super) log: Log,
    pub(super) jobs: Jobs,
    pub(super) starter: Starter,
    pub(super) mark: Mark,
    pub(super) clients: BTreeMap<u64, Client>,
    next_client: u64,
    idle_since: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(
        listener: UnixListener,
        signals: Signals,
        log: Log,
        jobs: Jobs,
        starter: Starter,
        mark: Mark,
    ) -> Self {
        let (clients, next_client, idle_since) = (BTreeMap::new(), 0, None);
        Self { listener, signals, log, jobs, starter, mark, clients, next_client, idle_since }
    }

    /// Works until there is nothing to do.
    pub(super) fn run(mut self) -> Result<(), KeepError> {
        self.look_at_seats();
        while !self.is_done() {
            let look = self.wait()?;
            self.reap_if_told();
            if look {
                self.tell_lost();
                self.look_at_seats();
            }
            self.accept();
            self.serve();
            // If it fails it is tried again: see `Keeper::patience`.
            let _ = self.log.catch_up();
            self.clear_seats();
            self.clients.retain(|_, client| client.link.flush().is_ok());
        }
        Ok(())
    }

    fn is_done(&mut self) -> bool {
        if !self.jobs.is_empty() || !self.clients.is_empty() {
            self.idle_since = None;
            return false;
        }
        self.idle_since.get_or_insert_with(Instant::now).elapsed() >= IDLE
    }

    /// How long to wait for anything to happen.
    fn patience(&self) -> Option<Duration> {
        let idle = self.idle_since.map(|since| IDLE.saturating_sub(since.elapsed()));
        let look = (self.jobs.must_look() || self.log.is_behind()).then_some(LOOK_AGAIN);
        idle.into_iter().chain(look).min()
    }

    /// Waits for anything to happen, and tells whether it is time to look after
    /// the jobs that were adopted.
    fn wait(&self) -> Result<bool, KeepError> {
        let mut fds: Vec<_> = self.jobs.holds().map(|hold| PollFd::new(hold, PollFlags::IN)).collect();
        let holds = fds.len();
        fds.push(PollFd::new(&self.signals.pipe, PollFlags::IN));
        fds.push(PollFd::new(&self.listener, PollFlags::IN));
        for client in self.clients.values() {
            let backed_up = client.link.is_backed_up();
            let flags = if backed_up { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::from_borrowed_fd(client.link.as_fd(), flags));
        }
        let timeout = self.patience().and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                Ok(self.jobs.must_look() || fds.iter().take(holds).any(|hold| !hold.revents().is_empty()))
            }
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(KeepError::System { doing: "wait", source: errno.into() }),
        }
    }

    /// Collects the jobs that have ended, if the system says that some have.
    pub(super) fn reap_if_told(&mut self) {
        if !self.signals.take() {
            return;
        }
        let ended = self.jobs.reap(&self.mark);
        self.record(ended);
        if !self.jobs.seats.is_empty() {
            self.look_at_seats();
        }
    }

    fn tell_lost(&mut self) {
        for attempt in self.jobs.adopted_ends() {
            self.tell_all(attempt);
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if let Ok(link) = Link::new(stream) {
                self.clients.insert(self.next_client, Client { link, surroundings: None });
                self.next_client += 1;
            }
        }
    }

    fn serve(&mut self) {
        let mut stops = Vec::new();
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        for id in ids {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            match client.link.receive().and_then(|requests| self.answer(id, requests)) {
                Ok(more) => stops.extend(more),
                Err(_) => drop(self.clients.remove(&id)),
            }
        }
        self.stop_unseated(&mut stops);
        if !stops.is_empty() {
            self.signal(&stops);
        }
    }

    /// Sends signals to whole attempts.
    pub(super) fn signal(&self, stops: &[Stop]) {
        signal_all(stops, &self.mark, |attempt| self.jobs.leader(attempt, self.log.ledger()));
    }
}
