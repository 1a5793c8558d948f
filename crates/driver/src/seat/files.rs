//! The files by which a keeper and a seat speak, in `seats/` in the log
//! directory. Those of one attempt have its name and differ in what follows:
//!
//! - `.order`: what is to be started, until a seat takes it;
//! - `.taken`: the same while the seat reads it;
//! - `.json`: who sits there, and which process leads the job;
//! - `.end.json`: how the job has ended;
//! - `.err`: the last words of screen, tmux or the seat.
//!
//! Whoever moves the order away decides: the seat, to carry it out, or the keeper,
//! to withdraw it. Only one of them can.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::{AttemptId, Exit, JobNo, Pid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::medium::PathError;
use crate::proc::Process;
use crate::seat::SeatKind;
use crate::wire::Text;

/// The directory of these files, in the log directory.
pub(crate) const DIR: &str = "seats";

/// The version of what is in them.
pub(crate) const VERSION: u32 = 1;

/// What is to be started in a session. Not to be printed: it holds secrets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    /// The version of these files.
    pub(crate) version: u32,
    /// The job's number.
    pub(crate) no: JobNo,
    /// What the session is one of.
    pub(crate) kind: SeatKind,
    /// Its name.
    pub(crate) session: String,
    /// The name of the job's log in the log directory.
    pub(crate) log: String,
    /// The job's mask of permissions for new files.
    pub(crate) umask: u32,
    /// Where the job starts.
    pub(crate) cwd: Text,
    /// The program that runs its command, and that program's arguments.
    pub(crate) arguments: Vec<Text>,
    /// Its environment as `NAME=value`, but for what the session adds.
    pub(crate) environment: Vec<Text>,
    /// Its `oom_score_adj`, where it is to have one.
    pub(crate) oom_score: Option<String>,
}

/// A process that can't be taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Being {
    /// Its id.
    pub(crate) pid: Pid,
    /// When it started, in clock ticks since boot.
    pub(crate) start_time: u64,
}

impl Being {
    /// The process that has this id now.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        Process::read(pid).map(|Process { pid, start_time, .. }| Self { pid, start_time })
    }

    /// The process, if it lives.
    pub(crate) fn find(self) -> Option<Process> {
        Process::find(self.pid, self.start_time)
    }

    /// Whether it lives.
    pub(crate) fn is_there(self) -> bool {
        self.find().is_some()
    }
}

/// Who is in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occupant {
    /// The attempt it is for.
    pub(crate) attempt: AttemptId,
    /// The job's number.
    pub(crate) no: JobNo,
    /// What the session is one of.
    pub(crate) kind: SeatKind,
    /// Its name.
    pub(crate) session: String,
    /// The seat.
    pub(crate) seat: Being,
    /// The process of screen, or tmux's server, that holds the session.
    pub(crate) host: Option<Being>,
    /// The process that leads the job, once it has been started.
    pub(crate) job: Option<Being>,
    /// Where tmux's server listens.
    pub(crate) socket: Option<Text>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The job has ended.
    Ended {
        /// How.
        exit: Exit,
        /// How long it ran, in milliseconds.
        elapsed_ms: i64,
    },
    /// It could not be started; the system's words.
    Failed(String),
}

/// The files of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    dir: PathBuf,
    stem: String,
}

/// All that an attempt can have.
const ENDINGS: [&str; 5] = ["order", "taken", "json", "end.json", "err"];

impl Files {
    /// Those of an attempt, in a log directory.
    pub(crate) fn new(log_dir: &Path, attempt: AttemptId) -> Self {
        let stem = attempt.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        Self { dir: log_dir.join(DIR), stem }
    }

    /// Whether these [names](stems) have theirs among them.
    pub(crate) fn are_among(&self, stems: &BTreeSet<String>) -> bool {
        stems.contains(&self.stem)
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", self.stem))
    }

