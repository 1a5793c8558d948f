//! What commands ask of the scheduler of a log directory, and its answers: files,
//! so that it works from any host that sees the directory, and so that nothing
//! asked for is lost while no scheduler runs.
//!
//! A request is `requests/new/ID.json`, renamed into place; its answer is
//! `requests/done/ID.json`. The request goes when the answer is there.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use engine::queue::{Ask, Control};
use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::jobsfile::Notice;
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
    /// Handed out and not answered yet.
    open: BTreeSet<Box<str>>,
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
        Ok(Self { new, done, notice, next_look: Instant::now(), open: BTreeSet::new() })
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
        let bytes = fs::read(file(&self.new, &id)).ok()?;
        match serde_json::from_slice::<Ask>(&bytes) {
            Ok(ask) => {
                self.open.insert(id.clone());
                Some(Control { id, ask })
            }
            Err(error) => {
                self.answer(&id, &Reply { done: false, text: format!("this is no request: {error}") });
                None
            }
        }
    }

    /// Answers a request. Where that can't be written, it is asked again of the
    /// next scheduler, which does no harm.
    pub(crate) fn answer(&mut self, id: &str, reply: &Reply) {
        if write(&file(&self.done, id), reply).is_ok() {
            // One that stays is answered once more.
            let _ = fs::remove_file(file(&self.new, id));
            self.open.remove(id);
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
    use model::GpuIndex;

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
