//! The state file: what the queue publishes of its GPUs for other programs, and
//! where they may pause GPUs by editing it.
//!
//! The journal is the truth and this a view of it, with the keys that the
//! scheduler of the CSV files wrote: `gpu_status` and `paused_gpus`. What was
//! published last stands in it a second time, under `gpusched`: so whatever
//! differs was written by somebody else, before this process or after.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::queue::{Board, StateEdit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::medium::atomic_write;
use crate::watched::{Content, Watched};

/// An edit that makes no sense is left alone so long, so that who makes it can
/// put it right.
const PATIENCE: Duration = Duration::from_secs(10);

/// What others read and may edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct View {
    /// How much of each GPU is given away, from 0 to 1, by index.
    gpu_status: Vec<f64>,
    /// GPUs that take no new jobs.
    paused_gpus: Vec<u32>,
}

/// The whole file.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    view: &'a View,
    gpusched: Ours<'a>,
}

#[derive(Debug, Serialize)]
struct Ours<'a> {
    pid: u32,
    log_dir: &'a Path,
    updated: String,
    published: &'a View,
}

/// The state file of a queue.
pub struct StateFile {
    file: Watched,
    log_dir: PathBuf,
    /// What is to be published.
    view: Option<View>,
    /// What was published last.
    published: Option<View>,
    /// Since when somebody's edit stands there that makes no sense.
    broken: Option<Instant>,
}

impl StateFile {
    /// The state file at `path` of the scheduler that works in `log_dir`, looked
    /// at after `look_every` where the kernel tells of no change.
    pub fn new(path: PathBuf, log_dir: PathBuf, look_every: Duration) -> Self {
        // A link is not to be replaced by a file: others write where it leads.
        let file =
            Watched::new(path.read_link().and_then(|_| path.canonicalize()).unwrap_or(path), look_every);
        Self { file, log_dir, view: None, published: None, broken: None }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.fd()
    }

    pub(crate) fn next_look(&self) -> Instant {
        let mend = self.broken.map(|since| since + PATIENCE);
        mend.into_iter().chain([self.file.next_look()]).min().unwrap_or_else(Instant::now)
    }

    /// What somebody has written there since the last look.
    pub(crate) fn look(&mut self, now: Instant) -> Option<StateEdit> {
        let content = self.file.look(now);
        let is_news = content.is_some();
        let edit = content.and_then(|content| self.judge(content, now));
        if is_news && edit.is_none() && self.view != self.published {
            // What was held up by somebody who has changed nothing.
            self.write();
        }
        if self.broken.is_some_and(|since| now >= since + PATIENCE) {
            self.broken = None;
            self.write();
        }
        edit
    }

    /// Publishes what the board shows of the GPUs. What somebody has written in
    /// the meantime goes first, and comes back.
    pub(crate) fn publish(&mut self, board: &Board, now: Instant) -> Option<StateEdit> {
        self.view = Some(View::of(board));
        if self.file.has_changed() {
            // Written or being written: taken in when its writer is done with it.
            return self.look(now);
        }
        if self.broken.is_none() && self.view != self.published {
            self.write();
        }
        None
    }

    fn judge(&mut self, content: Content, now: Instant) -> Option<StateEdit> {
        self.broken = None;
        match content {
            Ok(None) => {
                self.published = None;
                Some(StateEdit::Removed)
            }
            Ok(Some(bytes)) => match edited(&bytes, self.published.as_ref()) {
                Ok(None) => None,
                Ok(Some(paused)) => {
                    self.published = None;
                    Some(StateEdit::Paused(paused))
                }
                Err(why) => {
                    self.broken = Some(now);
                    Some(StateEdit::Unreadable(format!("{}: {why}", self.file.path().display())))
                }
            },
            Err(error) => {
                self.broken = Some(now);
                Some(StateEdit::Unreadable(error.to_string()))
            }
        }
    }

    fn write(&mut self) {
        let Some(view) = &self.view else { return };
        let updated = model::Timestamp::now().to_string();
        let ours = Ours { pid: std::process::id(), log_dir: &self.log_dir, updated, published: view };
        let document = Document { view, gpusched: ours };
        let Ok(mut text) = serde_json::to_vec_pretty(&document) else { return };
        text.push(b'\n');
        // As well as can be: on a full disk the old one stays, and the journal
        // tells of it.
        if atomic_write(self.file.path(), &text).is_ok() {
            self.published = Some(view.clone());
            self.file.is_known(&text);
        }
    }
}

