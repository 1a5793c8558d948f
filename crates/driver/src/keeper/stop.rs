//! Signals to whole jobs.

use std::collections::{BTreeMap, BTreeSet};

use model::{AttemptId, Pid, StopSignal};
use rustix::process::kill_process_group;

use crate::keeper::jobs::Lead;
use crate::proc::{self, Census, Mark, Process};

/// How often a job that is to be killed is looked for anew: each time it can
/// have started something since the last look.
const ROUNDS: usize = 10;

/// A signal for a whole attempt.
pub(crate) type Stop = (AttemptId, StopSignal);

/// Sends signals to every process of some attempts: the leader's process group
/// at one blow, and all others of its session, all that descend from them and
/// all that carry the mark. A kill is repeated until there is nobody left.
/// `leader_of` tells which process leads an attempt and how it stands, if it may
/// be there.
pub(crate) fn signal_all(orders: &[Stop], mark: &Mark, leader_of: impl Fn(AttemptId) -> Option<(Pid, Lead)>) {
    let mut reached = BTreeSet::new();
    let mut open = orders.to_vec();
    for round in 0..ROUNDS {
        // Looked at before anyone is hit: with a parent goes the knowledge
        // whose child somebody was.
        let scene = Scene::look(mark);
        open.retain(|(attempt, signal)| {
            let leader = leader_of(*attempt);
            let members = scene.members(*attempt, leader);
            let group = leader.filter(|(_, lead)| round == 0 && *lead == Lead::Own).map(|(pid, _)| pid);
            if let Some(group) = group.and_then(proc::raw) {
                // It fails when all of the group have ended: nothing to do then.
                let _ = kill_process_group(group, proc::number_of(*signal));
            }
            let mut new = false;
            for process in members {
                let first = reached.insert((process.pid, process.start_time, *signal == StopSignal::Kill));
                new |= first && (Some(process.group) == group || process.signal(*signal));
            }
            new && *signal == StopSignal::Kill
        });
        if open.is_empty() {
            break;
        }
    }
}

/// All processes at one moment, and those that carry a mark of ours.
struct Scene {
    census: Census,
    marked: BTreeMap<Pid, AttemptId>,
    /// Those that descend from this process.
    ours: BTreeSet<Pid>,
}

impl Scene {
    fn look(mark: &Mark) -> Self {
        let census = Census::take();
        let marked =
            census.iter().filter_map(|process| Some((process.pid, mark.read(process.pid)?))).collect();
        let ours = census.with_descendants([Pid(std::process::id())]).into_keys().collect();
        Self { census, marked, ours }
    }

    /// The living processes of an attempt.
    fn members(&self, attempt: AttemptId, leader: Option<(Pid, Lead)>) -> Vec<Process> {
        let marked = self.marked.iter().filter(|(_, of)| **of == attempt).map(|(pid, _)| *pid);
        let in_session = self.census.iter().filter(|process| {
            leader.is_some_and(|(pid, lead)| process.session == pid && self.vouches(lead, process.pid))
        });
        let roots: Vec<Pid> = marked.chain(in_session.map(|process| process.pid)).collect();
        let me = Pid(std::process::id());
        let mut members = self.census.with_descendants(roots);
        members.retain(|pid, process| *pid != me && process.is_alive());
        members.into_values().collect()
    }

    /// Whether being in the leader's session proves that a process belongs to
    /// the job. A session keeps the pid of its leader from being given out
    /// again; but once the session has died out, another may have its number.
    fn vouches(&self, lead: Lead, pid: Pid) -> bool {
        match lead {
            Lead::Own | Lead::Adopted => true,
            Lead::Ended => self.ours.contains(&pid) && !self.marked.contains_key(&pid),
            Lead::Reused => false,
        }
    }
}
