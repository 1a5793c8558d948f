//! A job that needs no GPU: it claims memory on [reported](crate::reported)
//! GPUs, holds it and ends. It stands in for training in demonstrations and
//! tests.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use model::Mib;

use crate::reported::UUID_PREFIX;

/// How often the report is written anew.
const PERIOD: Duration = Duration::from_millis(50);

/// The exit code when the report or the marker can't be written (`EX_IOERR`).
const CANNOT_WRITE: u8 = 74;

/// What the job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimJob {
    /// The memory it claims on each of its GPUs in the end.
    pub vram: Mib,
    /// The time in which its claim grows to that, evenly.
    pub ramp: Duration,
    /// How long it holds the memory then.
    pub hold: Duration,
    /// What it exits with.
    pub exit_code: u8,
    /// Where this file does not exist yet, the job creates it and fails, once
    /// it has all its memory, as one that is out of memory: with exit code 1
    /// and `PyTorch`'s words on standard error.
    pub oom_once: Option<PathBuf>,
    /// How busy it keeps each of its GPUs, in per cent; nothing where it does
    /// not say.
    pub load: Option<u8>,
}

/// What the job finds around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimEnv {
    /// The directory of the reports.
    pub dir: PathBuf,
    /// `CUDA_VISIBLE_DEVICES`: indices or UUIDs (`SIM-GPU-0`), comma separated.
    /// As in CUDA, the first entry that is neither ends the list. Without the
    /// variable it is GPU 0.
    pub cuda_visible_devices: Option<String>,
}

/// Runs the job to its end, in this process; the result is what to exit with.
/// It says a line on standard output at the start and at the end. A signal
/// simply ends it: the report of a process that is gone counts nothing.
pub fn run(job: &SimJob, env: &SimEnv) -> ExitCode {
    let gpus = gpus(env.cuda_visible_devices.as_deref());
    let (ramp, hold) = (job.ramp.as_secs_f64(), job.hold.as_secs_f64());
    let names = gpus.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let pid = process::id();
    say(&format!(
        "simjob: process {pid} takes {} on each of gpu[{names}] within {ramp} s, holds it for {hold} s",
        job.vram
    ));
    let report = ReportFile::new(&env.dir, gpus, job.load);
    let code = perform(job, &report).unwrap_or_else(|error| {
        complain(&format!("simjob: {error}"));
        CANNOT_WRITE
    });
    drop(report);
    say(&format!("simjob: process {pid} exits with {code}"));
    ExitCode::from(code)
}

fn perform(job: &SimJob, report: &ReportFile) -> io::Result<u8> {
    claim_for(job.ramp, report, |elapsed| portion(job.vram, elapsed, job.ramp))?;
    report.write(job.vram)?;
    if let Some(marker) = &job.oom_once
        && create_new(marker)?
    {
        complain(&format!(
            "RuntimeError: CUDA out of memory. Tried to allocate {}.00 MiB (simulated; the next attempt succeeds)",
            job.vram.get()
        ));
        return Ok(1);
    }
    claim_for(job.hold, report, |_| job.vram)?;
    Ok(job.exit_code)
}

/// Reports a claim every now and then for a while.
fn claim_for(time: Duration, report: &ReportFile, claim: impl Fn(Duration) -> Mib) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let elapsed = start.elapsed();
        let Some(left) = time.checked_sub(elapsed).filter(|left| !left.is_zero()) else { return Ok(()) };
        report.write(claim(elapsed))?;
        thread::sleep(left.min(PERIOD));
    }
}

/// How much of `whole` is claimed `elapsed` into a ramp, rounded down.
fn portion(whole: Mib, elapsed: Duration, ramp: Duration) -> Mib {
    let claimed = u128::from(whole.get()) * elapsed.as_micros() / ramp.as_micros().max(1);
    Mib::new(u32::try_from(claimed).unwrap_or(u32::MAX)).min(whole)
}

/// The GPUs the variable names.
fn gpus(cuda_visible_devices: Option<&str>) -> Vec<u16> {
    let entries = cuda_visible_devices.unwrap_or("0").split(',');
    let index = |entry: &str| entry.strip_prefix(UUID_PREFIX).unwrap_or(entry).parse().ok();
    entries.map_while(|entry| index(entry.trim())).collect()
}

/// The report of this process, which is removed when it goes out of scope.
struct ReportFile {
    path: PathBuf,
    gpus: Vec<u16>,
    load: Option<u8>,
}