impl View {
    fn of(board: &Board) -> Self {
        let gpus = board.gpus.iter().map(|gpu| usize::from(gpu.index.0) + 1).max().unwrap_or(0);
        let mut gpu_status = vec![0.0; gpus];
        for gpu in &board.gpus {
            if let Some(cell) = gpu_status.get_mut(usize::from(gpu.index.0)) {
                *cell = gpu.allocated.get();
            }
        }
        let paused_gpus = board.paused.iter().map(|gpu| u32::from(gpu.0)).collect();
        Self { gpu_status, paused_gpus }
    }
}

/// The GPUs that somebody else's content wants paused; nothing where the content
/// is our own. One that was ours before what was published `last`, with other
/// pauses, was put back by somebody.
fn edited(bytes: &[u8], last: Option<&View>) -> Result<Option<Vec<u32>>, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Value::Object(document) = value else { return Err("it is no JSON object".to_owned()) };
    let published = document.get("gpusched").and_then(|ours| ours.get("published"));
    let published = published.and_then(|view| View::deserialize(view).ok());
    let paused = match document.get("paused_gpus") {
        None => Vec::new(),
        Some(list) => Vec::<u32>::deserialize(list)
            .map_err(|_| "paused_gpus is no list of GPU indices such as [0, 2]".to_owned())?,
    };
    let Some(published) = published else { return Ok(Some(paused)) };
    if document.get("gpu_status") != serde_json::to_value(&published.gpu_status).ok().as_ref() {
        return Err("gpu_status says what is given away, and can't be set".to_owned());
    }
    let last = last.map_or(&published.paused_gpus, |last| &last.paused_gpus);
    Ok((paused != published.paused_gpus || paused != *last).then_some(paused))
}

impl fmt::Debug for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFile").field("path", &self.file.path()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<Option<&[u32]>, &str>) {
        let found = edited(text.as_bytes(), None);
        let found = found.as_ref().map(|edit| edit.as_deref()).map_err(String::as_str);
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn what_is_ours_and_what_is_not() {
        const OURS: &str = r#""gpusched": {"published": {"gpu_status": [0.5, 0.0], "paused_gpus": [1]}}"#;
        let with = |rest: &str| format!("{{{rest}, {OURS}}}");
        check(&with(r#""gpu_status": [0.5, 0.0], "paused_gpus": [1]"#), Ok(None));
        check(&with(r#""gpu_status": [0.5, 0.0], "paused_gpus": []"#), Ok(Some(&[])));
        check(&with(r#""gpu_status": [0.5, 0.0], "paused_gpus": [1, 0]"#), Ok(Some(&[1, 0])));
        check(
            &with(r#""gpu_status": [0.0, 0.0], "paused_gpus": [1]"#),
            Err("gpu_status says what is given away, and can't be set"),
        );
        // As the scheduler of the CSV files wrote it.
        check(r#"{"gpu_status": [1.0, 0.0], "paused_gpus": [0]}"#, Ok(Some(&[0])));
        check("{}", Ok(Some(&[])));
        check("[]", Err("it is no JSON object"));
        check(r#"{"paused_gpus": "all"}"#, Err("paused_gpus is no list of GPU indices such as [0, 2]"));
        assert!(edited(b"{\"paused_gpus\": [1", None).is_err());
        // A copy of an earlier state of ours.
        let copy = with(r#""gpu_status": [0.5, 0.0], "paused_gpus": [1]"#);
        let check_last = |paused: &[u32], expect: Option<Vec<u32>>| {
            let last = View { gpu_status: vec![0.0, 0.0], paused_gpus: paused.to_vec() };
            assert_eq!(edited(copy.as_bytes(), Some(&last)), Ok(expect));
        };
        check_last(&[1], None);
        check_last(&[], Some(vec![1]));
    }

    #[test]
    fn a_link_to_it_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "{}").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let state = StateFile::new(link, dir.path().to_owned(), Duration::from_secs(1));
        assert_eq!(state.file.path(), file.canonicalize().unwrap());
    }
}
