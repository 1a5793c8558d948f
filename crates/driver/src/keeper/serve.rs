//! The keeper's loop: children, schedulers and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use engine::keeper::KeeperRecord;
use model::{AttemptId, Launch, LaunchError, Pid, StopSignal, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::keeper::jobs::Jobs;
use crate::keeper::launch::{Starter, Surroundings};
use crate::keeper::log::{Log, chain};
use crate::keeper::{KeepError, Signals, stop};
use crate::proc::{Mark, Process};
use crate::wire::{Link, LinkError, News, Request, Standing, VERSION};

/// How long a keeper without jobs waits for a scheduler.
const IDLE: Duration = Duration::from_secs(1);

/// How often to look again at what tells nothing by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many jobs are started before children that ended are looked after again:
/// the log is written once for all of them, and each takes up a descriptor.
const BATCH: usize = 64;

/// A scheduler that is connected.
#[derive(Debug)]
struct Client {
    link: Link,
    /// What its jobs inherit: known once it has said hello.
    surroundings: Option<Surroundings>,
}

/// A keeper at work.
#[derive(Debug)]
pub(super) struct Keeper {
    listener: UnixListener,
    signals: Signals,
    log: Log,
    jobs: Jobs,
    starter: Starter,
    mark: Mark,
    clients: BTreeMap<u64, Client>,
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
        while !self.is_done() {
            self.wait()?;
            if self.signals.take() {
                self.reap();
            }
            self.tell_lost();
            self.accept();
            self.serve();
            // If it fails it is tried again: see `Keeper::patience`.
            let _ = self.log.catch_up();
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

    fn wait(&self) -> Result<(), KeepError> {
        let mut fds = vec![
            PollFd::new(&self.signals.pipe, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        fds.extend(self.jobs.holds().map(|hold| PollFd::new(hold, PollFlags::IN)));
        for client in self.clients.values() {
            let backed_up = client.link.is_backed_up();
            let flags = if backed_up { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::from_borrowed_fd(client.link.as_fd(), flags));
        }
        let timeout = self.patience().and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(KeepError::System { doing: "wait", source: errno.into() }),
        }
    }

    fn reap(&mut self) {
        let records = self.jobs.reap(&self.mark);
        let attempts: Vec<_> = records.iter().filter_map(ended_attempt).collect();
        self.log.note(records);
        for attempt in attempts {
            self.tell_all(attempt);
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
        let mut signals = Vec::new();
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        for id in ids {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let heard = client.link.receive();
            let goes_on = heard.and_then(|requests| self.answer(id, requests, &mut signals));
            if goes_on.is_err() {
                self.clients.remove(&id);
            }
        }
        if !signals.is_empty() {
            stop::signal_all(&signals, &self.jobs, self.log.ledger(), &self.mark);
        }
    }

    /// Does what a scheduler asks for, launches that follow each other together.
    fn answer(
        &mut self,
        id: u64,
        requests: Vec<Request>,
        signals: &mut Vec<(AttemptId, StopSignal)>,
    ) -> Result<(), LinkError> {
        let mut launches = Vec::new();
        for request in requests {
            if let Request::Launch { attempt, no, command, gpus } = request {
                launches.push(Launch { attempt, no, command, gpus });
                if launches.len() == BATCH {
                    self.launch(id, std::mem::take(&mut launches));
                    if self.signals.take() {
                        self.reap();
                    }
                }
                continue;
            }
            self.launch(id, std::mem::take(&mut launches));
            match request {
                Request::Hello { version, cwd, env, umask } => {
                    self.tell_one(id, &News::Hello { version: VERSION, pid: Pid(std::process::id()) });
                    if version != VERSION {
                        // It shall hear which version this is, and no more.
                        if let Some(client) = self.clients.get_mut(&id) {
                            client.link.flush()?;
                        }
                        return Err(LinkError::Closed);
                    }
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.surroundings = Some(Surroundings::new(&cwd, &env, umask));
                    }
                }
                Request::Launch { .. } => {}
                Request::Signal { attempt, signal } => signals.push((attempt, signal)),
                Request::Void { attempt } => self.void(attempt),
                Request::Survey => self.survey(id),
            }
        }
        self.launch(id, launches);
        Ok(())
    }

    /// Starts some attempts. What is about to be started is in the log before
    /// the first of them is; what could not be written is not started.
    fn launch(&mut self, id: u64, launches: Vec<Launch>) {
        if launches.is_empty() {
            return;
        }
        let Some(Client { surroundings: Some(surroundings), .. }) = self.clients.get(&id) else { return };
        let entered = surroundings.enter().map_err(|error| error.to_string());
        let (mut ready, mut intents, mut failed, mut used) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for launch in launches {
            let attempt = launch.attempt;
            let twice = ready.iter().any(|(other, _): &(Launch, File)| other.attempt == attempt);
            if twice || self.log.ledger().admit(attempt).is_err() {
                used.push(attempt);
                continue;
            }
            let opened = entered.clone().and_then(|()| {
                self.starter.open_log(&launch).map_err(|error| error.to_string())
            });
            match opened {
                Ok((file, name, log_from)) => {
                    let at_ms = Timestamp::now().as_millisecond();
                    intents.push(KeeperRecord::Launching { attempt, log: name.into(), log_from, at_ms });
                    ready.push((launch, file));
                }
                Err(why) => failed.push(KeeperRecord::Failed { attempt, why }),
            }
        }
        for attempt in used {
            self.tell_one(id, &News::Refused { attempt, why: LaunchError::Used });
        }
        self.log.note(failed);
        // .. continued below
    }
}
