//! What the keeper does at a scheduler's request.

use std::rc::Rc;

use engine::keeper::KeeperRecord;
use model::{AttemptId, Launch, LaunchError, Pid, Timestamp};

use crate::keeper::launch::Ready;
use crate::keeper::serve::Keeper;
use crate::keeper::setting::Surroundings;
use crate::keeper::stop::Stop;
use crate::point::{self, Point};
use crate::proc::Process;
use crate::wire::{LinkError, News, Request, SeatOrder, VERSION};

/// How many jobs are started before children that ended are looked after again:
/// the log is written once for all of them, and each takes up a descriptor.
const BATCH: usize = 64;

/// What is to be started, the name of its log, and the session it runs in.
type Order = (Launch, String, Option<SeatOrder>);

impl Keeper {
    /// Does what a scheduler asks for, launches that follow each other together;
    /// signals come back, to be sent together too.
    ///
    /// # Errors
    /// When there is no talking to it.
    pub(super) fn answer(&mut self, id: u64, requests: Vec<Request>) -> Result<Vec<Stop>, LinkError> {
        let (mut launches, mut stops) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                Request::Launch { attempt, no, command, gpus, setting, log, seat } => {
                    launches.push((Launch { attempt, no, command, gpus, setting }, log, seat));
                    if launches.len() == BATCH {
                        self.launch(id, std::mem::take(&mut launches));
                        self.reap_if_told();
                    }
                }
                Request::Hello { version, cwd, env, umask } => {
                    self.hello(id, version, Surroundings::new(&cwd, &env, umask))?;
                }
                Request::Signal { attempt, signal } => stops.push((attempt, signal)),
                Request::Void { attempt } => {
                    self.launch(id, std::mem::take(&mut launches));
                    self.void(attempt);
                }
                Request::Survey => {
                    self.launch(id, std::mem::take(&mut launches));
                    self.survey(id);
                }
            }
        }
        self.launch(id, launches);
        Ok(stops)
    }

    fn hello(&mut self, id: u64, version: u32, surroundings: Surroundings) -> Result<(), LinkError> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        client.link.push(&News::Hello { version: VERSION, pid: Pid(std::process::id()) });
        client.link.flush()?;
        if version != VERSION {
            return Err(LinkError::Closed);
        }
        client.surroundings = Some(Rc::new(surroundings));
        Ok(())
    }

    /// Starts attempts that were not used before. That they are about to be
    /// started is in the log before the first of them is.
    fn launch(&mut self, id: u64, launches: Vec<Order>) {
        if launches.is_empty() {
            return;
        }
        let Some(surroundings) = self.clients.get(&id).and_then(|client| client.surroundings.clone()) else {
            return;
        };
        let launches = self.admit(id, launches);
        let entered = surroundings.enter(None).map_err(|error| error.to_string());
        let (mut ready, mut intents, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (launch, log, seat) in launches {
            let attempt = launch.attempt;
            let prepare = |()| {
                let prepared = self.starter.prepare(launch, log, seat, &surroundings);
                prepared.map_err(|error| error.to_string())
            };
            match entered.clone().and_then(prepare) {
                Ok(job) => {
                    let (log, at_ms) = (job.log.as_str().into(), Timestamp::now().as_millisecond());
                    let (log_from, seat) = (job.log_from, job.session().is_some());
                    intents.push(KeeperRecord::Launching { attempt, log, log_from, at_ms, seat });
                    ready.push(job);
                }
                Err(why) => failures.push((attempt, KeeperRecord::Failed { attempt, why })),
            }
        }
        self.record(failures);
        point::pass(Point::KeeperBeforeLaunching);
        match self.log.intend(&intents) {
            Ok(()) => {
                point::pass(Point::KeeperAfterLaunching);
                self.start(&ready, &surroundings);
            }
            Err(error) => {
                let why = LaunchError::NoKeeper(error.to_string());
                for Ready { launch: Launch { attempt, .. }, .. } in ready {
                    self.tell_one(id, &News::Refused { attempt, why: why.clone() });
                }
            }
        }
    }

    /// The launches that may go on. The others hear that they are refused.
    fn admit(&mut self, id: u64, launches: Vec<Order>) -> Vec<Order> {
        let mut admitted: Vec<Order> = Vec::with_capacity(launches.len());
        for (launch, log, seat) in launches {
            let twice = admitted.iter().any(|(other, ..)| other.attempt == launch.attempt);
            if twice || self.log.ledger().admit(launch.attempt).is_err() {
                self.tell_one(id, &News::Refused { attempt: launch.attempt, why: LaunchError::Used });
            } else {
                admitted.push((launch, log, seat));
            }
        }
        admitted
    }

    fn start(&mut self, ready: &[Ready], surroundings: &Surroundings) {
        let mut outcomes = Vec::with_capacity(ready.len());
        for job in ready {
            let attempt = job.launch.attempt;
            let record = match self.starter.start(job, surroundings) {
                Ok(pid) => {
                    point::pass(Point::KeeperAfterSpawn);
                    self.jobs.started(attempt, pid, job.session());
                    // It is our child and not reaped, so it is there.
                    let start_time = Process::read(pid).map_or(0, |process| process.start_time);
                    KeeperRecord::Running { attempt, pid, start_time }
                }
                Err(error) => KeeperRecord::Failed { attempt, why: error.to_string() },
            };
            outcomes.push((attempt, record));
        }
        // A directory of a job's that we stay in could not be unmounted.
        let _ = surroundings.enter(None);
        self.record(outcomes);
        if ready.iter().any(|job| job.session().is_some()) {
            // What they did before they were watched would tell nothing by itself.
            self.look_at_seats();
        }
    }

    fn void(&mut self, attempt: AttemptId) {
        if self.log.ledger().admit(attempt).is_ok() {
            self.record(vec![(attempt, KeeperRecord::Voided { attempt })]);
        } else {
            self.tell_all(attempt);
        }
    }

    fn survey(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        for (attempt, kept) in self.log.ledger().iter() {
            client.link.push(&News::Attempt { attempt, is: self.jobs.standing(attempt, kept) });
        }
        client.link.push(&News::Surveyed);
    }

    /// Takes in what has happened to attempts, and tells every scheduler.
    pub(super) fn record(&mut self, happened: Vec<(AttemptId, KeeperRecord)>) {
        let (attempts, records): (Vec<_>, Vec<_>) = happened.into_iter().unzip();
        let begun = records.iter().any(|record| matches!(record, KeeperRecord::Running { .. }));
        let ended = records.iter().any(|record| matches!(record, KeeperRecord::Ended { .. }));
        if ended {
            point::pass(Point::KeeperBeforeEnded);
        }
        self.log.note(records);
        if begun {
            point::pass(Point::KeeperAfterRunning);
        }
        if ended {
            point::pass(Point::KeeperAfterEnded);
        }
        for attempt in attempts {
            self.tell_all(attempt);
        }
    }

    /// Tells every scheduler what an attempt is now.
    pub(super) fn tell_all(&mut self, attempt: AttemptId) {
        let Some(kept) = self.log.ledger().get(attempt) else { return };
        let news = News::Attempt { attempt, is: self.jobs.standing(attempt, kept) };
        for client in self.clients.values_mut().filter(|client| client.surroundings.is_some()) {
            client.link.push(&news);
        }
    }

    fn tell_one(&mut self, id: u64, news: &News) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.link.push(news);
        }
    }
}
