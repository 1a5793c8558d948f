//! The log directory: who may work in it, what it remembers, and how to begin
//! anew.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use driver::host::{HostError, start_fresh};
use driver::lock::{DirLock, LockError};
use driver::mailbox::begin_anew;
use driver::medium::FileMedium;
use driver::point::{self, Point};
use engine::queue::Record;
use engine::queue::python::read_python_journal;
use journal::{Journal, OpenError, Tail};
use model::{JobKey, JobNo, Timestamp};

use crate::failure::{Failure, Kind};
use crate::python_jobs;

/// The word in the first line of our journal.
const JOURNAL_KIND: &str = "gpusched";

const JOURNAL: &str = "journal.jsonl";

/// A log directory that is ours until this is dropped.
pub struct LogDir {
    path: PathBuf,
    _lock: DirLock,
}

/// What the journal remembers, ready for more.
pub struct Memory {
    /// The journal.
    pub journal: Journal<FileMedium>,
    /// What is in it.
    pub records: Vec<Record>,
    /// What is to be told about it.
    pub note: Option<String>,
}

impl LogDir {
    /// Makes the directory if need be, and takes the right to schedule from it.
    ///
    /// # Errors
    /// When it can't be made or used, or somebody else works in it.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        let cannot = |doing: &str, error| Failure::cannot(format_args!("{doing} {}", path.display()), &error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| cannot("create the log directory", error))?;
        let path = path.canonicalize().map_err(|error| cannot("open", error))?;
        let lock = DirLock::take(&path).map_err(|error| match error {
            LockError::Held { .. } => {
                Failure::new(Kind::Locked, &error).hint("wait for it, or use another --log-dir")
            }
            LockError::File(_) => Failure::caused(Kind::Io, &error),
        })?;
        Ok(Self { path, _lock: lock })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts what earlier runs left aside: the journals as `….1`, the logs of
    /// jobs in `previous/`.
    ///
    /// # Errors
    /// When jobs still run there, or something can't be moved.
    pub fn start_over(&self) -> Result<(), Failure> {
        self.refuse_running_python_jobs()?;
        start_fresh(&self.path).map_err(|error| {
            if matches!(error, HostError::Busy { .. }) {
                Failure::new(Kind::Locked, format!("--fresh: {error}"))
                    .hint("run without --fresh to look after them, and end them with `cancel` or Ctrl-C")
            } else {
                Failure::caused(Kind::Io, &error)
            }
        })?;
        let journal = self.path.join(JOURNAL);
        if journal.exists() {
            rename(&journal, &self.path.join(format!("{JOURNAL}.1")))?;
        }
        begin_anew(&self.path);
        self.move_logs()
    }

    fn move_logs(&self) -> Result<(), Failure> {
        let previous = self.path.join("previous");
        let cannot = |error| Failure::cannot(format_args!("read {}", self.path.display()), &error);
        for entry in fs::read_dir(&self.path).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            let Some(name) = name.to_str().filter(|name| is_job_log(name)) else { continue };
            fs::create_dir_all(&previous)
                .map_err(|error| Failure::cannot(format_args!("create {}", previous.display()), &error))?;
            rename(&self.path.join(name), &unused(&previous, name))?;
        }
        Ok(())
    }

    /// Opens the journal. That of the Python tool is turned into one of ours.
    ///
    /// # Errors
    /// When it can't be read or written, or is damaged.
    pub fn open_journal(&self) -> Result<Memory, Failure> {
        let path = self.path.join(JOURNAL);
        let medium = FileMedium::open(&path).map_err(|error| Failure::caused(Kind::Io, &error))?;
        match Journal::open::<Record>(medium, JOURNAL_KIND) {
            Ok((journal, scan)) => {
                let note = match scan.tail {
                    Tail::Clean => None,
                    Tail::Torn { lost, .. } => {
                        Some(format!("{JOURNAL}: cut off {lost} bytes of a line that was never finished"))
                    }
                };
                point::pass(Point::JournalOpened);
                let records = scan.records.into_iter().map(|stamped| stamped.record).collect();
                Ok(Memory { journal, records, note })
            }
            Err(OpenError::NotOurs { medium, bytes }) => self.upgrade(medium, &bytes),
            Err(OpenError::Medium(error)) => Err(Failure::caused(Kind::Io, &error)),
            Err(OpenError::Scan(error)) => Err(Failure::io(format!("{}: {error}", path.display()))
                .hint("put that line right, or put back a copy of the file, and start again")
                .hint("or run everything again: --fresh keeps the damaged file as journal.jsonl.1")),
        }
    }

    fn upgrade(&self, medium: FileMedium, bytes: &[u8]) -> Result<Memory, Failure> {
        self.refuse_running_python_jobs()?;
        let (records, python) = read_python_journal(bytes);
        let path = self.path.join(JOURNAL);
        if records.is_empty() {
            return Err(Failure::io(format!("{} is not a journal of gpusched", path.display()))
                .hint("move it away, or use another --log-dir"));
        }
        let journal = Journal::create(medium, JOURNAL_KIND, &records, Timestamp::now())
            .map_err(|error| Failure::caused(Kind::Io, &error))?;
        let unread = match python.skipped {
            0 => String::new(),
            1 => ", 1 line unreadable".to_owned(),
            many => format!(", {many} lines unreadable"),
        };
        let note = format!(
            "took over the journal of the Python tool ({} events{unread}); it is kept as {JOURNAL}.1{}",
            records.len(),
            run_again(&numbers(&records, &python.open)),
        );
        Ok(Memory { journal, records, note: Some(note) })
    }

    /// A job of the Python tool that still runs can't be waited for: it is not
    /// our child, nor the keeper's.
    fn refuse_running_python_jobs(&self) -> Result<(), Failure> {
        let Ok(bytes) = fs::read(self.path.join(JOURNAL)) else { return Ok(()) };
        let (records, mut python) = read_python_journal(&bytes);
        let groups: Vec<u32> = python.open.iter().map(|(_, group)| *group).collect();
        let alive = python_jobs::alive(&groups);
        python.open.retain(|(_, group)| alive.contains(group));
        if python.open.is_empty() {
            return Ok(());
        }
        let mut jobs = Vec::new();
        let mut groups = Vec::new();
        for (no, (_, group)) in numbers(&records, &python.open).iter().zip(&python.open) {
            jobs.push(format!("job {no} (process group {group})"));
            groups.push(format!("-{group}"));
        }
        let message = format!("still running from the Python tool: {}", jobs.join(", "));
        Err(Failure::new(Kind::Locked, message)
            .hint(format!("wait for their end, or end them: kill -TERM -- {}", groups.join(" ")))
            .hint(
                "how they end can't be known, so their lines are then run again: delete those that are done",
            ))
    }
}

