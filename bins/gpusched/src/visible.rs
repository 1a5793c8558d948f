//! The GPUs we were given: inside an allocation (of Slurm, of a container) the
//! environment says which are ours.

use std::collections::BTreeSet;

use model::{GpuIndex, GpuSnapshot};

/// The variable CUDA looks at.
pub const VARIABLE: &str = "CUDA_VISIBLE_DEVICES";

/// The GPUs that a value of `CUDA_VISIBLE_DEVICES` leaves, by CUDA's rules:
/// indices or the beginnings of UUIDs with commas between them, and the first
/// that names no GPU hides itself and all behind it (CUDA programming guide,
/// environment variables). Indices are taken for those of `nvidia-smi`.
pub fn visible(value: &str, snapshot: &GpuSnapshot) -> BTreeSet<GpuIndex> {
    value.split(',').map_while(|entry| named(entry.trim(), snapshot)).collect()
}

fn named(entry: &str, snapshot: &GpuSnapshot) -> Option<GpuIndex> {
    if let Ok(index) = entry.parse() {
        return Some(GpuIndex(index)).filter(|gpu| snapshot.gpus.contains_key(gpu));
    }
    let mut matching = snapshot.gpus.values().filter(|gpu| gpu.uuid.0.starts_with(entry));
    match (entry.starts_with("GPU-"), matching.next(), matching.next()) {
        (true, Some(gpu), None) => Some(gpu.index),
        // No GPU, or more than one.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Gpu, GpuUuid, Health};

    use super::*;

    #[track_caller]
    fn check(value: &str, expect: &[u16]) {
        let uuids = ["GPU-aa11", "GPU-aa22", "GPU-bb33"];
        let gpu = |(index, uuid): (u16, &&str)| {
            let gpu = Gpu {
                index: GpuIndex(index),
                uuid: GpuUuid((*uuid).into()),
                total: None,
                used: None,
                free: None,
                utilization: None,
                mig: false,
                health: Health::Healthy,
            };
            (gpu.index, gpu)
        };
        let gpus: BTreeMap<_, _> = (0..).zip(&uuids).map(gpu).collect();
        let snapshot = GpuSnapshot { gpus, apps: Vec::new() };
        assert_eq!(visible(value, &snapshot), expect.iter().copied().map(GpuIndex).collect(), "{value:?}");
    }

    #[test]
    fn indices_and_uuids() {
        check("0,2", &[0, 2]);
        check(" 1 , GPU-bb33", &[1, 2]);
        check("GPU-b", &[2]);
    }

    #[test]
    fn a_bad_entry_hides_the_rest() {
        check("0,7,1", &[0]);
        check("-1,0", &[]);
        check("GPU-aa,0", &[]);
        check("MIG-1,0", &[]);
    }

    #[test]
    fn nothing_is_none() {
        check("", &[]);
        check("NoDevFiles", &[]);
    }
}
