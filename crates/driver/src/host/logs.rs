//! What the logs of jobs are called.

use std::path::Path;

use jiff::Zoned;
use model::{GpuIndex, GpuUuid, JobNo, Launch};

/// What the logs of jobs are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogNames {
    /// After the job and its GPUs: `job004_gpu0-1.log`. What a later attempt
    /// prints on the same GPUs follows in the same file.
    #[default]
    ByGpu,
    /// After the job and the moment it was started, in local time:
    /// `job_4_20250131_235959.log`, and with `_2` after it where that is taken.
    /// Every attempt has a file of its own.
    Stamped,
}

impl LogNames {
    /// The name of a new attempt's log in the log directory `dir`.
    pub(super) fn name(self, dir: &Path, launch: &Launch) -> String {
        match self {
            Self::ByGpu => by_gpu(launch.no, &launch.gpus),
            Self::Stamped => unused(dir, &stamped(launch.no, &Zoned::now())),
        }
    }
}

fn by_gpu(no: JobNo, gpus: &[(GpuIndex, GpuUuid)]) -> String {
    let gpus: Vec<String> = gpus.iter().map(|(index, _)| index.to_string()).collect();
    format!("job{:03}_gpu{}.log", no.0, gpus.join("-"))
}

fn stamped(no: JobNo, now: &Zoned) -> String {
    format!("job_{no}_{}", now.strftime("%Y%m%d_%H%M%S"))
}

/// A name for a log that nothing in `dir` has.
fn unused(dir: &Path, stem: &str) -> String {
    let others = (2_u32..).map(|n| format!("{stem}_{n}.log"));
    let mut all = std::iter::once(format!("{stem}.log")).chain(others);
    let free = |name: &String| dir.join(name).symlink_metadata().is_err();
    all.find(free).unwrap_or_else(|| format!("{stem}.log"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::civil::date;
    use jiff::tz::{TimeZone, offset};

    use super::*;

    #[track_caller]
    fn check(no: u32, gpus: &[u16], expect: &str) {
        let gpus: Vec<_> = gpus.iter().map(|index| (GpuIndex(*index), GpuUuid("GPU-a".into()))).collect();
        assert_eq!(by_gpu(JobNo(no), &gpus), expect);
    }

    #[test]
    fn names_after_gpus() {
        check(4, &[0], "job004_gpu0.log");
        check(4, &[0, 11], "job004_gpu0-11.log");
        check(1234, &[1], "job1234_gpu1.log");
    }

    #[test]
    fn names_after_the_moment_and_never_the_same_twice() {
        let zone = TimeZone::fixed(offset(2));
        let moment = date(2025, 1, 31).at(23, 59, 59, 0).to_zoned(zone).unwrap();
        let stem = stamped(JobNo(4), &moment);
        let dir = tempfile::tempdir().unwrap();
        for expect in
            ["job_4_20250131_235959.log", "job_4_20250131_235959_2.log", "job_4_20250131_235959_3.log"]
        {
            let name = unused(dir.path(), &stem);
            assert_eq!(name, expect);
            fs::write(dir.path().join(name), "").unwrap();
        }
    }
}
