//! The loop: wait, step, write, act, speak.

use std::collections::VecDeque;

use crate::{Action, Durability, Machine, Seq, Woken, World, WorldLost};

/// Runs a machine in a world until it has settled.
///
/// This is the write-ahead rule, in one place: all records of a step are
/// written before any effect or report of it happens, and an action that needs
/// them on the disk waits until they are.
///
/// # Errors
/// When the world can't go on, for one because the journal can't be written.
pub fn drive<M: Machine, W: World<M>>(machine: &mut M, world: &mut W) -> Result<M::Outcome, WorldLost> {
    let mut held = Held::<M> { written: 0, synced: 0, effects: VecDeque::new(), reports: VecDeque::new() };
    loop {
        if held.is_empty()
            && let Some(outcome) = machine.settled()
        {
            return Ok(outcome);
        }
        let event = match world.next(machine.next_deadline())? {
            Woken::Synced(seq) => {
                held.release(seq, world);
                continue;
            }
            Woken::Event(event) => Some(event),
            Woken::Deadline => None,
        };
        let now = world.now();
        let actions = machine.step(event, now);
        machine.check();
        held.carry_out(actions, world)?;
    }
}

/// Actions that wait for their records to reach the disk.
struct Held<M: Machine> {
    written: Seq,
    synced: Seq,
    effects: VecDeque<(Seq, M::Effect)>,
    reports: VecDeque<(Seq, M::Report)>,
}

impl<M: Machine> Held<M> {
    fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.reports.is_empty()
    }

    fn carry_out<W: World<M>>(
        &mut self,
        actions: Vec<Action<M::Record, M::Effect, M::Report>>,
        world: &mut W,
    ) -> Result<(), WorldLost> {
        let (mut records, mut effects, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Persist(record) => records.push(record),
                Action::Perform(effect) => effects.push(effect),
                Action::Report(report) => reports.push(report),
            }
        }
        if !records.is_empty() {
            self.written = world.persist(&records)?;
        }
        for effect in effects {
            match M::effect_needs(&effect) {
                Durability::Synced if self.synced < self.written => {
                    self.effects.push_back((self.written, effect));
                }
                Durability::Written | Durability::Synced => world.perform(effect),
            }
        }
        for report in reports {
            match M::report_needs(&report) {
                Durability::Synced if self.synced < self.written => {
                    self.reports.push_back((self.written, report));
                }
                Durability::Written | Durability::Synced => self.report_in_turn(report, world),
            }
        }
        Ok(())
    }

    /// What is said stays in order: a report that need not wait for the disk
    /// waits for those before it.
    fn report_in_turn<W: World<M>>(&mut self, report: M::Report, world: &mut W) {
        match self.reports.back() {
            Some((seq, _)) => self.reports.push_back((*seq, report)),
            None => world.report(report),
        }
    }

    fn release<W: World<M>>(&mut self, synced: Seq, world: &mut W) {
        self.synced = synced;
        while let Some(effect) = pop_due(&mut self.effects, synced) {
            world.perform(effect);
        }
        while let Some(report) = pop_due(&mut self.reports, synced) {
            world.report(report);
        }
    }
}

fn pop_due<T>(queue: &mut VecDeque<(Seq, T)>, synced: Seq) -> Option<T> {
    if queue.front()?.0 > synced {
        return None;
    }
    queue.pop_front().map(|(_, deed)| deed)
}
