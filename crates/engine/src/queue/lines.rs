//! The jobs file as the queue sees it: which job each line is, and which lines
//! wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allocation::Request;
use jobspec::{JobsFile, Origin};
use model::{JobKey, JobNo, Timestamp};

use crate::queue::Status;
use crate::queue::deferrals::{Deferral, Deferrals};
use crate::queue::durable::{Durable, Phase};
use crate::queue::equals::{Fate, Versions};
use crate::queue::waiting::{Rank, Waiting};

/// The lines of the jobs file, each with the job it is.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) file: Arc<JobsFile>,
    entries: Vec<Entry>,
    pub(super) waiting: Waiting,
    pub(super) deferred: Deferrals,
    last_no: u32,
    retry_failed: bool,
    /// Every line before this one is journalled.
    seen_to: usize,
}

/// The job a line is. The command is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number; 0 where it has none because the line is held.
    pub(super) no: JobNo,
    /// Which of the equal commands it is.
    pub(super) occurrence: u32,
    pub(super) state: LineState,
    /// Whether the journal knows its number.
    pub(super) journalled: bool,
}

/// Where the job of a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineState {
    Waiting,
    Running,
    Done,
    /// It stands where the line of a running or finished job stood, and is not
    /// started.
    Held,
}

/// What a new version of the file brought, besides the lines themselves.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Where each old line stands now, for those that are still there.
    pub(super) moved: BTreeMap<u32, u32>,
    /// Lines that are held from now on, and the old line each replaced.
    pub(super) held: Vec<Held>,
    /// Jobs whose line went while an equal one stayed.
    pub(super) left: Vec<JobKey>,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) line: usize,
    pub(super) job: JobNo,
    pub(super) running: bool,
}

