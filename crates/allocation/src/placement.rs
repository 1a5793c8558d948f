//! Which of the GPUs a job gets.

use model::{GpuIndex, Mib, Share};

use crate::request::Wish;
use crate::slot::slots;
use crate::{Device, Infeasible, Node, Obstacle, Occupant, Request, Rules, Shortfall};

/// Whether and where a job can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// Now, on these GPUs, ascending by index.
    Now(Vec<GpuIndex>),
    /// Not now, and why.
    Wait(Shortfall),
    /// Not on this machine, and why.
    Never(Infeasible),
}

/// The memory a GPU has to spare beside others and the jobs on it, in MiB;
/// nothing is known where its memory is not.
pub fn headroom<'a>(
    device: &Device,
    occupants: impl IntoIterator<Item = &'a Occupant>,
    rules: &Rules,
) -> Option<Mib> {
    let budgets = occupants.into_iter().map(|occupant| occupant.budget(device, rules.spike_buffer));
    device.spare(budgets.sum())
}

/// How much of a GPU our jobs have: all of it where one has it to itself, else
/// the parts they need, or the part of its memory that is kept for them.
pub fn allocated<'a>(
    device: &Device,
    occupants: impl IntoIterator<Item = &'a Occupant>,
    rules: &Rules,
) -> Share {
    let here = occupants.into_iter().filter(|occupant| occupant.gpus.contains(&device.index));
    here.map(|occupant| match occupant.share {
        Some(share) => share,
        None if occupant.is_alone() => Share::FULL,
        None => {
            let budget = f64::from(occupant.budget(device, rules.spike_buffer).get());
            let usable = device.usable.map_or(0.0, |usable| f64::from(usable.get()));
            Share::new(budget / usable).unwrap_or(Share::FULL)
        }
    })
    .fold(Share::ZERO, Share::saturating_add)
}

/// Whether and where a job can run beside the `occupants`.
///
/// A job that shares goes where it fits most tightly, so that large gaps are
/// kept for large jobs; one that wants its GPUs alone takes the first idle ones.
/// The order of the occupants does not matter.
pub fn place<'a>(
    request: &Request,
    node: &Node,
    occupants: impl IntoIterator<Item = &'a Occupant>,
    rules: &Rules,
) -> Placement {
    if !node.read {
        return Placement::Wait(Shortfall::Unread);
    }
    if let Some(why) = node.infeasible(request, rules) {
        return Placement::Never(why);
    }
    let mut fitting = Vec::new();
    let mut obstacles = Vec::new();
    for slot in slots(node, occupants, rules).iter().filter(|slot| request.allows(slot.device.index)) {
        match slot.below(&rules.thresholds).and_then(|()| slot.offer(request, rules)) {
            Ok(headroom) => fitting.push((headroom, slot.device.index)),
            Err(obstacle) => obstacles.push(obstacle),
        }
    }
    let needed = usize::from(request.gpus.count().get());
    if fitting.len() < needed {
        let absent = node.absent().filter(|gpu| request.allows(*gpu));
        obstacles.extend(absent.map(|gpu| Obstacle::Absent { gpu }));
        obstacles.sort_by_key(Obstacle::distance);
        return Placement::Wait(shortfall(request, fitting.len(), obstacles, rules));
    }
    fitting.sort_unstable();
    let mut chosen: Vec<GpuIndex> = fitting.into_iter().take(needed).map(|(_, gpu)| gpu).collect();
    chosen.sort_unstable();
    Placement::Now(chosen)
}

fn shortfall(request: &Request, fitting: usize, obstacles: Vec<Obstacle>, rules: &Rules) -> Shortfall {
    let needed = request.gpus.count().get();
    match request.wish() {
        Wish::Memory(declared) => {
            Shortfall::Memory { needed, declared, margin: rules.margin, fitting, obstacles }
        }
        Wish::Part(share, vram) => Shortfall::Part { share, vram, margin: rules.margin, obstacles },
        Wish::Alone(vram) => Shortfall::Idle { needed, vram, fitting, obstacles },
    }
}

#[cfg(test)]
mod tests;
