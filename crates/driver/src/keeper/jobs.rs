//! The jobs that run: those this keeper started, and those a keeper before it
//! left behind when it was killed.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use engine::keeper::{Fate, KeeperRecord, Kept, Ledger};
use model::{AttemptId, Pid};
use rustix::process::{WaitOptions, wait};

use crate::keeper::log::Log;
use crate::keeper::seats::Seats;
use crate::proc::{self, Census, Mark, Process};
use crate::seat::SeatKind;
use crate::seat::files::Being;
use crate::wire::Standing;

/// A job of this keeper's: its child, so its pid stays its own until reaped.
#[derive(Debug)]
struct Leader {
    attempt: AttemptId,
    since: Instant,
}

/// A job of an earlier keeper's: not our child, so its exit status is lost.
#[derive(Debug)]
struct Adopted {
    pid: Pid,
    start_time: u64,
    /// Nothing where there are no pidfds, or no more; then it is looked at by
    /// and by.
    hold: Option<OwnedFd>,
}

/// Of more adopted jobs than this the rest is looked at by and by: descriptors
/// are scarce, and one has to be left for a scheduler that knocks.
const MOST_HELD: usize = 64;

/// All jobs that run here, and who they left behind.
#[derive(Debug)]
pub(super) struct Jobs {
    boot_id: Box<str>,
    leaders: BTreeMap<Pid, Leader>,
    adopted: BTreeMap<AttemptId, Adopted>,
    /// Leading processes that have ended while others of the job live on.
    left: BTreeMap<AttemptId, Pid>,
    /// Those in sessions of screen and tmux.
    pub(super) seats: Seats,
}

impl Jobs {
    /// Finds what still runs of the jobs that an earlier keeper started, and
    /// logs those whose start it did not live to log.
    pub(super) fn adopt(boot_id: Box<str>, log: &mut Log, mark: &Mark, log_dir: &Path) -> Self {
        let (seats, mut found) = Seats::adopt(log_dir, &boot_id, log.ledger());
        found.extend(unlogged(log.ledger(), &boot_id, mark));
        log.note(found);
        let mut adopted = BTreeMap::new();
        for (attempt, kept) in log.ledger().iter().filter(|(_, kept)| !kept.seat) {
            if let Fate::Running { pid, start_time } = kept.fate
                && kept.boot_id == boot_id
                && Process::find(pid, start_time).is_some()
            {
                let hold = if adopted.len() < MOST_HELD { proc::hold(pid, start_time).ok() } else { None };
                adopted.insert(attempt, Adopted { pid, start_time, hold });
            }
        }
        Self { boot_id, leaders: BTreeMap::new(), adopted, left: BTreeMap::new(), seats }
    }

    /// Whether nothing runs.
    pub(super) fn is_empty(&self) -> bool {
        self.leaders.is_empty() && self.adopted.is_empty() && self.seats.is_empty()
    }

    /// Whether something has happened that tells nothing by itself, perhaps.
    pub(super) fn must_look(&self) -> bool {
        self.adopted.values().any(|job| job.hold.is_none()) || self.seats.must_look()
    }

    /// Descriptors that become readable when an adopted job ends, or a seat has
    /// something to tell.
    pub(super) fn holds(&self) -> impl Iterator<Item = &OwnedFd> {
        self.adopted.values().filter_map(|job| job.hold.as_ref()).chain(self.seats.fds())
    }

    /// How many more descriptors may be held.
    pub(super) fn room(&self) -> usize {
        let held = self.adopted.values().filter(|job| job.hold.is_some()).count();
        MOST_HELD.saturating_sub(held + self.seats.held())
    }

    /// Takes in a job that was started this moment, or what holds its session.
    pub(super) fn started(&mut self, attempt: AttemptId, pid: Pid, session: Option<SeatKind>) {
        if let Some(kind) = session {
            self.seats.started(attempt, pid, kind);
        }
        self.leaders.insert(pid, Leader { attempt, since: Instant::now() });
    }

    /// The process that leads or led a job's session, if processes of the job
    /// may be there, and whether it is our own child and lives.
    pub(super) fn leader(&self, attempt: AttemptId, ledger: &Ledger) -> Option<(Pid, Lead)> {
        if let Some(pid) = self.left.get(&attempt) {
            return Some((*pid, if self.leaders.contains_key(pid) { Lead::Reused } else { Lead::Ended }));
        }
        if self.seats.has(attempt) {
            return self.seats.leader(attempt);
        }
        if let Some(job) = self.adopted.get(&attempt) {
            return Process::find(job.pid, job.start_time).map(|_| (job.pid, Lead::Adopted));
        }
        let Fate::Running { pid, .. } = ledger.get(attempt)?.fate else { return None };
        self.leaders.get(&pid).filter(|leader| leader.attempt == attempt).map(|_| (pid, Lead::Own))
    }

