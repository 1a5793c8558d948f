//! What others use of the GPUs.

use std::collections::BTreeMap;

use model::{GpuIndex, GpuSnapshot, Mib, Pid, Ratio};

/// The most that each process which is not ours was seen to use of each GPU,
/// for as long as it is listed there.
///
/// The memory of a stranger that breathes in and out would otherwise be given
/// away each time it breathes out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExternalPeaks {
    peaks: BTreeMap<(GpuIndex, Pid), Mib>,
}

impl ExternalPeaks {
    /// Takes in what is listed now, and forgets the processes that are not.
    ///
    /// A process counts as a stranger's when it has no owner. One whose use is
    /// unknown for the moment keeps the peak it had.
    pub(crate) fn observe(&mut self, snapshot: &GpuSnapshot) {
        let mut peaks = BTreeMap::new();
        for app in snapshot.apps.iter().filter(|app| app.owner.is_none()) {
            let key = (app.gpu, app.pid);
            let before = self.peaks.get(&key).copied().unwrap_or_default();
            let peak: &mut Mib = peaks.entry(key).or_default();
            *peak = (*peak).max(before).max(app.used.unwrap_or_default());
        }
        self.peaks = peaks;
    }

    /// The memory to keep for strangers on `gpu`, in MiB: the sum of their peaks
    /// and the spike buffer.
    pub(crate) fn held(&self, gpu: GpuIndex, spike: Ratio) -> Mib {
        let on_gpu = (gpu, Pid(u32::MIN))..=(gpu, Pid(u32::MAX));
        spike.inflate(self.peaks.range(on_gpu).map(|(_, peak)| *peak).sum())
    }
}

#[cfg(test)]
mod tests {
    use model::{ComputeApp, JobKey};

    use super::*;

    const GPU: GpuIndex = GpuIndex(0);

    /// Shows the listings one after the other, each as (pid, use, ours), and
    /// compares what is held after the last.
    #[track_caller]
    fn check(listings: &[&[(u32, Option<u32>, bool)]], expect: u32) {
        let mut peaks = ExternalPeaks::default();
        for listing in listings {
            let app = |&(pid, used, ours): &(u32, Option<u32>, bool)| ComputeApp {
                gpu: GPU,
                pid: Pid(pid),
                used: used.map(Mib::new),
                owner: ours.then(|| JobKey::new([0; 6], 0).attempt(1)),
            };
            let apps = listing.iter().map(app).collect();
            peaks.observe(&GpuSnapshot { apps, ..GpuSnapshot::default() });
        }
        assert_eq!(peaks.held(GPU, Ratio::new(0.10).unwrap()), Mib::new(expect));
        assert_eq!(peaks.held(GpuIndex(1), Ratio::ZERO), Mib::ZERO);
    }

    #[test]
    fn peaks_of_all_strangers_are_added_up() {
        check(&[&[(7, Some(400), false), (8, Some(600), false)]], 1100);
    }

    #[test]
    fn a_peak_stays_while_its_process_is_listed() {
        check(&[&[(7, Some(1000), false)], &[(7, Some(10), false)]], 1100);
        check(&[&[(7, Some(1000), false)], &[(7, None, false)]], 1100);
    }

    #[test]
    fn a_peak_goes_with_its_process() {
        check(&[&[(7, Some(1000), false)], &[(8, Some(10), false)]], 11);
        check(&[&[(7, Some(1000), false)], &[], &[(7, Some(10), false)]], 11);
    }

    #[test]
    fn our_own_processes_are_no_strangers() {
        check(&[&[(7, Some(1000), true)]], 0);
        check(&[&[(7, Some(1000), false)], &[(7, Some(1000), true)]], 0);
    }

    #[test]
    fn unknown_use_is_nothing_to_hold() {
        check(&[&[(7, None, false)]], 0);
    }
}
