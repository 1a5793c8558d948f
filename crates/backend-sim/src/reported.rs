//! GPUs that do not exist: their use is what processes report in files.
//!
//! The protocol is the Python tool's: a process with id P writes
//! `DIR/P.json`, `{"pid":P,"usage":{"0":4000}}`, which says how many MiB it
//! holds on which GPU, and removes it when it ends. Beside `usage` there may be
//! `load`, the percentage by which it keeps each of these GPUs busy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backend::GpuBackend;
use model::{ComputeApp, Gpu, GpuIndex, GpuSnapshot, GpuUuid, Health, Mib, Percent, Pid, Unavailable};
use serde::Deserialize;

/// The memory of each such GPU.
pub const TOTAL: Mib = Mib::new(24_576);

/// What the UUIDs of such GPUs begin with; the index follows.
pub const UUID_PREFIX: &str = "SIM-GPU-";

/// How busy all those together keep a GPU that do not say.
const BUSY: Percent = Percent(90);

/// How much older than its process a report may look. Clocks of files tick
/// coarsely, and the time of the boot is known to the second.
const SLACK: Duration = Duration::from_secs(2);

/// GPUs of 24,576 MiB each whose use is what processes report in files.
///
/// The report of a process that has ended is removed. One that is only half
/// written, as by a program that does not rename it into place, is passed over
/// this time. A directory that is not there means that nobody uses anything.
#[derive(Debug)]
pub struct ReportedGpus {
    count: u16,
    dir: PathBuf,
}

/// What a process reports. The file's name tells whose it is.
#[derive(Deserialize)]
struct Report {
    usage: BTreeMap<GpuKey, serde_json::Number>,
    #[serde(default)]
    load: Option<u8>,
}

/// What all processes report.
#[derive(Default)]
struct Reports {
    apps: Vec<ComputeApp>,
    /// How busy those keep each GPU together that say so, in per cent.
    load: BTreeMap<GpuIndex, u32>,
    /// GPUs with a process that does not say.
    busy: BTreeSet<GpuIndex>,
}

/// The index of a GPU, as the key of a JSON object.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct GpuKey(GpuIndex);

impl ReportedGpus {
    /// `count` GPUs, used by whoever reports in `dir`.
    pub const fn new(count: u16, dir: PathBuf) -> Self {
        Self { count, dir }
    }

    fn reports(&self) -> Result<Reports, Unavailable> {
        let failed = |error| Unavailable(format!("cannot read {}: {error}", self.dir.display()));
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Reports::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut reports = Reports::default();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let Some(pid) = reporter(&path) else { continue };
            if is_stale(&path, pid) {
                // Where it can't be removed it is stale the next time as well.
                let _ = fs::remove_file(&path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                self.read(&path, pid, &mut reports);
            }
        }
        reports.apps.sort_by_key(|app| (app.gpu, app.pid));
        Ok(reports)
    }

    /// Adds what a process holds on the GPUs there are; nothing if its report is
    /// not whole, or gone by now.
    fn read(&self, path: &Path, pid: Pid, reports: &mut Reports) {
        let report = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
        let Some(Report { usage, load }) = report else { return };
        for (GpuKey(gpu), mib) in usage.into_iter().filter(|(GpuKey(gpu), _)| gpu.0 < self.count) {
            reports.apps.push(ComputeApp { gpu, pid, used: amount(&mib), owner: None });
            match load {
                Some(load) => *reports.load.entry(gpu).or_default() += u32::from(load),
                None => {
                    reports.busy.insert(gpu);
                }
            }
        }
    }
}

impl GpuBackend for ReportedGpus {
    fn snapshot(&mut self) -> Result<GpuSnapshot, Unavailable> {
        let reports = self.reports()?;
        let gpus = (0..self.count).map(GpuIndex).map(|index| (index, gpu(index, &reports))).collect();
        Ok(GpuSnapshot { gpus, apps: reports.apps })
    }
}

/// A GPU with the processes on it.
fn gpu(index: GpuIndex, reports: &Reports) -> Gpu {
    let used = reports.apps.iter().filter(|app| app.gpu == index).filter_map(|app| app.used).sum();
    let others = if reports.busy.contains(&index) { u32::from(BUSY.0) } else { 0 };
    let load = (reports.load.get(&index).copied().unwrap_or_default() + others).min(100);
    Gpu {
        index,
        uuid: GpuUuid(format!("{UUID_PREFIX}{index}").into()),
        total: Some(TOTAL),
        used: Some(used),
        free: Some(TOTAL.saturating_sub(used)),
        utilization: u8::try_from(load).ok().map(Percent),
        mig: false,
        health: Health::Healthy,
    }
}

impl TryFrom<String> for GpuKey {
    type Error = std::num::ParseIntError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(GpuIndex).map(Self)
    }
}

/// The process a file belongs to: `<pid>.json`, or `<pid>.tmp` before it is
/// renamed.
fn reporter(path: &Path) -> Option<Pid> {
    let extension = path.extension()?;
    let ours = extension == "json" || extension == "tmp";
    path.file_stem()?.to_str()?.parse().ok().filter(|_| ours).map(Pid)
}

/// An amount in MiB, fractions rounded.
fn amount(mib: &serde_json::Number) -> Option<Mib> {
    match Mib::parse(&mib.to_string()) {
        Ok(mib) => Some(mib),
        Err(model::ParseMibError::NotPositive) => Some(Mib::ZERO),
        Err(model::ParseMibError::Malformed | model::ParseMibError::TooLarge) => None,
    }
}

