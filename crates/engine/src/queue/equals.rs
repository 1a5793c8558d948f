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
        let mut lines: BTreeMap<&Attributes, Vec<usize>> = BTreeMap::new();
        let mut places: BTreeMap<&Attributes, Vec<usize>> = BTreeMap::new();
        for line in group.filter(|line| self.old[*line].state != LineState::Held) {
            match fates[line] {
                Fate::Replaced => continue,
                Fate::Gone => {}
                Fate::At(place) => places.entry(self.file.attributes(place)).or_default().push(place),
            }
            fates[line] = Fate::Gone;
            lines.entry(self.old_file.attributes(line)).or_default().push(line);
        }
        let mut others = Vec::new();
        for (block, mut same) in lines {
            let Some(here) = places.get_mut(block) else {
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

#[cfg(test)]
mod tests {
    use model::JobNo;

    use super::*;

    /// The states of the jobs of `old` (`w`aiting, `r`unning, `d`one), what the
    /// comparison of texts says of each, and what is made of it: the place in
    /// `new`, `-` for gone, `x` for replaced.
    #[track_caller]
    fn check(old: &str, states: &str, new: &str, compared: &str, expect: &str) {
        let parse = |text: &str| jobspec::parse_jobs_file(text.replace(" / ", "\n")).0;
        let (old_file, file) = (parse(old), parse(new));
        let entry = |letter| Entry {
            no: JobNo(1),
            occurrence: 0,
            state: match letter {
                'w' => LineState::Waiting,
                'r' => LineState::Running,
                _ => LineState::Done,
            },
            journalled: true,
        };
        let old: Vec<Entry> = states.chars().map(entry).collect();
        let fate = |letter: char| match letter {
            '-' => Fate::Gone,
            'x' => Fate::Replaced,
            place => Fate::At(place.to_digit(10).unwrap() as usize),
        };
        let [mut fates, expect]: [Vec<Fate>; 2] =
            [compared, expect].map(|text| text.chars().map(fate).collect());
        Versions { old_file: &old_file, old: &old, file: &file }.keep_waiting(&mut fates);
        assert_eq!(fates, expect);
    }

    #[test]
    fn what_waits_stays() {
        check("a / a", "rw", "a", "0-", "-0");
        check("a / a / b", "dww", "a / b", "0-1", "-01");
        check("a / a / a / a", "rwdw", "a / a", "01--", "-0-1");
        check("a / a / a", "drw", "a / a", "01-", "0-1");
    }

    #[test]
    fn the_order_stays() {
        check("a / a / a", "rww", "a / a", "01-", "-01");
        check("a / a", "ww", "a", "0-", "0-");
        check("a / a", "rd", "a", "0-", "0-");
    }

    #[test]
    fn the_block_tells_them_apart() {
        check("[vram=1G] a / [vram=2G] a", "rw", "[vram=1G] a", "0-", "0-");
        check("[vram=1G] a / [vram=2G] a", "wr", "[vram=2G] a", "0-", "-0");
        check("[vram=1G] a / a", "rw", "[vram=3G] a", "0-", "-0");
        check("a / a", "rw", "[cancel] a", "0-", "0-");
    }

    #[test]
    fn lines_that_stand_apart_or_were_rewritten_are_as_compared() {
        check("a / b / a", "rww", "a / b", "01-", "01-");
        check("a / a", "rw", "a / c", "0x", "0x");
        check("a / a", "rw", "a / a", "01", "01");
    }
}
