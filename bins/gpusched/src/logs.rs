//! `gpusched logs N`: what a job has printed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use model::JobNo;

use crate::cli::LogsArgs;
use crate::control::job;
use crate::failure::Failure;
use crate::place::Place;

/// How often a log is looked at that is followed.
const EVERY: Duration = Duration::from_millis(100);

/// What a scheduler publishes is at most a second old.
const PUBLISHED: Duration = Duration::from_secs(2);

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
    let mut log = Log::open(path)?;
    let began = Instant::now();
    let mut was_running = false;
    loop {
        // In this order: all that it printed before its end is there by then.
        let running = if args.follow { running_log(&place, no)? } else { None };
        let is_over = match &running {
            Some(_) => false,
            // It may have been started since that was published.
            None => {
                !args.follow || was_running || began.elapsed() >= PUBLISHED || log.is_old() || !works(&place)
            }
        };
        was_running |= running.is_some();
        if !log.print()? || is_over {
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(path) = running.filter(|path| *path != log.path && path.is_file()) {
            // It is run again, and prints there.
            log = Log::open(path)?;
        } else {
            thread::sleep(EVERY);
        }
    }
}

/// A log that is printed.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn open(path: PathBuf) -> Result<Self, Failure> {
        let file = File::open(&path);
        let file = file.map_err(|error| Failure::cannot(format_args!("read {}", path.display()), &error))?;
        Ok(Self { path, file })
    }

    /// Prints what has come; whether anybody reads it.
    fn print(&mut self) -> Result<bool, Failure> {
        let mut chunk = Vec::new();
        self.file
            .read_to_end(&mut chunk)
            .map_err(|error| Failure::cannot(format_args!("read {}", self.path.display()), &error))?;
        let mut out = io::stdout();
        // A reader that goes away has seen enough.
        Ok(out.write_all(&chunk).and_then(|()| out.flush()).is_ok())
    }

    /// Whether it was written so long ago that what is published tells of it.
    fn is_old(&self) -> bool {
        let written = self.file.metadata().and_then(|metadata| metadata.modified()).ok();
        written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age >= PUBLISHED)
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

/// The log of a job that runs, as far as the scheduler has published it.
fn running_log(place: &Place, no: JobNo) -> Result<Option<PathBuf>, Failure> {
    let Some(status) = place.status()?.filter(|_| works(place)) else { return Ok(None) };
    let running = status["running"].as_array().map_or(&[][..], Vec::as_slice);
    let job = running.iter().find(|job| job["no"].as_u64() == Some(no.0.into()));
    Ok(job.map(|job| place.dir().join(job["log"].as_str().unwrap_or_default())))
}

fn works(place: &Place) -> bool {
    place.scheduler().is_some()
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
