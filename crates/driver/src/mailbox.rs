//! What commands ask of the scheduler of a log directory, and its answers: files,
//! so that it works from any host that sees the directory, and so that nothing
//! asked for is lost while no scheduler runs.
//!
//! A request is `requests/new/ID.json`, renamed into place; its answer is
//! `requests/done/ID.json`. The request goes when the answer is there.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use engine::queue::{Ask, Control};
use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::jobsfile::Notice;
use crate::lock::LOCK;
use crate::medium::{PathError, atomic_write};

/// How often to look where the kernel does not tell.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often somebody who waits looks for the answer.
const GLANCE: Duration = Duration::from_millis(20);

/// An answer that nobody has fetched for so long is thrown away.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The scheduler's side.
#[derive(Debug)]
pub struct Mailbox {
    new: PathBuf,
    done: PathBuf,
    notice: Option<Notice>,
    next_look: Instant,
    /// Handed out and not answered yet, and those that can't be removed.
    open: BTreeSet<Box<str>>,
    /// When the scheduler took its log directory, by the clock of the file system.
    since: Option<SystemTime>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub done: bool,
    /// What came of it, in words.
    pub text: String,
}

/// A request that was posted.
#[derive(Debug)]
pub struct Posted {
    id: String,
    dir: PathBuf,
}

impl Mailbox {
    /// The mailbox of a log directory, which must exist.
    ///
    /// # Errors
    /// When its folders can't be made.
    pub fn open(dir: &Path) -> Result<Self, PathError> {
        let (new, done) = folders(dir)?;
        let notice = Notice::new().ok().map(|mut notice| {
            notice.follow_all(&new);
            notice
        });
        throw_away_stale(&done);
        let since = modified(&dir.join(LOCK));
        Ok(Self { new, done, notice, next_look: Instant::now(), open: BTreeSet::new(), since })
    }

    /// What to poll, if there is anything: readable when a look is worth while.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.notice.as_ref().map(Notice::fd)
    }

    /// When to look although nothing is readable.
    pub(crate) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// The requests that have come since the last call, the oldest first.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Control> {
        if let Some(notice) = &mut self.notice {
            notice.take();
        }
        self.next_look = now + LOOK_EVERY;
        let mut ids: Vec<Box<str>> = fs::read_dir(&self.new)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(Box::from))
            .filter(|id| !self.open.contains(id))
            .collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.read(id)).collect()
    }

    fn read(&mut self, id: Box<str>) -> Option<Control> {
        let path = file(&self.new, &id);
        let refusal = match fs::read(&path).map(|bytes| serde_json::from_slice::<Ask>(&bytes)) {
            // Who posted it has taken it back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => PathError::of("read", &path)(error).to_string(),
            Ok(Err(error)) => format!("this is no request: {error}"),
            Ok(Ok(Ask::Stop(_))) if modified(&path) < self.since => {
                "the scheduler that was asked to end has ended".to_owned()
            }
            Ok(Ok(ask)) => {
                self.open.insert(id.clone());
                return Some(Control { id, ask });
            }
        };
        self.open.insert(id.clone());
        self.answer(&id, &Reply { done: false, text: refusal });
        None
    }

    /// Answers a request. Where that can't be written, it is asked again of the
    /// next scheduler, which does no harm.
    pub(crate) fn answer(&mut self, id: &str, reply: &Reply) {
        if write(&file(&self.done, id), reply).is_ok() && fs::remove_file(file(&self.new, id)).is_ok() {
            self.open.remove(id);
        }
    }
}

/// Answers all requests in a log directory whose jobs are to be begun anew, as far
/// as they name jobs: these numbers will be those of others.
pub fn begin_anew(dir: &Path) {
    let Ok(mut mailbox) = Mailbox::open(dir) else { return };
    for Control { id, ask } in mailbox.take(Instant::now()) {
        if let Ask::Cancel(no) | Ask::Retry(no) = ask {
            let text = format!("the queue was begun anew before this was done; job {no} is another now");
            mailbox.answer(&id, &Reply { done: false, text });
        }
    }
}

/// Posts a request to the scheduler of a log directory, which must exist. It is
/// done when one runs there, now or later.
///
/// # Errors
/// When it can't be written.
pub fn post(dir: &Path, ask: &Ask) -> Result<Posted, PathError> {
    let (new, _) = folders(dir)?;
    let id = format!("{:013}-{}", Timestamp::now().as_millisecond(), std::process::id());
    let path = file(&new, &id);
    write(&path, ask)?;
    Ok(Posted { id, dir: dir.to_owned() })
}

impl Posted {
    /// Waits for the answer, but no longer than `patience` and only while
    /// somebody is there to answer.
    pub fn wait(&self, patience: Duration, is_somebody_there: impl Fn() -> bool) -> Option<Reply> {
        let path = file(&self.dir.join("requests").join("done"), &self.id);
        let deadline = Instant::now() + patience;
        loop {
            // In this order: who answers and ends is heard.
            let there = is_somebody_there();
            if let Ok(bytes) = fs::read(&path) {
                let _ = fs::remove_file(&path);
                return serde_json::from_slice(&bytes).ok();
            }
            if !there || Instant::now() >= deadline {
                return None;
            }
            thread::sleep(GLANCE);
        }
    }