impl ReportFile {
    fn new(dir: &Path, gpus: Vec<u16>, load: Option<u8>) -> Self {
        Self { path: dir.join(format!("{}.json", process::id())), gpus, load }
    }

    /// Says that this process holds `claim` on each GPU, all at once: a reader
    /// never sees half of it.
    fn write(&self, claim: Mib) -> io::Result<()> {
        let entries: Vec<_> = self.gpus.iter().map(|gpu| format!("\"{gpu}\":{}", claim.get())).collect();
        let load = self.load.map(|load| format!(",\"load\":{load}")).unwrap_or_default();
        let text = format!("{{\"pid\":{},\"usage\":{{{}}}{load}}}", process::id(), entries.join(","));
        let beside = self.path.with_extension("tmp");
        let written = fs::write(&beside, &text).or_else(|error| {
            // Only the first time, or when someone tidied up under us.
            let dir = self.path.parent().filter(|_| error.kind() == io::ErrorKind::NotFound);
            dir.map_or(Err(error), |dir| fs::create_dir_all(dir).and_then(|()| fs::write(&beside, &text)))
        });
        let renamed = written.and_then(|()| fs::rename(&beside, &self.path));
        renamed.map_err(|error| in_words("write", &self.path, &error))
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        // Without a process it counts nothing, should it stay.
        let _ = fs::remove_file(&self.path);
    }
}

/// Creates an empty file, unless there is one.
fn create_new(path: &Path) -> io::Result<bool> {
    match File::create_new(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(in_words("create", path, &error)),
    }
}

fn in_words(verb: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {}: {error}", path.display()))
}

/// A job goes on when nobody reads what it says.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use backend::GpuBackend;
    use model::GpuIndex;

    use super::*;
    use crate::reported::ReportedGpus;

    #[test]
    fn the_gpus_a_job_sees() {
        #[track_caller]
        fn check(variable: Option<&str>, expect: &[u16]) {
            assert_eq!(gpus(variable), expect, "{variable:?}");
        }
        check(None, &[0]);
        check(Some(""), &[]);
        check(Some("2"), &[2]);
        check(Some("1, 3"), &[1, 3]);
        check(Some("SIM-GPU-1,SIM-GPU-0"), &[1, 0]);
        check(Some("0,2,-1,1"), &[0, 2]);
        check(Some("GPU-5f1c"), &[]);
    }

    #[test]
    fn the_claim_grows_evenly() {
        #[track_caller]
        fn check(elapsed_ms: u64, ramp_ms: u64, expect: u32) {
            let (elapsed, ramp) = (Duration::from_millis(elapsed_ms), Duration::from_millis(ramp_ms));
            assert_eq!(portion(Mib::new(1000), elapsed, ramp), Mib::new(expect));
        }
        check(0, 500, 0);
        check(125, 500, 250);
        check(499, 500, 998);
        check(500, 500, 1000);
        check(9000, 500, 1000);
        check(1, 0, 1000);
    }

    /// The parts that need the file under this process' id, of which there is
    /// one: so they are one test.
    #[test]
    fn a_job_reports_and_ends() {
        let dir = std::env::temp_dir().join(format!("simjob-{}", process::id()));
        let (reports, marker) = (dir.join("deep").join("sim"), dir.join("oom"));
        let mut seen = ReportedGpus::new(2, reports.clone());
        let mut used = || seen.snapshot().unwrap().gpus[&GpuIndex(1)].used.unwrap();
        {
            let report = ReportFile::new(&reports, vec![1], None);
            report.write(Mib::new(700)).unwrap();
            assert_eq!(used(), Mib::new(700));
            report.write(Mib::new(701)).unwrap();
            assert_eq!(used(), Mib::new(701));
        }
        assert_eq!(used(), Mib::ZERO);

        let job = SimJob {
            vram: Mib::new(4000),
            ramp: Duration::from_millis(1),
            hold: Duration::ZERO,
            exit_code: 7,
            oom_once: Some(marker.clone()),
            load: None,
        };
        let env = SimEnv { dir: reports.clone(), cuda_visible_devices: Some("0,1".to_owned()) };
        let exits = |job: &SimJob, code: u8| {
            assert_eq!(format!("{:?}", run(job, &env)), format!("{:?}", ExitCode::from(code)));
            assert_eq!(fs::read_dir(&reports).unwrap().count(), 0);
        };
        exits(&job, 1);
        assert!(marker.exists());
        exits(&job, 7);
        exits(&SimJob { oom_once: Some(dir.join("missing").join("oom")), ..job }, CANNOT_WRITE);
        fs::remove_dir_all(&dir).unwrap();
    }
}
