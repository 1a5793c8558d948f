//! What a machine is, and what a world must do for it.

use model::Timestamp;

/// One thing a machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<R, F, P> {
    /// Make this part of the durable state.
    Persist(R),
    /// Change something outside.
    Perform(F),
    /// Tell a human.
    Report(P),
}

/// The actions of a machine.
pub type Actions<M> = Vec<Action<<M as Machine>::Record, <M as Machine>::Effect, <M as Machine>::Report>>;

/// What must have become of a step's records before an action may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In the page cache: they survive the end of this process, not a reboot.
    Written,
    /// On the disk: they survive a reboot.
    Synced,
}

/// The number of a record in its journal, from 1.
pub type Seq = u64;

/// A decision maker without time, threads or I/O.
pub trait Machine {
    /// What it is told.
    type Event;
    /// What it remembers.
    type Record: Clone;
    /// What it wants changed.
    type Effect;
    /// What it says.
    type Report;
    /// What it comes to.
    type Outcome;

    /// Takes in one event (nothing: a deadline has come) and answers with
    /// actions. The records among them are already applied.
    #[must_use]
    fn step(&mut self, event: Option<Self::Event>, now: Timestamp) -> Actions<Self>
    where
        Self: Sized;

    /// When it wants to be called although nothing happens.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// What an effect needs of the records before it.
    fn effect_needs(effect: &Self::Effect) -> Durability;

    /// What a report needs of the records before it.
    fn report_needs(report: &Self::Report) -> Durability;

    /// Panics where an invariant is broken.
    fn check(&self);

    /// The outcome, once there is nothing left to do.
    fn settled(&self) -> Option<Self::Outcome>;
}

/// Why a world returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Woken<E> {
    /// Something happened.
    Event(E),
    /// The deadline has come.
    Deadline,
    /// All records up to this one are on the disk.
    Synced(Seq),
}

/// The world can't go on, so nor can the machine: what is journalled is all
/// that is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WorldLost(pub String);

/// Everything outside a machine.
pub trait World<M: Machine> {
    /// The time. It never goes backwards.
    fn now(&mut self) -> Timestamp;

    /// Waits for an event, but no longer than `until`.
    ///
    /// # Errors
    /// When nothing can come any more.
    fn next(&mut self, until: Option<Timestamp>) -> Result<Woken<M::Event>, WorldLost>;

    /// Appends records to the journal: written on return, and `Woken::Synced`
    /// follows with the sequence number returned or a later one.
    ///
    /// # Errors
    /// When they could not be written: then nothing may follow from them.
    fn persist(&mut self, records: &[M::Record]) -> Result<Seq, WorldLost>;

    /// Changes something. It can't fail here: what comes of it is an event.
    fn perform(&mut self, effect: M::Effect);

    /// Says something.
    fn report(&mut self, report: M::Report);
}
