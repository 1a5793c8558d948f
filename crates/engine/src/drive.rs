//! The loop: wait, step, write, act, speak.

use std::collections::VecDeque;

use crate::{Action, Actions, Durability, Machine, Seq, Woken, World, WorldLost};

/// Runs a machine in a world until it has settled.
///
/// This is the write-ahead rule, in one place: all records of a step are
/// written before any effect or report of it happens, and an action that needs
/// them on the disk waits until they are. What the machine knows from the journal
/// at the start has to be on the disk by then.
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

    fn carry_out<W: World<M>>(&mut self, actions: Actions<M>, world: &mut W) -> Result<(), WorldLost> {
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

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    /// A machine that does as it is told: each event is the actions of a step.
    struct Puppet {
        steps_left: usize,
    }

    type Line = Action<&'static str, Doing, Doing>;

    /// An effect or a report, and what it needs.
    #[derive(Debug, Clone, Copy)]
    struct Doing(&'static str, Durability);

    impl Machine for Puppet {
        type Event = Vec<Line>;
        type Record = &'static str;
        type Effect = Doing;
        type Report = Doing;
        type Outcome = ();

        fn step(&mut self, event: Option<Vec<Line>>, _now: Timestamp) -> Actions<Self> {
            self.steps_left -= 1;
            event.unwrap_or_default()
        }

        fn next_deadline(&self) -> Option<Timestamp> {
            None
        }

        fn effect_needs(effect: &Doing) -> Durability {
            effect.1
        }

        fn report_needs(report: &Doing) -> Durability {
            report.1
        }

        fn check(&self) {}

        fn settled(&self) -> Option<()> {
            (self.steps_left == 0).then_some(())
        }
    }

    /// A world that hands out what it is given and notes what is done.
    struct Script {
        woken: VecDeque<Woken<Vec<Line>>>,
        written: Seq,
        full: bool,
        done: Vec<String>,
    }

    impl World<Puppet> for Script {
        fn now(&mut self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn next(&mut self, _until: Option<Timestamp>) -> Result<Woken<Vec<Line>>, WorldLost> {
            self.woken.pop_front().ok_or(WorldLost("the script is over".to_owned()))
        }

        fn persist(&mut self, records: &[&'static str]) -> Result<Seq, WorldLost> {
            if self.full {
                return Err(WorldLost("no space".to_owned()));
            }
            self.written += records.len() as u64;
            self.done.push(format!("write {}", records.join("+")));
            Ok(self.written)
        }

        fn perform(&mut self, effect: Doing) {
            self.done.push(format!("do {}", effect.0));
        }

        fn report(&mut self, report: Doing) {
            self.done.push(format!("say {}", report.0));
        }
    }

    const NOW: Durability = Durability::Written;
    const LATER: Durability = Durability::Synced;

    fn write(record: &'static str) -> Line {
        Action::Persist(record)
    }

    fn act(what: &'static str, needs: Durability) -> Line {
        Action::Perform(Doing(what, needs))
    }

    fn say(what: &'static str, needs: Durability) -> Line {
        Action::Report(Doing(what, needs))
    }

    fn run(woken: Vec<Woken<Vec<Line>>>, full: bool) -> (Result<(), WorldLost>, Vec<String>) {
        let steps_left = woken.iter().filter(|woken| !matches!(woken, Woken::Synced(_))).count();
        let mut world = Script { woken: woken.into(), written: 0, full, done: Vec::new() };
        let result = drive(&mut Puppet { steps_left }, &mut world);
        (result, world.done)
    }

    #[track_caller]
    fn check(woken: Vec<Woken<Vec<Line>>>, expect: &[&str]) {
        assert_eq!(run(woken, false), (Ok(()), expect.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn records_go_first_and_words_last() {
        let step = vec![say("started", NOW), act("launch", NOW), write("started"), write("seen")];
        check(vec![Woken::Event(step)], &["write started+seen", "do launch", "say started"]);
    }

    #[test]
    fn what_needs_the_disk_waits_for_it() {
        let step = vec![write("a"), write("b"), act("submit", LATER), act("look", NOW), say("ended", LATER)];
        check(
            vec![Woken::Event(step), Woken::Synced(1), Woken::Synced(2)],
            &["write a+b", "do look", "do submit", "say ended"],
        );
    }

    #[test]
    fn what_is_said_stays_in_order() {
        let first = vec![write("done"), say("ended", LATER)];
        let second = vec![write("started"), act("launch", NOW), say("started", NOW)];
        check(
            vec![Woken::Event(first), Woken::Event(second), Woken::Synced(2)],
            &["write done", "write started", "do launch", "say ended", "say started"],
        );
    }

    #[test]
    fn nothing_follows_from_what_could_not_be_written() {
        let step = vec![write("started"), act("launch", NOW), say("started", NOW)];
        let (result, done) = run(vec![Woken::Event(step)], true);
        assert_eq!(result, Err(WorldLost("no space".to_owned())));
        assert_eq!(done, [""; 0]);
    }
}