impl Lines {
    pub(super) fn new(last_no: u32, retry_failed: bool) -> Self {
        Self {
            file: Arc::new(JobsFile::empty()),
            entries: Vec::new(),
            waiting: Waiting::default(),
            deferred: Deferrals::default(),
            last_no,
            retry_failed,
            seen_to: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, line: usize) -> Entry {
        self.entries[line]
    }

    pub(super) fn set_state(&mut self, line: usize, state: LineState) {
        self.entries[line].state = state;
    }

    /// The line's job. Costs a SHA-1.
    pub(super) fn key(&self, line: usize) -> JobKey {
        JobKey::new(self.file.digest(line), self.entries[line].occurrence)
    }

    /// Takes in a new version of the file. `live` are the old lines whose jobs
    /// run.
    pub(super) fn replace(
        &mut self,
        file: &Arc<JobsFile>,
        durable: &Durable,
        live: &BTreeSet<u32>,
    ) -> Changes {
        let old_file = std::mem::replace(&mut self.file, Arc::clone(file));
        let old = std::mem::take(&mut self.entries);
        let alignment = jobspec::align(&old_file, file);
        let mut changes = Changes::default();
        let mut entries: Vec<Option<Entry>> = vec![None; file.len()];
        let mut fates = vec![Fate::Gone; old.len()];
        for (line, entry) in entries.iter_mut().enumerate() {
            match alignment.origin(line) {
                // Moving a held line is how its owner says that it shall run.
                Origin::Moved(from) if old[from].state == LineState::Held => {}
                Origin::Kept(from) | Origin::Moved(from) => fates[from] = Fate::At(line),
                Origin::Replaces(from) => {
                    fates[from] = Fate::Replaced;
                    *entry = hold(&mut changes, old[from], line);
                }
                Origin::Added => {}
            }
        }
        Versions { old_file: &old_file, old: &old, file }.keep_waiting(&mut fates);
        for (from, fate) in fates.iter().enumerate() {
            if let Fate::At(line) = *fate {
                note_move(&mut changes, live, from, line);
                entries[line] = Some(old[from]);
            }
        }
        let mut occurrences = Occurrences::of(file, &entries);
        for (line, entry) in entries.iter_mut().enumerate() {
            let held = entry.is_some_and(|entry| entry.state == LineState::Held);
            if entry.is_none() || (held && is_known(file, line, durable)) {
                *entry = Some(self.identify(file, line, durable, &mut occurrences));
            }
        }
        self.entries = entries.into_iter().flatten().collect();
        changes.held.retain(|held| self.entries[held.line].state == LineState::Held);
        changes.left = left_behind(&old_file, &old, &fates, file, durable);
        self.seen_to = 0;
        changes
    }

    fn identify(
        &mut self,
        file: &JobsFile,
        line: usize,
        durable: &Durable,
        occurrences: &mut Occurrences,
    ) -> Entry {
        let occurrence = occurrences.take_free(file, line, durable);
        // While the journal is empty no SHA-1 is needed.
        let known =
            (!durable.is_empty()).then(|| durable.job(JobKey::new(file.digest(line), occurrence))).flatten();
        let Some(job) = known else {
            self.last_no += 1;
            let no = JobNo(self.last_no);
            return Entry { no, occurrence, state: LineState::Waiting, journalled: false };
        };
        let state = match &job.phase {
            Phase::Running(_) => LineState::Running,
            // What could not run then may run now: it was never started.
            Phase::Waiting | Phase::Done { status: Status::Infeasible, .. } => LineState::Waiting,
            Phase::Done { status, .. } if self.retry_failed && status.is_failure() => LineState::Waiting,
            Phase::Done { .. } => LineState::Done,
        };
        Entry { no: job.no, occurrence, state, journalled: true }
    }

    /// Lines whose numbers the journal does not know yet, at most `limit`.
    pub(super) fn take_unjournalled(&mut self, limit: usize) -> Vec<usize> {
        let mut lines = Vec::new();
        while self.seen_to < self.entries.len() && lines.len() < limit {
            let entry = &mut self.entries[self.seen_to];
            if !entry.journalled && entry.state == LineState::Waiting {
                entry.journalled = true;
                lines.push(self.seen_to);
            }
            self.seen_to += 1;
        }
        lines
    }

    /// Whether there may be lines whose numbers the journal does not know yet.
    pub(super) fn has_unjournalled(&self) -> bool {
        self.seen_to < self.entries.len()
    }

    /// Makes the list of waiting lines anew; `request` tells what each needs.
    pub(super) fn rebuild_waiting(&mut self, request: impl Fn(&Self, usize) -> Request) {
        let waits = |entry: &Entry| entry.state == LineState::Waiting;
        let still = self.entries.iter().zip(0..).filter(|(entry, _)| waits(entry));
        self.deferred.follow(still.map(|(entry, line)| (entry.no, line)));
        let here = |line: &usize| {
            let entry = self.entries[*line];
            waits(&entry) && !self.deferred.contains(entry.no)
        };
        let lines = (0..self.entries.len()).filter(here);
        self.waiting = Waiting::from_lines(lines.map(|line| (request(self, line), self.rank(line))));
    }

    /// The turn of a line.
    pub(super) fn rank(&self, line: usize) -> Rank {
        Rank { priority: self.file.attributes(line).priority, line: index(line) }
    }

    /// Whether a line waits, now or for a later time.
    pub(super) fn any_left(&self) -> bool {
        !self.waiting.is_empty() || !self.deferred.is_empty()
    }

    /// Takes one line off the list.
    pub(super) fn take_waiting(&mut self, request: &Request, line: usize) {
        self.waiting.remove(request, self.rank(line));
        self.deferred.remove(self.entries[line].no);
    }

    /// Puts a line back among the waiting ones, in its place.
    pub(super) fn push_waiting(&mut self, request: Request, line: usize) {
        self.waiting.insert(request, self.rank(line));
        self.entries[line].state = LineState::Waiting;
    }

    /// Has a line wait until a later time.
    pub(super) fn defer(&mut self, line: usize, until: Timestamp, why: String) {
        self.deferred.insert(self.entries[line].no, Deferral { until, why, line });
        self.entries[line].state = LineState::Waiting;
    }

    /// The line of a job.
    pub(super) fn find(&self, no: JobNo) -> Option<usize> {
        self.entries.iter().position(|entry| entry.no == no && entry.state != LineState::Held)
    }

    /// What a job is called where there is room for a line: its name, if it has
    /// one, and its command.
    pub(super) fn title(&self, line: usize) -> String {
        let command = self.file.command(line);
        match &self.file.attributes(line).name {
            Some(name) => format!("{name}: {command}"),
            None => command.to_owned(),
        }
    }

    /// Notes that the journal knows the line's number.
    pub(super) fn set_journalled(&mut self, line: usize) {
        self.entries[line].journalled = true;
    }
}

/// A file of over four billion lines does not get here.
pub(super) fn index(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

fn note_move(changes: &mut Changes, live: &BTreeSet<u32>, from: usize, line: usize) {
    if live.contains(&index(from)) {
        changes.moved.insert(index(from), index(line));
    }
}

/// A line that stands where a running or finished job's line stood is held.
fn hold(changes: &mut Changes, replaced: Entry, line: usize) -> Option<Entry> {
    let running = match replaced.state {
        LineState::Waiting => return None,
        LineState::Held => return Some(replaced),
        LineState::Running => true,
        LineState::Done => false,
    };
    changes.held.push(Held { line, job: replaced.no, running });
    Some(Entry { no: JobNo(0), occurrence: 0, state: LineState::Held, journalled: true })
}

/// Whether a held line has gone back to the text of a job we know.
fn is_known(file: &JobsFile, line: usize, durable: &Durable) -> bool {
    durable.job(JobKey::new(file.digest(line), 0)).is_some()
}

/// Known jobs whose line is gone while a line of the same text is still there.
fn left_behind(
    old_file: &JobsFile,
    old: &[Entry],
    fates: &[Fate],
    file: &JobsFile,
    durable: &Durable,
) -> Vec<JobKey> {
    let has_gone = |line: &usize| !matches!(fates[*line], Fate::At(_)) && old[*line].state != LineState::Held;
    let gone: Vec<usize> = (0..old.len()).filter(has_gone).collect();
    if gone.is_empty() || durable.is_empty() {
        return Vec::new();
    }
    let texts: BTreeSet<u64> = gone.iter().map(|line| old_file.text_hash(*line)).collect();
    let still: BTreeSet<u64> =
        (0..file.len()).map(|line| file.text_hash(line)).filter(|hash| texts.contains(hash)).collect();
    gone.into_iter()
        .filter(|line| still.contains(&old_file.text_hash(*line)))
        .map(|line| JobKey::new(old_file.digest(line), old[line].occurrence))
        .filter(|key| durable.job(*key).is_some())
        .collect()
}

/// Which occurrences of each repeated text are taken.
struct Occurrences {
    taken: BTreeMap<u64, BTreeSet<u32>>,
}

impl Occurrences {
    /// Those of the lines that have their identity already.
    fn of(file: &JobsFile, entries: &[Option<Entry>]) -> Self {
        let mut taken: BTreeMap<u64, BTreeSet<u32>> = (0..file.len())
            .filter(|line| file.occurrence(*line) > 0)
            .map(|line| (file.text_hash(line), BTreeSet::new()))
            .collect();
        if !taken.is_empty() {
            for (line, entry) in entries.iter().enumerate() {
                if let (Some(entry), Some(set)) = (entry, taken.get_mut(&file.text_hash(line)))
                    && entry.state != LineState::Held
                {
                    set.insert(entry.occurrence);
                }
            }
        }
        Self { taken }
    }

    /// Takes the lowest free occurrence of the line's text. One whose line went
    /// comes last of those we know, but before a new one: a line that comes back
    /// is the job it was.
    fn take_free(&mut self, file: &JobsFile, line: usize, durable: &Durable) -> u32 {
        let taken = self.taken.get_mut(&file.text_hash(line));
        let digest = durable.any_left().then(|| file.digest(line));
        let key = |occurrence| digest.map(|digest| JobKey::new(digest, occurrence));
        let has_left = |occurrence| key(occurrence).is_some_and(|key| durable.has_left(key));
        let is_free = |occurrence: &u32| taken.as_ref().is_none_or(|taken| !taken.contains(occurrence));
        let mut free = (0..u32::MAX).filter(is_free);
        let unused = free.find(|occurrence| !has_left(*occurrence)).unwrap_or(u32::MAX);
        let is_new = key(unused).is_some_and(|key| durable.job(key).is_none());
        let back = (0..unused).find(|occurrence| is_new && is_free(occurrence));
        let occurrence = back.unwrap_or(unused);
        if let Some(taken) = taken {
            taken.insert(occurrence);
        }
        occurrence
    }
}
