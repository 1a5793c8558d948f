//! What a job of ours is granted of each of its GPUs.

use std::collections::BTreeMap;

use model::{GpuIndex, Mib, Ratio, Share};

use crate::Device;

/// A running job of ours, as placement sees it.
#[derive(Debug, Clone, Default)]
pub struct Occupant {
    /// The GPUs it holds, each once.
    pub gpus: Vec<GpuIndex>,
    /// What it may use of each, in MiB; nothing where it declares nothing.
    pub declared: Option<Mib>,
    /// The part it has of its one GPU; nothing where it needs whole ones.
    pub share: Option<Share>,
    /// What it uses of each now, in MiB.
    pub now: BTreeMap<GpuIndex, Mib>,
    /// The most it was ever seen to use of each, in MiB.
    pub peak: BTreeMap<GpuIndex, Mib>,
}

impl Occupant {
    /// Whether it has its GPUs to itself.
    pub const fn is_alone(&self) -> bool {
        self.declared.is_none() && self.share.is_none()
    }

    /// The memory to keep for it on `gpu`, in MiB; nothing on a GPU it does not
    /// hold.
    ///
    /// A job that has stayed within its declaration keeps the whole of it, also
    /// while it uses less: it may still grow. One that went beyond (or declared
    /// nothing) keeps its peak and the spike buffer, since what it did once it
    /// may do again.
    ///
    /// A part of a GPU for which no memory is declared goes with the same part of
    /// what the GPU has for us.
    pub fn budget(&self, device: &Device, spike: Ratio) -> Mib {
        let gpu = device.index;
        if !self.gpus.contains(&gpu) {
            return Mib::ZERO;
        }
        let on = |use_per_gpu: &BTreeMap<GpuIndex, Mib>| use_per_gpu.get(&gpu).copied().unwrap_or_default();
        let most = on(&self.peak).max(on(&self.now));
        let part = self.share.zip(device.room()).map(|(share, room)| share.of(room));
        match self.declared.or(part) {
            Some(declared) if most <= declared => declared,
            Some(_) | None => spike.inflate(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::GpuUuid;

    use super::*;

    const GPU: GpuIndex = GpuIndex(1);

    fn device(index: GpuIndex) -> Device {
        Device {
            index,
            uuid: GpuUuid("GPU".into()),
            usable: Some(Mib::new(20_500)),
            used: Some(Mib::new(500)),
            utilization: None,
            external: Mib::new(500),
            trouble: None,
        }
    }

    #[track_caller]
    fn check(declared: Option<u32>, share: Option<f64>, now: u32, peak: u32, expect: u32) {
        let occupant = Occupant {
            gpus: vec![GPU],
            declared: declared.map(Mib::new),
            share: share.and_then(Share::new),
            now: BTreeMap::from([(GPU, Mib::new(now))]),
            peak: BTreeMap::from([(GPU, Mib::new(peak))]),
        };
        let spike = Ratio::new(0.10).unwrap();
        assert_eq!(occupant.budget(&device(GPU), spike), Mib::new(expect));
        assert_eq!(occupant.budget(&device(GpuIndex(0)), spike), Mib::ZERO);
    }

    #[test]
    fn a_declaration_is_kept_until_it_is_exceeded() {
        check(Some(8000), None, 0, 0, 8000);
        check(Some(8000), None, 500, 8000, 8000);
        check(Some(8000), None, 500, 8001, 8802);
    }

    #[test]
    fn a_peak_that_lags_behind_does_not_matter() {
        check(Some(8000), None, 9000, 500, 9900);
    }

    #[test]
    fn without_a_declaration_the_peak_counts() {
        check(None, None, 0, 0, 0);
        check(None, None, 100, 1000, 1100);
    }

    #[test]
    fn a_part_goes_with_that_part_of_the_memory() {
        check(None, Some(0.5), 0, 0, 10_000);
        check(None, Some(0.5), 500, 9000, 10_000);
        check(None, Some(0.5), 500, 11_000, 12_100);
        check(Some(3000), Some(0.5), 500, 2000, 3000);
    }

    #[test]
    fn a_job_that_was_not_seen_yet_keeps_its_declaration() {
        let job = Occupant { gpus: vec![GPU], declared: Some(Mib::new(8000)), ..Occupant::default() };
        assert_eq!(job.budget(&device(GPU), Ratio::ZERO), Mib::new(8000));
    }
}
