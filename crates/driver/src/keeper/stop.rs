//! Signals to whole jobs.

use std::collections::{BTreeMap, BTreeSet};

use engine::keeper::Ledger;
use model::{AttemptId, Pid, StopSignal};
use rustix::process::kill_process_group;

use crate::keeper::jobs::{Jobs, Lead};
use crate::proc::{self, Census, Mark, Process};

/// How often a job that is to be killed is looked for anew: each time it can
/// have started something since the last look.
const ROUNDS: usize = 10;

/// Sends signals to every process of some attempts: the leader's process group
/// at one blow, and then all others of its session, all that descend from it and
/// all that carry its mark. A kill is repeated until there is nobody left.
pub(super) fn signal_all(
    orders: &[(AttemptId, StopSignal)],
    jobs: &Jobs,
    ledger: &Ledger,
    mark: &Mark,
) {
    for (attempt, signal) in orders {
        if let Some((pid, Lead::Own)) = jobs.leader(*attempt, ledger)
            && let Some(group) = proc::raw(pid)
        {
            // It fails when all of the group have ended: nothing to do then.
            let _ = kill_process_group(group, proc::number_of(*signal));
        }
    }
    let mut reached = BTreeSet::new();
    let mut open: Vec<_> = orders.to_vec();
    for _ in 0..ROUNDS {
        let scene = Scene::look(mark);
        open.retain(|(attempt, signal)| {
            let mut new = false;
            for process in scene.members(*attempt, jobs.leader(*attempt, ledger)) {
                let first = reached.insert((process.pid, process.start_time, *signal == StopSignal::Kill));
                new |= first && reach(&process, *attempt, *signal, jobs, ledger);
            }
            new && *signal == StopSignal::Kill
        });
        if open.is_empty() {
            break;
        }
    }
}

/// Signals one process, unless it had the signal with its group.
fn reach(process: &Process, attempt: AttemptId, signal: StopSignal, jobs: &Jobs, ledger: &Ledger) -> bool {
    let had_it = jobs.leader(attempt, ledger) == Some((process.group, Lead::Own));
    if had_it && signal == StopSignal::Term { false } else { process.signal(signal) }
}

/// All processes at one moment, and those that carry a mark of ours.
struct Scene {
    census: Census,
    marked: BTreeMap<Pid, AttemptId>,
    /// Those that descend from this keeper.
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
