//! Keeping GPUs free for a job that has waited long enough.
//!
//! Smaller jobs may go around one that does not fit; left to itself that can go
//! on for ever. GPUs that are kept for the big one fill no further, so they
//! empty as what runs there ends. Nothing need be known of run times.

use std::cmp::Reverse;

use model::GpuIndex;

use crate::request::Wish;
use crate::slot::{Slot, slots};
use crate::{Node, Occupant, Request, Rules};

/// The GPUs to keep for a job that can't run now, ascending by index: those
/// that were `kept` before, and else those that are nearest to having room for
/// it. Nothing where too few would have room even if all our own jobs ended, for
/// then keeping them helps nobody.
pub fn reserve<'a>(
    request: &Request,
    node: &Node,
    occupants: impl IntoIterator<Item = &'a Occupant>,
    rules: &Rules,
    kept: &[GpuIndex],
) -> Option<Vec<GpuIndex>> {
    let needed = usize::from(request.gpus.count().get());
    let mut candidates: Vec<Slot<'_>> =
        slots(node, occupants, rules).into_iter().filter(|slot| slot.would_do(request, rules)).collect();
    // Who is there alone may need it all, and how long it stays nobody knows.
    candidates.sort_by_key(|slot| {
        let Slot { device, reserved, closed, .. } = *slot;
        (!kept.contains(&device.index), closed, reserved, Reverse(device.usable), device.index)
    });
    candidates.truncate(needed);
    let mut gpus: Vec<GpuIndex> = candidates.iter().map(|slot| slot.device.index).collect();
    gpus.sort_unstable();
    (gpus.len() == needed).then_some(gpus)
}

/// What stands for the waiting job on the GPUs that are kept for it: later jobs
/// find room only beside it.
pub fn keep_free(request: &Request, gpus: Vec<GpuIndex>, rules: &Rules) -> Occupant {
    let (declared, share) = match request.wish() {
        Wish::Memory(vram) => (Some(vram + rules.margin), None),
        Wish::Part(share, vram) => (vram.map(|vram| vram + rules.margin), Some(share)),
        Wish::Alone(_) => (None, None),
    };
    Occupant { gpus, declared, share, ..Occupant::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU16;

    use model::{Gpu, GpuNeed, GpuSnapshot, GpuUuid, Health, Mib, Ratio};

    use super::*;
    use crate::{Placement, Thresholds, place};

    const RULES: Rules = Rules {
        idle_threshold: Mib::new(200),
        margin: Mib::new(512),
        exclusive: false,
        spike_buffer: Ratio::ZERO,
        thresholds: Thresholds { memory: None, load: None },
    };

    /// A machine with GPUs of 24,576 MiB, and so much of each used by others.
    fn node(used: &[u32]) -> Node {
        let gpu = |(index, used): (u16, &u32)| Gpu {
            index: GpuIndex(index),
            uuid: GpuUuid("GPU".into()),
            total: Some(Mib::new(24_576)),
            used: Some(Mib::new(*used)),
            free: Some(Mib::new(24_576 - used)),
            utilization: None,
            mig: false,
            health: Health::Healthy,
        };
        let gpus = (0..).zip(used).map(|it| (GpuIndex(it.0), gpu(it)));
        let snapshot = GpuSnapshot { gpus: gpus.collect::<BTreeMap<_, _>>(), apps: Vec::new() };
        let mut node = Node::new(None);
        node.observe(&snapshot, &RULES);
        node
    }

    fn job(gpu: u16, declared: Option<u32>) -> Occupant {
        let declared = declared.map(Mib::new);
        Occupant { gpus: vec![GpuIndex(gpu)], declared, ..Occupant::default() }
    }

    fn request(vram: Option<u32>, gpus: u16) -> Request {
        Request::new(vram.map(Mib::new), GpuNeed::Whole(NonZeroU16::new(gpus).unwrap()), None)
    }

    #[track_caller]
    fn check(request: Request, used: &[u32], occupants: &[Occupant], expect: Option<&[u16]>) {
        let node = node(used);
        let kept = reserve(&request, &node, occupants, &RULES, &[]);
        let expect: Option<Vec<GpuIndex>> = expect.map(|gpus| gpus.iter().copied().map(GpuIndex).collect());
        assert_eq!(kept, expect);
        // If all of ours end, it runs there.
        if let Some(gpus) = kept {
            let elsewhere: Vec<Occupant> = (0..)
                .zip(used)
                .map(|(gpu, _)| gpu)
                .filter(|gpu| !gpus.contains(&GpuIndex(*gpu)))
                .map(|gpu| job(gpu, None))
                .collect();
            assert_eq!(place(&request, &node, &elsewhere, &RULES), Placement::Now(gpus));
        }
    }

    #[test]
    fn the_gpu_nearest_to_room_is_kept() {
        let busy = [job(0, Some(9000)), job(1, Some(6000)), job(2, Some(7000))];
        check(request(Some(20_000), 1), &[0, 0, 0], &busy, Some(&[1]));
        check(request(Some(20_000), 2), &[0, 0, 0], &busy, Some(&[1, 2]));
    }

    #[test]
    fn a_gpu_held_alone_is_the_last_choice() {
        check(request(Some(20_000), 1), &[0, 0], &[job(0, None), job(1, Some(9000))], Some(&[1]));
        check(request(None, 1), &[0, 0], &[job(0, None), job(1, None)], Some(&[0]));
    }

    #[test]
    fn what_was_kept_stays_kept() {
        let busy = [job(0, Some(9000)), job(1, Some(6000))];
        let kept = reserve(&request(Some(20_000), 1), &node(&[0, 0]), &busy, &RULES, &[GpuIndex(0)]);
        assert_eq!(kept, Some(vec![GpuIndex(0)]));
        let kept = reserve(&request(Some(20_000), 1), &node(&[9000, 0]), &busy, &RULES, &[GpuIndex(0)]);
        assert_eq!(kept, Some(vec![GpuIndex(1)]), "a stranger came in");
    }

    #[test]
    fn nothing_is_kept_where_strangers_are_in_the_way() {
        check(request(Some(20_000), 1), &[9000, 8000], &[], None);
        check(request(None, 2), &[300, 0], &[job(1, Some(100))], None);
    }

    #[test]
    fn later_jobs_find_room_only_beside_it() {
        let node = node(&[0]);
        let big = request(Some(20_000), 1);
        let mut occupants = vec![job(0, Some(9000))];
        occupants.push(keep_free(&big, vec![GpuIndex(0)], &RULES));
        let small = |vram| place(&request(Some(vram), 1), &node, &occupants, &RULES);
        assert!(matches!(small(1000), Placement::Wait(_)));
        occupants.remove(0);
        let small = |vram| place(&request(Some(vram), 1), &node, &occupants, &RULES);
        assert_eq!(small(3552), Placement::Now(vec![GpuIndex(0)]));
        assert!(matches!(small(3553), Placement::Wait(_)));
    }
}
