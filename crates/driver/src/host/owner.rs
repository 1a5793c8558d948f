//! Which attempt a process belongs to.

use std::collections::BTreeMap;

use model::{AttemptId, Pid};

use crate::proc::{Mark, Process};

/// How far up a process's ancestors are followed.
const GENERATIONS: usize = 64;

/// How many answers are remembered before all are forgotten.
const REMEMBERED: usize = 4096;

/// Knows the leading processes of attempts, and whom other processes belong to.
#[derive(Debug)]
pub(super) struct Owners {
    mark: Mark,
    /// The leading process of each session, with its start time.
    leaders: BTreeMap<Pid, (u64, AttemptId)>,
    /// The same by attempt.
    led_by: BTreeMap<AttemptId, Pid>,
    /// Answers given before, with the start time of the process asked about.
    known: BTreeMap<Pid, (u64, AttemptId)>,
}

impl Owners {
    pub(super) const fn new(mark: Mark) -> Self {
        Self { mark, leaders: BTreeMap::new(), led_by: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// An attempt is led by this process.
    pub(super) fn began(&mut self, attempt: AttemptId, pid: Pid, start_time: u64) {
        // What held its session may have stood here until the job itself came.
        self.ended(attempt);
        self.leaders.insert(pid, (start_time, attempt));
        self.led_by.insert(attempt, pid);
    }

    /// Nothing of an attempt is left.
    pub(super) fn ended(&mut self, attempt: AttemptId) {
        if let Some(pid) = self.led_by.remove(&attempt)
            && self.leaders.get(&pid).is_some_and(|(_, of)| *of == attempt)
        {
            self.leaders.remove(&pid);
        }
    }

    pub(super) fn owner_of(&mut self, pid: Pid) -> Option<AttemptId> {
        let process = Process::read(pid)?;
        if let Some((start_time, attempt)) = self.known.get(&pid)
            && *start_time == process.start_time
        {
            return Some(*attempt);
        }
        let owner = self.look_up(process)?;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(pid, (process.start_time, owner));
        Some(owner)
    }

    fn look_up(&self, process: Process) -> Option<AttemptId> {
        if let Some(attempt) = self.mark.read(process.pid) {
            return Some(attempt);
        }
        let mut next = Some(process);
        for _ in 0..GENERATIONS {
            let process = next.filter(|process| process.pid.0 > 1)?;
            if let Some(attempt) = self.leader(process.session) {
                return Some(attempt);
            }
            next = Process::read(process.parent);
        }
        None
    }

    /// The attempt whose session this is. While anyone is in a session, the pid
    /// of its leader is not given out again: so either the leader is still the
    /// one we know, or it is gone.
    fn leader(&self, session: Pid) -> Option<AttemptId> {
        let (start_time, attempt) = self.leaders.get(&session)?;
        Process::read(session).is_none_or(|leader| leader.start_time == *start_time).then_some(*attempt)
    }
}
