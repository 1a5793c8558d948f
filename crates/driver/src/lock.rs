//! One scheduler per log directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{Pid, SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::medium::PathError;
use crate::proc::Process;

/// The lock file, in its directory.
pub(crate) const LOCK: &str = "lock";

/// The right to schedule from a directory, held until it is dropped or the
/// process ends in whatever way.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Who holds the right: the content of the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The scheduler.
    pub pid: Pid,
    /// The host it runs on.
    pub host: String,
    /// When it took the lock.
    pub since: Timestamp,
}

/// The right was not given.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("another gpusched{} works in {}", described(holder.as_ref()), dir.display())]
    Held {
        /// The directory.
        dir: PathBuf,
        /// Who, as far as the lock file tells.
        holder: Option<Holder>,
    },
    /// The lock file can't be used.
    #[error(transparent)]
    File(#[from] PathError),
}

impl DirLock {
    /// Takes the right to schedule from `dir`, which must exist.
    ///
    /// # Errors
    /// When another scheduler has it, or the file `lock` can't be used.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(PathError::of("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { dir: dir.to_owned(), holder: holder_in(file) });
            }
            Err(TryLockError::Error(error)) => return Err(PathError::of("lock", &path)(error).into()),
        }
        sign(&mut file).map_err(PathError::of("write", &path))?;
        Ok(Self { _file: file })
    }
}

/// The scheduler that works in `dir`, as far as its lock file tells, if it lives.
/// One on another host is believed to.
pub fn holder(dir: &Path) -> Option<Holder> {
    let holder = holder_in(File::open(dir.join(LOCK)).ok()?)?;
    if holder.host != host_name() {
        return Some(holder);
    }
    let process = Process::read(holder.pid).filter(Process::is_alive)?;
    // Its pid may be another's by now, which is younger than the lock.
    let age = Process::age(process.start_time)?;
    (age >= Timestamp::now().duration_since(holder.since) - SLACK).then_some(holder)
}

/// Clocks of processes tick coarsely.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// Writes down who we are, for the one who comes second.
fn sign(file: &mut File) -> io::Result<()> {
    let holder = Holder { pid: Pid(std::process::id()), host: host_name(), since: Timestamp::now() };
    let mut line = serde_json::to_vec(&holder)?;
    line.push(b'\n');
    file.set_len(0)?;
    file.write_all(&line)
}

fn holder_in(mut file: File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn described(holder: Option<&Holder>) -> String {
    let Some(Holder { pid, host, since }) = holder else { return String::new() };
    let place = if *host == host_name() { String::new() } else { format!(" on {host}") };
    format!(" (pid {pid}{place}, since {})", since.strftime("%Y-%m-%d %H:%M UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        let text = DirLock::take(dir.path()).unwrap_err().to_string();
        let start = format!("another gpusched (pid {}, since 20", std::process::id());
        let end = format!(" UTC) works in {}", dir.path().display());
        assert!(text.starts_with(&start) && text.ends_with(&end), "{text}");
        assert_eq!(holder(dir.path()).map(|holder| holder.pid), Some(Pid(std::process::id())));
        drop(first);
        DirLock::take(dir.path()).unwrap();
        let old = Holder { pid: Pid(1), host: host_name(), since: Timestamp::UNIX_EPOCH };
        std::fs::write(dir.path().join("lock"), serde_json::to_string(&old).unwrap()).unwrap();
        assert_eq!(holder(dir.path()), None, "process 1 has not run since 1970");
    }

    #[test]
    fn a_holder_elsewhere_and_one_that_can_not_be_told() {
        let since = "2026-11-20T09:30:14Z".parse().unwrap();
        let holder = Holder { pid: Pid(123), host: "another-node".into(), since };
        assert_eq!(described(Some(&holder)), " (pid 123 on another-node, since 2026-11-20 09:30 UTC)");
        let dir = tempdir().unwrap();
        let _first = DirLock::take(dir.path()).unwrap();
        std::fs::write(dir.path().join("lock"), "{").unwrap();
        let text = DirLock::take(dir.path()).unwrap_err().to_string();
        assert_eq!(text, format!("another gpusched works in {}", dir.path().display()));
    }

    #[test]
    fn a_directory_that_is_not_there() {
        let error = DirLock::take(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.to_string(), "cannot open /nowhere/at/all/lock: No such file or directory");
    }
}