/// The numbers of jobs in a journal, in the order of `jobs`.
fn numbers(records: &[Record], jobs: &[(JobKey, u32)]) -> Vec<JobNo> {
    let seen = |of: JobKey| {
        records.iter().find_map(|record| {
            let Record::Seen { key, no, .. } = record else { return None };
            (*key == of).then_some(*no)
        })
    };
    jobs.iter().filter_map(|(key, _)| seen(*key)).collect()
}

/// What becomes of jobs whose end the Python tool did not tell.
fn run_again(jobs: &[JobNo]) -> String {
    let all: Vec<String> = jobs.iter().map(JobNo::to_string).collect();
    match all.as_slice() {
        [] => String::new(),
        [one] => format!("; it does not tell how job {one} ended, so that is run again"),
        _ => format!("; it does not tell how the jobs {} ended, so they are run again", all.join(", ")),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    let doing = || format!("move {} to {}", from.display(), to.display());
    fs::rename(from, to).map_err(|error| Failure::cannot(doing(), &error))
}

/// Whether a file is what a job printed: `job007_gpu0-1.log`, or
/// `job_7_20250131_235959.log` with perhaps `_2` after it.
fn is_job_log(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some(middle) = name.strip_prefix("job").and_then(|rest| rest.strip_suffix(".log")) else {
        return false;
    };
    if let Some(stamped) = middle.strip_prefix('_') {
        let parts: Vec<&str> = stamped.split('_').collect();
        return matches!(*parts, [_, day, time] | [_, day, time, _] if (day.len(), time.len()) == (8, 6))
            && parts.into_iter().all(digits);
    }
    middle.split_once("_gpu").is_some_and(|(no, gpus)| digits(no) && gpus.split('-').all(digits))
}

/// A name in `dir` that nothing has: `name`, or `name.2` and so on.
fn unused(dir: &Path, name: &str) -> PathBuf {
    let others = (2_u32..).map(|n| dir.join(format!("{name}.{n}")));
    let mut all = std::iter::once(dir.join(name)).chain(others);
    all.find(|path| !path.exists()).unwrap_or_else(|| dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_log_of_a_job() {
        let by_gpu = ["job001_gpu0.log", "job1234_gpu0-1-7.log"];
        let stamped = ["job_1_20250131_235959.log", "job_1234_20250131_235959_2.log"];
        for name in by_gpu.into_iter().chain(stamped) {
            assert!(is_job_log(name), "{name}");
        }
        let by_gpu = ["job1_gpu.log", "joba_gpu0.log", "job001_gpu0.log.2", "job1_gpu0-.log"];
        let stamped =
            ["job_1.log", "job_1_2025_235959.log", "job_1_20250131_235959_.log", "job_x_20250131_235959.log"];
        for name in ["job.log", "jobs.txt", "job_.log"].into_iter().chain(by_gpu).chain(stamped) {
            assert!(!is_job_log(name), "{name}");
        }
    }

    #[test]
    fn logs_of_two_earlier_runs_do_not_replace_each_other() {
        let dir = tempfile::tempdir().unwrap();
        assert!(unused(dir.path(), "a").ends_with("a"));
        fs::write(dir.path().join("a"), "").unwrap();
        assert!(unused(dir.path(), "a").ends_with("a.2"));
        fs::write(dir.path().join("a.2"), "").unwrap();
        assert!(unused(dir.path(), "a").ends_with("a.3"));
    }
}