    /// Writes an order. Whatever lay there before, of an attempt of the same name
    /// in a queue that was begun anew, is gone then.
    pub(crate) fn place(&self, order: &Order) -> Result<(), PathError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(PathError::of("create", &self.dir))?;
        self.clear()?;
        self.write("order", order)
    }

    /// A file for the last words of whoever is started.
    pub(crate) fn words(&self) -> Result<File, PathError> {
        let path = self.path("err");
        let options = OpenOptions::new().append(true).create(true).mode(0o600).clone();
        options.open(&path).map_err(PathError::of("open", &path))
    }

    /// The last line that says anything.
    pub(crate) fn last_words(&self) -> Option<String> {
        let words = fs::read(self.path("err")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Whether the order still waits for somebody to take it.
    pub(crate) fn is_open(&self) -> bool {
        self.path("order").symlink_metadata().is_ok()
    }

    /// Withdraws the order. `false`: it was taken before.
    pub(crate) fn withdraw(&self) -> io::Result<bool> {
        match fs::remove_file(self.path("order")) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads the order, without taking it.
    pub(crate) fn order(&self) -> io::Result<Order> {
        let order: Order = serde_json::from_slice(&fs::read(self.path("order"))?)?;
        if order.version != VERSION {
            return Err(io::Error::other("the order is of another version of this program"));
        }
        Ok(order)
    }

    /// Takes the order, which then is nobody else's any more.
    pub(crate) fn take(&self) -> io::Result<()> {
        fs::rename(self.path("order"), self.path("taken"))?;
        // There are secrets in it.
        let _ = fs::remove_file(self.path("taken"));
        Ok(())
    }

    /// Writes who is in the session.
    pub(crate) fn check_in(&self, occupant: &Occupant) -> Result<(), PathError> {
        self.write("json", occupant)
    }

    /// Who is or was in the session.
    pub(crate) fn occupant(&self) -> Option<Occupant> {
        read(&self.path("json"))
    }

    /// Writes how it ended.
    pub(crate) fn finish(&self, end: &End) -> Result<(), PathError> {
        self.write("end.json", end)
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        read(&self.path("end.json"))
    }

    /// Whether these files can't be written any more because their directory is
    /// gone.
    pub(crate) fn are_gone(&self) -> bool {
        self.dir.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// Removes all of them.
    pub(crate) fn clear(&self) -> Result<(), PathError> {
        for ending in ENDINGS {
            let path = self.path(ending);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(PathError::of("remove", &path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Writes a file that is whole at every moment, for nobody but us.
    fn write(&self, ending: &str, content: &impl Serialize) -> Result<(), PathError> {
        let path = self.path(ending);
        let new = self.dir.join(format!("{}.{ending}.new", self.stem));
        let write = || {
            let text = serde_json::to_vec(content)?;
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            fs::rename(&new, &path)
        };
        write().map_err(PathError::of("write", &path))
    }
}

/// Everybody who checked in in a log directory and was not cleared away.
pub(crate) fn occupants(log_dir: &Path) -> Vec<Occupant> {
    let entries = fs::read_dir(log_dir.join(DIR)).into_iter().flatten().flatten();
    let json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    entries.map(|entry| entry.path()).filter(json).filter_map(|path| read(&path)).collect()
}

/// The names of all attempts that have files in a log directory.
pub(crate) fn stems(log_dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(log_dir.join(DIR)).into_iter().flatten().flatten();
    let stem = |entry: fs::DirEntry| Some(entry.file_name().to_str()?.split_once('.')?.0.to_owned());
    entries.filter_map(stem).collect()
}

/// Removes all files of all attempts in a log directory. An order among them is
/// withdrawn by that.
pub(crate) fn clear(log_dir: &Path) -> Result<(), PathError> {
    let dir = log_dir.join(DIR);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(PathError::of("remove", &dir)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A file's content, if it is there, whole, and what it is taken for.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn order() -> Order {
        Order {
            version: VERSION,
            no: JobNo(4),
            kind: SeatKind::Screen,
            session: "s".to_owned(),
            log: "l".to_owned(),
            umask: 0o22,
            cwd: Text::Utf8("/".to_owned()),
            arguments: Vec::new(),
            environment: Vec::new(),
            oom_score: None,
        }
    }

    fn files(dir: &Path) -> Files {
        Files::new(dir, "3f9a1c20b7de#0/2".parse().unwrap())
    }

    #[test]
    fn an_order_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        files.place(&order()).unwrap();
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(files.path("order")), mode(dir.path().join(DIR))), (0o600, 0o700));
        assert!(files.is_open());
        files.take().unwrap();
        assert!(!files.is_open() && files.take().is_err());
        assert!(!files.withdraw().unwrap());
        files.place(&order()).unwrap();
        assert!(files.withdraw().unwrap());
        assert!(files.take().is_err());
    }

    #[test]
    fn a_new_order_makes_all_that_was_before_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        files.place(&order()).unwrap();
        let end = End::Ended { exit: Exit::Code(3), elapsed_ms: 5 };
        files.finish(&end).unwrap();
        assert_eq!(files.end(), Some(end));
        files.place(&order()).unwrap();
        assert_eq!(files.end(), None);
        assert!(files.is_open());
    }

    #[test]
    fn half_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        files.place(&order()).unwrap();
        fs::write(files.path("end.json"), "{\"ended\":{\"exit\"").unwrap();
        assert_eq!(files.end(), None);
        assert_eq!(files.occupant(), None);
    }
}