/// Whether the process that wrote the file has ended. Its id may be in use
/// again: a file older than the process of that id was written by another one.
fn is_stale(path: &Path, pid: Pid) -> bool {
    let Some(started) = started(pid) else { return true };
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written + SLACK < started)
}

/// When a living process was started. Nothing for one that has ended, whether
/// or not its parent has noticed.
fn started(pid: Pid) -> Option<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the state is next.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let ticks: u64 = fields.nth(18)?.parse().ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // Linux shows times in hundredths of a second, whatever it counts in.
    let since_boot = Duration::from_millis(ticks * 10);
    (!matches!(state, "Z" | "X")).then_some(UNIX_EPOCH + Duration::from_secs(boot) + since_boot)
}

#[cfg(test)]
mod tests {
    use std::process::{self, Child, Command};

    use super::*;

    /// A directory of its own for a test, removed at the end.
    struct Dir(PathBuf);

    impl Dir {
        fn new(test: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("reported-gpus-{}-{test}", process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn write(&self, name: impl std::fmt::Display, text: &str) -> PathBuf {
            let path = self.0.join(name.to_string());
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The snapshot in lines: `gpu used free utilization`, `pid@gpu used`.
    #[track_caller]
    fn check(dir: &Dir, count: u16, expect: &[&str]) {
        let snapshot = ReportedGpus::new(count, dir.0.clone()).snapshot().unwrap();
        let mib = |mib: Option<Mib>| mib.map_or("?".to_owned(), |mib| mib.get().to_string());
        let gpus = snapshot.gpus.values().map(|gpu| {
            format!("{} {} {} {}", gpu.uuid, mib(gpu.used), mib(gpu.free), gpu.utilization.unwrap().0)
        });
        let me = process::id().to_string();
        let apps = snapshot.apps.iter().map(|app| format!("{}@{} {}", app.pid, app.gpu, mib(app.used)));
        let got: Vec<_> = gpus.chain(apps.map(|line| line.replace(&me, "me"))).collect();
        assert_eq!(got, expect);
    }

    fn ended() -> Child {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child
    }

    #[test]
    fn without_reports_nothing_is_used() {
        let dir = Dir::new("none");
        check(&dir, 2, &["SIM-GPU-0 0 24576 0", "SIM-GPU-1 0 24576 0"]);
        fs::remove_dir_all(&dir.0).unwrap();
        check(&dir, 1, &["SIM-GPU-0 0 24576 0"]);
    }

    #[test]
    fn a_process_is_counted_on_each_of_its_gpus() {
        let dir = Dir::new("count");
        dir.write(
            format!("{}.json", process::id()),
            r#"{"pid": 1, "usage": {"1": 4000, "0": 99.6, "7": 5}}"#,
        );
        check(
            &dir,
            3,
            &[
                "SIM-GPU-0 100 24476 90",
                "SIM-GPU-1 4000 20576 90",
                "SIM-GPU-2 0 24576 0",
                "me@0 100",
                "me@1 4000",
            ],
        );
        dir.write(format!("{}.json", process::id()), r#"{"usage": {"0": 30000}}"#);
        check(&dir, 1, &["SIM-GPU-0 30000 0 90", "me@0 30000"]);
        dir.write(format!("{}.json", process::id()), r#"{"usage": {"0": 0}}"#);
        check(&dir, 1, &["SIM-GPU-0 0 24576 90", "me@0 0"]);
        dir.write(format!("{}.json", process::id()), r#"{"usage": {"0": 5}, "load": 40}"#);
        check(&dir, 1, &["SIM-GPU-0 5 24571 40", "me@0 5"]);
    }

    #[test]
    fn what_is_not_a_whole_report_is_passed_over() {
        let dir = Dir::new("half");
        let half = dir.write(format!("{}.json", process::id()), r#"{"pid": 12, "usage": {"0": 40"#);
        let half_renamed = dir.write(format!("{}.tmp", process::id()), r#"{"usage": {"0": 40}}"#);
        let other = dir.write("notes.txt", "hello");
        check(&dir, 1, &["SIM-GPU-0 0 24576 0"]);
        assert!(half.exists() && half_renamed.exists() && other.exists());
    }

    #[test]
    fn reports_of_ended_processes_are_removed() {
        let dir = Dir::new("ended");
        let pid = ended().id();
        let report = dir.write(format!("{pid}.json"), r#"{"usage": {"0": 4000}}"#);
        let half = dir.write(format!("{pid}.tmp"), "");
        check(&dir, 1, &["SIM-GPU-0 0 24576 0"]);
        assert!(!report.exists() && !half.exists());
    }

    #[test]
    fn an_ended_process_counts_nothing_before_its_parent_notices() {
        let dir = Dir::new("zombie");
        let mut child = Command::new("true").spawn().unwrap();
        let deadline = SystemTime::now() + Duration::from_secs(10);
        while started(Pid(child.id())).is_some() {
            assert!(SystemTime::now() < deadline, "the process does not end");
            std::thread::yield_now();
        }
        let report = dir.write(format!("{}.json", child.id()), r#"{"usage": {"0": 4000}}"#);
        check(&dir, 1, &["SIM-GPU-0 0 24576 0"]);
        assert!(!report.exists());
        child.wait().unwrap();
    }

    #[test]
    fn a_report_older_than_the_process_is_another_ones() {
        let dir = Dir::new("reuse");
        let report = dir.write(format!("{}.json", process::id()), r#"{"usage": {"0": 4000}}"#);
        let before = started(Pid(process::id())).unwrap() - Duration::from_secs(60);
        fs::File::options().write(true).open(&report).unwrap().set_modified(before).unwrap();
        check(&dir, 1, &["SIM-GPU-0 0 24576 0"]);
        assert!(!report.exists());
    }
}