    /// Collects the children that have ended; what they were comes as records.
    pub(super) fn reap(&mut self, mark: &Mark) -> Vec<(AttemptId, KeeperRecord)> {
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let (pid, Some(exit)) = (proc::pid(pid), proc::exit_of(status)) else { continue };
            match self.leaders.remove(&pid) {
                // How that ended is not how its job has ended.
                Some(leader) if self.seats.has(leader.attempt) => self.seats.leader_ended(leader.attempt),
                Some(leader) => ended.push((pid, leader, exit)),
                // An orphan that came to us: nobody asks for it.
                None => self.seats.child_ended(pid),
            }
        }
        let strays = if ended.is_empty() { Vec::new() } else { self.strays(mark) };
        let mut records = Vec::with_capacity(ended.len());
        for (pid, Leader { attempt, since }, exit) in ended {
            let survivors =
                strays.iter().any(|(stray, marked)| *marked == Some(attempt) || stray.session == pid);
            if survivors {
                self.left.insert(attempt, pid);
            }
            let elapsed_ms = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
            records.push((attempt, KeeperRecord::Ended { attempt, exit, elapsed_ms, survivors }));
        }
        records
    }

    /// Gives up a job in a session that is over, and tells whether processes it
    /// started are still alive.
    pub(super) fn settle_seat(&mut self, attempt: AttemptId, mark: &Mark) -> bool {
        let Some(over) = self.seats.settle(attempt) else { return false };
        if let Some(leader) = over.leader {
            self.leaders.remove(&leader);
        }
        let belongs = |process: &Process, marked: Option<AttemptId>| {
            marked == Some(attempt) || over.job.is_some_and(|job| process.session == job)
        };
        let survivors = if over.adopted {
            // Its orphans came to somebody else.
            let all = Census::take();
            all.iter().any(|process| process.is_alive() && belongs(process, mark.read(process.pid)))
        } else {
            self.strays(mark).iter().any(|(process, marked)| belongs(process, *marked))
        };
        if let Some(job) = over.job.filter(|_| survivors) {
            self.left.insert(attempt, job);
        }
        survivors
    }

    /// Living children that lead no job. The orphans of every job come to us,
    /// the subreaper, at the moment their parent ends; so if there are none, no
    /// job that has ended left anything behind, and that is all we need to read.
    fn strays(&self, mark: &Mark) -> Vec<(Process, Option<AttemptId>)> {
        proc::children(Pid(std::process::id()))
            .into_iter()
            .filter(|pid| !self.leaders.contains_key(pid))
            .filter_map(Process::read)
            .filter(Process::is_alive)
            .map(|process| (process, mark.read(process.pid)))
            .collect()
    }

    /// Forgets adopted jobs that have ended, and tells which.
    pub(super) fn adopted_ends(&mut self) -> Vec<AttemptId> {
        let gone = |job: &Adopted| Process::find(job.pid, job.start_time).is_none();
        let ended: Vec<_> =
            self.adopted.iter().filter(|(_, job)| gone(job)).map(|(attempt, _)| *attempt).collect();
        self.adopted.retain(|attempt, _| !ended.contains(attempt));
        ended
    }

    /// What an attempt is.
    pub(super) fn standing(&self, attempt: AttemptId, kept: &Kept) -> Standing {
        let rebooted = kept.boot_id != self.boot_id;
        match &kept.fate {
            Fate::Launching | Fate::Running { .. } if rebooted => Standing::Interrupted,
            Fate::Launching => Standing::Lost("the keeper was killed while starting it".into()),
            Fate::Running { pid, start_time } => {
                let own = self.leaders.get(pid).is_some_and(|leader| leader.attempt == attempt);
                let job = self.seats.job(attempt);
                let Being { pid, start_time } = job.unwrap_or(Being { pid: *pid, start_time: *start_time });
                if own || self.adopted.contains_key(&attempt) || self.seats.has(attempt) {
                    let (log, log_from) = (kept.log.clone(), kept.log_from);
                    Standing::Running { pid, start_time, log, log_from }
                } else if kept.seat {
                    Standing::Lost("its session was lost, so its exit status is unknown".into())
                } else {
                    Standing::Lost("its keeper was killed, so its exit status is unknown".into())
                }
            }
            Fate::Ended { exit, elapsed_ms, survivors } => Standing::Ended {
                exit: *exit,
                elapsed_ms: *elapsed_ms,
                survivors: *survivors,
                log: kept.log.clone(),
                log_from: kept.log_from,
            },
            Fate::Failed(why) => Standing::Failed(why.clone()),
            Fate::Voided => Standing::Voided,
        }
    }
}

/// How the leading process of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lead {
    /// Our child, not reaped yet.
    Own,
    /// It lives, but was started by an earlier keeper.
    Adopted,
    /// It has ended, others of its job live on.
    Ended,
    /// The same, and its pid now leads another job.
    Reused,
}

/// Jobs that were about to be started when the log stopped, and that run: they
/// carry their name in their environment.
fn unlogged(ledger: &Ledger, boot_id: &str, mark: &Mark) -> Vec<KeeperRecord> {
    let open = |kept: &Kept| kept.fate == Fate::Launching && *kept.boot_id == *boot_id && !kept.seat;
    let sought: Vec<_> = ledger.iter().filter(|(_, kept)| open(kept)).map(|(attempt, _)| attempt).collect();
    if sought.is_empty() {
        return Vec::new();
    }
    let mut found: BTreeMap<AttemptId, Process> = BTreeMap::new();
    for process in Census::take().iter().filter(|process| process.is_alive()) {
        if let Some(attempt) = mark.read(process.pid).filter(|attempt| sought.contains(attempt)) {
            // Its leader; failing that, the oldest of its processes.
            let rank = |process: &Process| (process.session != process.pid, process.start_time);
            let best = found.entry(attempt).or_insert(*process);
            if rank(process) < rank(best) {
                *best = *process;
            }
        }
    }
    found
        .into_iter()
        .map(|(attempt, Process { pid, start_time, .. })| KeeperRecord::Running { attempt, pid, start_time })
        .collect()
}
