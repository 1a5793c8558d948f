//! `gpusched logs N`: what a job has printed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use model::JobNo;

use crate::cli::LogsArgs;
use crate::control::job;
use crate::failure::Failure;
use crate::place::Place;

/// How often a log is looked at that is followed.
const EVERY: Duration = Duration::from_millis(100);

/// Prints the newest log of a job, and goes on while it runs if asked to.
///
/// # Errors
/// When there is none, or it can't be read.
pub fn run(args: &LogsArgs) -> Result<ExitCode, Failure> {
    let place = Place::find(&args.place)?;
    let no = job(&args.job)?;
    let path = newest(place.dir(), no)?.ok_or_else(|| {
        Failure::usage(format!("job {no} has no log in {}", place.dir().display()))
            .hint("it has not been started yet, or there is no such job: see gpusched status")
    })?;
    let cannot = |error| Failure::cannot(format_args!("read {}", path.display()), &error);
    let mut file = File::open(&path).map_err(cannot)?;
    loop {
        let runs = args.follow && runs(&place, no)?;
        let mut chunk = Vec::new();
        file.read_to_end(&mut chunk).map_err(cannot)?;
        let mut out = io::stdout();
        if out.write_all(&chunk).and_then(|()| out.flush()).is_err() || !runs {
            // A reader that goes away has seen enough.
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(EVERY);
    }
}

/// The log of a job that was written last.
fn newest(dir: &Path, no: JobNo) -> Result<Option<PathBuf>, Failure> {
    let cannot = |error| Failure::cannot(format_args!("read {}", dir.display()), &error);
    let mut newest = None;
    for entry in fs::read_dir(dir).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if entry.file_name().to_str().is_some_and(|name| is_log_of(name, no)) {
            let written = entry.metadata().and_then(|metadata| metadata.modified()).map_err(cannot)?;
            newest = newest.max(Some((written, entry.path())));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// `job007_gpu0.log`, or `job_7_20261125_161200.log` of a watched queue.
fn is_log_of(name: &str, no: JobNo) -> bool {
    let stem = name.strip_suffix(".log");
    stem.is_some_and(|stem| {
        stem.starts_with(&format!("job{:03}_gpu", no.0)) || stem.starts_with(&format!("job_{no}_"))
    })
}

/// Whether a job runs, as far as the scheduler has published it.
fn runs(place: &Place, no: JobNo) -> Result<bool, Failure> {
    let Some(status) = place.status()? else { return Ok(false) };
    let running = status.get("running").and_then(|jobs| jobs.as_array().cloned()).unwrap_or_default();
    Ok(place.scheduler().is_some()
        && running.iter().any(|job| job.get("no").and_then(serde_json::Value::as_u64) == Some(no.0.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_log_it_is() {
        for name in ["job007_gpu0.log", "job007_gpu0-1.log", "job_7_20261125_161200.log"] {
            assert!(is_log_of(name, JobNo(7)), "{name}");
        }
        for name in ["job070_gpu0.log", "job_70_20261125_161200.log", "job007_gpu0.log.2", "job7.log"] {
            assert!(!is_log_of(name, JobNo(7)), "{name}");
        }
        assert!(is_log_of("job1234_gpu0.log", JobNo(1234)));
    }
}
