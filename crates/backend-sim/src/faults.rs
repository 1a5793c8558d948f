//! What can go wrong, and how likely it is in this world.

use crate::rng::Rng;

/// The probability of each fault. A seed draws them: most worlds have a few
/// kinds, some have all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// The scheduler dies between two actions.
    pub(crate) crash: f64,
    /// A write to the journal stops half-way and the scheduler dies.
    pub(crate) torn_append: f64,
    /// The disk is full: a write fails after a part of it.
    pub(crate) disk_full: f64,
    /// A sync fails.
    pub(crate) sync_fails: f64,
    /// The machine reboots when the scheduler dies, losing what was not synced.
    pub(crate) reboot: f64,
    /// The keeper is killed (looked at whenever a job starts or ends).
    pub(crate) keeper_killed: f64,
    /// A request to the keeper arrives late, even after the scheduler's death.
    pub(crate) late_launch: f64,
    /// A job's process can't be created.
    pub(crate) launch_fails: f64,
    /// The keeper can't be asked.
    pub(crate) no_keeper: f64,
    /// The GPUs can't be read.
    pub(crate) gpus_unknown: f64,
    /// Reading the GPUs takes ten seconds and then fails.
    pub(crate) gpus_hang: f64,
    /// A GPU is missing from one answer.
    pub(crate) gpu_vanishes: f64,
    /// Cells of an answer are `[N/A]`.
    pub(crate) cells_unknown: f64,
    /// A job uses more than it declared.
    pub(crate) overshoot: f64,
    /// A job fails by itself.
    pub(crate) job_fails: f64,
    /// A job ignores SIGTERM.
    pub(crate) ignores_term: f64,
    /// A job leaves processes behind that hold memory for a while.
    pub(crate) leaves_survivors: f64,
    /// Other people's processes come and go on the GPUs.
    pub(crate) strangers: f64,
    /// A saved jobs file is half-way through an edit.
    pub(crate) broken_save: f64,
    /// Someone ends the scheduler with a signal.
    pub(crate) interrupted: f64,
}

impl Faults {
    /// No faults at all.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        // In one world of six everything goes wrong, else each fault exists in
        // one world of four.
        let all = rng.chance(0.16);
        let mut some = |high: f64| {
            let exists = all || rng.chance(0.25);
            let share = f64::from(rng.between(1, 100)) / 100.0;
            if exists { high * share } else { 0.0 }
        };
        Self {
            crash: some(0.04),
            torn_append: some(0.02),
            disk_full: some(0.02),
            sync_fails: some(0.02),
            reboot: some(0.3),
            keeper_killed: some(0.05),
            late_launch: some(0.3),
            launch_fails: some(0.3),
            no_keeper: some(0.1),
            gpus_unknown: some(0.2),
            gpus_hang: some(0.05),
            gpu_vanishes: some(0.1),
            cells_unknown: some(0.1),
            overshoot: some(0.4),
            job_fails: some(0.3),
            ignores_term: some(0.5),
            leaves_survivors: some(0.3),
            strangers: some(0.3),
            broken_save: some(0.4),
            interrupted: some(0.01),
        }
    }

    /// The same world without what strikes the scheduler, its disk, its keeper
    /// and its eyes. Jobs stay as they are.
    pub(crate) fn calmed(&self) -> Self {
        Self {
            overshoot: self.overshoot,
            job_fails: self.job_fails,
            ignores_term: self.ignores_term,
            leaves_survivors: self.leaves_survivors,
            ..Self::none()
        }
    }
}
