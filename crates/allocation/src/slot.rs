//! One GPU with what our jobs hold of it, and whether it does for one more.

use model::{Mib, Share};

use crate::request::Wish;
use crate::{Device, Node, Obstacle, Occupant, Request, Rules, Thresholds};

/// A GPU and what our jobs hold of it.
pub(crate) struct Slot<'n> {
    pub(crate) device: &'n Device,
    /// Memory kept for them.
    pub(crate) reserved: Mib,
    /// Parts of it that are given away.
    pub(crate) taken: Share,
    /// Whether any of them is there.
    pub(crate) held: bool,
    /// Whether one of them has it to itself.
    pub(crate) closed: bool,
    /// Whether it was told to take no new jobs.
    paused: bool,
}

/// The GPUs that are there, with the occupants entered, in one pass over them.
pub(crate) fn slots<'n, 'a>(
    node: &'n Node,
    occupants: impl IntoIterator<Item = &'a Occupant>,
    rules: &Rules,
) -> Vec<Slot<'n>> {
    let mut slots: Vec<Slot<'_>> =
        node.devices().map(|device| Slot::empty(device, node.is_paused(device.index))).collect();
    for occupant in occupants {
        for &gpu in &occupant.gpus {
            if let Ok(at) = slots.binary_search_by_key(&gpu, |slot| slot.device.index) {
                let slot = &mut slots[at];
                slot.reserved = slot.reserved + occupant.budget(slot.device, rules.spike_buffer);
                slot.taken = slot.taken.saturating_add(occupant.share.unwrap_or_default());
                slot.held = true;
                slot.closed |= occupant.is_alone();
            }
        }
    }
    slots
}

impl<'n> Slot<'n> {
    fn empty(device: &'n Device, paused: bool) -> Self {
        Self { device, reserved: Mib::ZERO, taken: Share::ZERO, held: false, closed: false, paused }
    }

    /// Whether the job could run there if none of ours did.
    pub(crate) fn would_do(&self, request: &Request, rules: &Rules) -> bool {
        // What our own jobs cause goes with them.
        let calm = self.held || self.below(&rules.thresholds).is_ok();
        calm && request.allows(self.device.index)
            && Self::empty(self.device, self.paused).offer(request, rules).is_ok()
    }

    /// Whether nothing there is above its threshold. What is not known is not
    /// above.
    pub(crate) fn below(&self, thresholds: &Thresholds) -> Result<(), Obstacle> {
        let Device { index: gpu, usable, used, utilization, .. } = *self.device;
        let memory = used.zip(usable).filter(|(_, usable)| *usable > Mib::ZERO);
        let memory = memory.map(|(used, usable)| f64::from(used.get()) / f64::from(usable.get()));
        let load = utilization.map(|percent| f64::from(percent.0) / 100.0);
        for (what, measured, limit) in
            [("memory", memory, thresholds.memory), ("load", load, thresholds.load)]
        {
            if let Some((measured, limit)) = measured.zip(limit)
                && measured > limit.get()
            {
                return Err(Obstacle::Above { gpu, what, percent: percent(measured), limit });
            }
        }
        Ok(())
    }

    /// How tightly the job would fit (the smaller the better), or why it doesn't.
    pub(crate) fn offer(&self, request: &Request, rules: &Rules) -> Result<Mib, Obstacle> {
        let gpu = self.device.index;
        if let Some(why) = &self.device.trouble {
            return Err(Obstacle::Trouble { gpu, why: why.clone() });
        }
        if self.paused {
            return Err(Obstacle::Paused { gpu });
        }
        if self.closed {
            return Err(Obstacle::HeldAlone { gpu });
        }
        match request.wish() {
            Wish::Memory(vram) => self.share(vram, rules),
            Wish::Part(share, vram) => self.give_part(share, vram, rules),
            Wish::Alone(vram) => self.give_whole(vram, rules).map(|()| Mib::ZERO),
        }
    }

    /// What it has to spare, if that is enough for a job that shares.
    fn share(&self, vram: Mib, rules: &Rules) -> Result<Mib, Obstacle> {
        let gpu = self.device.index;
        if rules.exclusive && self.held {
            return Err(Obstacle::Held { gpu });
        }
        let headroom = self.device.spare(self.reserved).ok_or(Obstacle::Unknown { gpu })?;
        if headroom < vram + rules.margin {
            return Err(Obstacle::Full { gpu, headroom });
        }
        Ok(headroom)
    }

    /// What it has to spare, if there is that part of it left, and the memory that
    /// goes with it.
    fn give_part(&self, share: Share, vram: Option<Mib>, rules: &Rules) -> Result<Mib, Obstacle> {
        let gpu = self.device.index;
        let left = Share::FULL.saturating_sub(self.taken);
        if left < share {
            return Err(Obstacle::Taken { gpu, left });
        }
        if let Some(vram) = vram {
            return self.share(vram, rules);
        }
        if rules.exclusive && self.held {
            return Err(Obstacle::Held { gpu });
        }
        let room = self.device.room().ok_or(Obstacle::Unknown { gpu })?;
        self.is_ours(rules)?;
        let headroom = room.saturating_sub(self.reserved);
        // Added up: of a small GPU a small part is no memory at all.
        if self.reserved + share.of(room) > room {
            return Err(Obstacle::Full { gpu, headroom });
        }
        Ok(headroom)
    }

    /// Whether it is idle, and large enough for a job that wants it whole.
    fn give_whole(&self, vram: Option<Mib>, rules: &Rules) -> Result<(), Obstacle> {
        let Device { index: gpu, usable, used, .. } = *self.device;
        if let Some(vram) = vram {
            let usable = usable.ok_or(Obstacle::Unknown { gpu })?;
            if usable < vram {
                return Err(Obstacle::TooSmall { gpu, usable });
            }
        }
        if self.held {
            return Err(Obstacle::Held { gpu });
        }
        if used.is_none() {
            return Err(Obstacle::Unknown { gpu });
        }
        self.is_ours(rules)
    }

    /// Whether others use so little of it that it counts as idle.
    fn is_ours(&self, rules: &Rules) -> Result<(), Obstacle> {
        let Device { index: gpu, external, .. } = *self.device;
        if external >= rules.idle_threshold {
            return Err(Obstacle::InUse { gpu, external, idle_threshold: rules.idle_threshold });
        }
        Ok(())
    }
}

/// A fraction in whole per cent, rounded up: what is above a limit is shown so.
fn percent(fraction: f64) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let percent = (fraction * 100.0).ceil() as u8;
    percent
}
