//! Which of some equal lines went.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use jobspec::{Attributes, JobsFile};

use crate::queue::lines::{Entry, LineState};

/// What became of a line of the old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Gone,
    /// Another command stands in its place.
    Replaced,
    /// It stands there in the new file.
    At(usize),
}

/// The old and the new file, with the jobs of the old one.
pub(super) struct Versions<'f> {
    pub(super) old_file: &'f JobsFile,
    pub(super) old: &'f [Entry],
    pub(super) file: &'f JobsFile,
}

impl Versions<'_> {
    /// Of equal commands that stood together, no comparison of texts can tell
    /// which one went. The block before them can; where it is the same as well,
    /// the one that went is taken to be one whose job runs or is over, so that
    /// what waits still runs.
    pub(super) fn keep_waiting(&self, fates: &mut [Fate]) {
        if !fates.contains(&Fate::Gone) {
            return;
        }
        let mut start = 0;
        while start < self.old.len() {
            let equal = (start + 1..self.old.len()).take_while(|line| self.are_equal(start, *line));
            let group = start..start + 1 + equal.count();
            start = group.end;
            if fates[group.clone()].contains(&Fate::Gone) {
                self.settle(group, fates);
            }
        }
    }

    fn are_equal(&self, one: usize, other: usize) -> bool {
        self.old_file.text_hash(one) == self.old_file.text_hash(other)
            && self.old_file.command(one) == self.old_file.command(other)
    }

    fn settle(&self, group: Range<usize>, fates: &mut [Fate]) {
        let mut lines: BTreeMap<Attributes, Vec<usize>> = BTreeMap::new();
        let mut places: BTreeMap<Attributes, Vec<usize>> = BTreeMap::new();
        for line in group.filter(|line| self.old[*line].state != LineState::Held) {
            match fates[line] {
                Fate::Replaced => continue,
                Fate::Gone => {}
                Fate::At(place) => places.entry(*self.file.attributes(place)).or_default().push(place),
            }
            fates[line] = Fate::Gone;
            lines.entry(*self.old_file.attributes(line)).or_default().push(line);
        }
        let mut others = Vec::new();
        for (block, mut same) in lines {
            let Some(here) = places.get_mut(&block) else {
                others.extend(same);
                continue;
            };
            same.sort_by_key(|line| self.waiting_first(*line));
            others.extend(same.split_off(here.len().min(same.len())));
            same.sort_unstable();
            here.sort_unstable();
            for (line, place) in same.iter().zip(here.drain(..same.len())) {
                fates[*line] = Fate::At(place);
            }
        }
        // What is left has a new block. Who writes `cancel` means what runs.
        others.sort_by_key(|line| self.waiting_first(*line));
        let mut others = VecDeque::from(others);
        for place in places.into_values().flatten() {
            let cancel = self.file.attributes(place).cancel;
            if let Some(line) = if cancel { others.pop_back() } else { others.pop_front() } {
                fates[line] = Fate::At(place);
            }
        }
    }

    fn waiting_first(&self, line: usize) -> (bool, usize) {
        (self.old[line].state != LineState::Waiting, line)
    }
}