    /// Takes the request back; whether it was still there.
    pub fn take_back(&self) -> bool {
        fs::remove_file(file(&self.dir.join("requests").join("new"), &self.id)).is_ok()
    }
}

fn write(path: &Path, message: &impl Serialize) -> Result<(), PathError> {
    let bytes = serde_json::to_vec(message).map_err(|error| PathError::of("write", path)(error.into()))?;
    atomic_write(path, &bytes)
}

/// When a file was written; earlier than any time where that can't be told.
fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn folders(dir: &Path) -> Result<(PathBuf, PathBuf), PathError> {
    let requests = dir.join("requests");
    let make = |name| {
        let path = requests.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(PathError::of("create", &path)).map(|()| path)
    };
    Ok((make("new")?, make("done")?))
}

fn throw_away_stale(done: &Path) {
    for entry in fs::read_dir(done).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|metadata| metadata.modified());
        let age = age.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::queue::Ending;
    use model::{GpuIndex, JobNo};

    use super::*;

    #[test]
    fn a_request_is_handed_out_once_and_answered() {
        let dir = tempfile::tempdir().unwrap();
        let posted = post(dir.path(), &Ask::Pause(GpuIndex(1))).unwrap();
        let mut mailbox = Mailbox::open(dir.path()).unwrap();
        let controls = mailbox.take(Instant::now());
        let [Control { id, ask: Ask::Pause(GpuIndex(1)) }] = controls.as_slice() else {
            panic!("{controls:?}");
        };
        assert_eq!(mailbox.take(Instant::now()), []);
        assert_eq!(posted.wait(Duration::ZERO, || true), None);
        let reply = Reply { done: true, text: "gpu 1 is paused".to_owned() };
        mailbox.answer(id, &reply);
        assert_eq!(posted.wait(Duration::ZERO, || false), Some(reply));
        assert!(!posted.take_back(), "the request has gone with its answer");
    }

    #[test]
    fn what_no_scheduler_has_answered_is_there_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let posted = post(dir.path(), &Ask::Resume(GpuIndex(0))).unwrap();
        for _ in 0..2 {
            assert_eq!(Mailbox::open(dir.path()).unwrap().take(Instant::now()).len(), 1);
        }
        assert!(posted.take_back());
        assert_eq!(Mailbox::open(dir.path()).unwrap().take(Instant::now()), []);
    }

    #[test]
    fn who_asked_an_earlier_scheduler_to_end_does_not_end_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let lock = fs::File::create(dir.path().join(LOCK)).unwrap();
        let early = post(dir.path(), &Ask::Stop(Ending::EndJobs)).unwrap();
        lock.set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
        let mut mailbox = Mailbox::open(dir.path()).unwrap();
        assert_eq!(mailbox.take(Instant::now()), []);
        let reply = early.wait(Duration::ZERO, || true).unwrap();
        assert_eq!(reply.text, "the scheduler that was asked to end has ended");
        lock.set_modified(SystemTime::now() - Duration::from_secs(1)).unwrap();
        post(dir.path(), &Ask::Stop(Ending::EndJobs)).unwrap();
        assert_eq!(Mailbox::open(dir.path()).unwrap().take(Instant::now()).len(), 1);
    }

    #[test]
    fn what_can_not_be_read_is_told_so_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut mailbox = Mailbox::open(dir.path()).unwrap();
        fs::create_dir(mailbox.new.join("x.json")).unwrap();
        assert_eq!(mailbox.take(Instant::now()), []);
        let answer = mailbox.done.join("x.json");
        assert!(fs::read_to_string(&answer).unwrap().contains("cannot read "));
        fs::remove_file(&answer).unwrap();
        assert_eq!(mailbox.take(Instant::now()), []);
        assert!(!answer.exists(), "it can't be removed, and is not answered again and again");
    }

    #[test]
    fn numbers_of_jobs_mean_nothing_in_a_queue_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cancel = post(dir.path(), &Ask::Cancel(JobNo(3))).unwrap();
        thread::sleep(Duration::from_millis(2));
        post(dir.path(), &Ask::Pause(GpuIndex(1))).unwrap();
        begin_anew(dir.path());
        assert!(cancel.wait(Duration::ZERO, || true).is_some_and(|reply| !reply.done));
        let left = Mailbox::open(dir.path()).unwrap().take(Instant::now());
        assert!(matches!(left.as_slice(), [Control { ask: Ask::Pause(GpuIndex(1)), .. }]), "{left:?}");
    }

    #[test]
    fn rubbish_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut mailbox = Mailbox::open(dir.path()).unwrap();
        fs::write(mailbox.new.join("x.json"), "{\"dance\":1}").unwrap();
        fs::write(mailbox.new.join("y.tmp"), "half").unwrap();
        assert_eq!(mailbox.take(Instant::now()), []);
        let reply: Reply = serde_json::from_slice(&fs::read(mailbox.done.join("x.json")).unwrap()).unwrap();
        assert!(!reply.done && reply.text.starts_with("this is no request: "), "{reply:?}");
        assert!(!mailbox.new.join("x.json").exists());
    }
}
