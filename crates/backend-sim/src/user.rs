//! A user at an editor: writes a jobs file and goes on changing it.

use std::sync::Arc;

use engine::queue::{Ask, StateEdit};
use jobspec::JobsFile;
use model::{GpuIndex, JobNo};

use crate::rng::Rng;

/// The jobs file as its owner has saved it last.
#[derive(Debug)]
pub(crate) struct User {
    lines: Vec<String>,
    made: u32,
    rng: Rng,
    largest: u32,
    gpus: u32,
}

impl User {
    pub(crate) fn new(mut rng: Rng, jobs: u32, gpus: u32, largest: u32) -> Self {
        let lines = Vec::new();
        let fork = Rng::new(u64::from(rng.between(0, u32::MAX - 1)), 77);
        let mut user = Self { lines, made: 0, rng: fork, largest, gpus };
        for _ in 0..jobs {
            let line = user.make_line();
            user.lines.push(line);
        }
        user
    }

    pub(crate) fn file(&self) -> Arc<JobsFile> {
        let (file, errors) = jobspec::parse_jobs_file(self.lines.join("\n"));
        assert!(errors.is_empty(), "the user's own lines are good: {errors:?}");
        Arc::new(file)
    }

    fn make_line(&mut self) -> String {
        // Now and then the same command again: another occurrence of it.
        if self.made > 0 && self.rng.chance(0.12) {
            let at = self.rng.between(0, u32::try_from(self.lines.len()).unwrap_or(1).saturating_sub(1));
            if let Some(line) = self.lines.get(at as usize) {
                return line.clone();
            }
        }
        self.made += 1;
        let mut attributes = Vec::new();
        if self.rng.chance(0.8) {
            let vram = self.rng.between(500, self.largest + self.largest / 20);
            attributes.push(format!("vram={vram}"));
        }
        match self.rng.between(0, 9) {
            0 | 1 => {
                let most = self.gpus + u32::from(self.gpus == 1);
                attributes.push(format!("gpus={}", self.rng.between(1, most)));
            }
            2 | 3 => attributes.push(format!("gpus=0.{}", self.rng.between(1, 9))),
            _ => {}
        }
        if self.rng.chance(0.1) {
            attributes.push(format!("on=0,{}", self.rng.between(0, self.gpus)));
        }
        if self.rng.chance(0.15) {
            attributes.push(format!("priority={}", i64::from(self.rng.between(0, 6)) - 3));
        }
        if self.rng.chance(0.2) {
            attributes.push(format!("timeout={}s", self.rng.between(1, 900)));
        }
        if self.rng.chance(0.5) {
            attributes.push(format!("retries={}", self.rng.between(0, 3)));
        }
        if attributes.is_empty() {
            format!("job {}", self.made)
        } else {
            format!("[{}] job {}", attributes.join(" "), self.made)
        }
    }

    /// What somebody writes into the state file, now and then.
    pub(crate) fn edit_state(&mut self) -> Option<StateEdit> {
        if !self.rng.chance(0.25) {
            return None;
        }
        Some(match self.rng.between(0, 4) {
            0 => StateEdit::Removed,
            1 => StateEdit::Unreadable("it is no JSON object".to_owned()),
            _ => StateEdit::Paused((0..=self.gpus).filter(|_| self.rng.chance(0.4)).collect()),
        })
    }

    /// Something that people ask of a queue.
    pub(crate) fn ask(&mut self) -> Ask {
        let no = JobNo(self.rng.between(1, self.made + 1));
        let gpu = u16::try_from(self.rng.between(0, self.gpus)).map(GpuIndex).unwrap_or_default();
        match self.rng.between(0, 4) {
            0 => Ask::Pause(gpu),
            1 => Ask::Resume(gpu),
            2 => Ask::Cancel(no),
            _ => Ask::Retry(no),
        }
    }

    /// One change of the kinds people make. Says which.
    pub(crate) fn edit(&mut self) -> &'static str {
        let count = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let at = self.rng.between(0, count.saturating_sub(1)) as usize;
        match self.rng.between(0, 6) {
            0 | 1 => {
                let line = self.make_line();
                self.lines.push(line);
                "appends a line"
            }
            2 if count > 1 => {
                self.lines.remove(at);
                "deletes a line"
            }
            3 if count > 1 => {
                let line = self.lines.remove(at);
                let to = self.rng.between(0, count - 1) as usize;
                self.lines.insert(to, line);
                "moves a line"
            }
            4 if count > 0 => {
                let line = self.make_line();
                self.lines[at] = line;
                "changes a line in place"
            }
            5 if count > 0 => {
                let line = self.lines[at].clone();
                let command = line.rsplit_once("] ").map_or(line.as_str(), |(_, command)| command);
                self.lines[at] = format!("[cancel] {command}");
                "cancels a line"
            }
            _ => {
                self.lines.reverse();
                "turns the file upside down"
            }
        }
    }
}
