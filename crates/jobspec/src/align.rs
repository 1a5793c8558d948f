//! Which line of a new version of a jobs file is which line of the old one.
//!
//! What has not changed at the start and at the end is matched first. Between,
//! the lines that kept their order are found: by a longest common subsequence
//! where that is cheap, so that of several equal lines the one that really went
//! is the one that goes; otherwise by the lines that are there just once, and
//! then by counting equal lines. Lines left over are matched with equal ones
//! wherever these stand, and what then still has no partner is a line that was
//! rewritten, added or removed.

use std::ops::Range;

use crate::JobsFile;
use crate::sequence::{longest_ascending, longest_common};

/// Two versions of a jobs file, compared. Takes room only for what lies between
/// their common start and their common end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignment {
    /// Jobs that are the same from the start on.
    prefix: usize,
    /// The jobs of the new file after those.
    middle: Vec<Origin>,
    /// The first old job of the common end.
    old_tail: usize,
    /// One past the last job of the new file.
    len: usize,
}

/// Where a job of the new file was in the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was this job of the old file, and it has kept its place among the
    /// others. It goes by the same.
    Kept(usize),
    /// It was this job of the old file, and others have passed it. It goes by
    /// the same.
    Moved(usize),
    /// It stands where this job of the old file stood, which is gone. It goes by
    /// something else.
    Replaces(usize),
    /// It is new.
    Added,
}

/// Compares two versions of a jobs file. No old job is the origin of two.
pub fn align(old: &JobsFile, new: &JobsFile) -> Alignment {
    align_within(old, new, MOST_CELLS)
}

fn align_within(old: &JobsFile, new: &JobsFile, cells: usize) -> Alignment {
    let (prefix, suffix) = common_ends(old, 0..old.len(), new, 0..new.len());
    let (old_tail, new_tail) = (old.len() - suffix, new.len() - suffix);
    let mut matcher = Matcher { old, new, cells, kept: Pairs::new() };
    matcher.region(prefix..old_tail, prefix..new_tail, Coarse::AroundUnique);
    let middle = settle(old, prefix..old_tail, new, prefix..new_tail, &matcher.kept);
    Alignment { prefix, middle, old_tail, len: new.len() }
}

impl Alignment {
    /// Where a job of the new file was in the old one.
    ///
    /// # Panics
    /// When the new file has no job of this index.
    pub fn origin(&self, new_index: usize) -> Origin {
        assert!(new_index < self.len, "job {new_index} of {}", self.len);
        match new_index.checked_sub(self.prefix) {
            None => Origin::Kept(new_index),
            Some(at) => match self.middle.get(at) {
                Some(origin) => *origin,
                None => Origin::Kept(self.old_tail + at - self.middle.len()),
            },
        }
    }
}

/// Pairs of lines of the old file and the new, by index.
type Pairs = Vec<(usize, usize)>;

/// How many pairs of lines the exact method may look at in all: some
/// milliseconds' worth.
const MOST_CELLS: usize = 1_000_000;

/// What to do with a stretch that is too large for the exact method.
#[derive(Debug, Clone, Copy)]
enum Coarse {
    /// Take the lines that are there once in both files as fixed, and match
    /// what lies between them.
    AroundUnique,
    /// Match the first of some equal lines with the first, the second with the
    /// second and so on, and keep those that are in order.
    ByCounting,
}

/// Finds the jobs that kept their order.
struct Matcher<'f> {
    old: &'f JobsFile,
    new: &'f JobsFile,
    /// How many pairs of lines the exact method may still look at.
    cells: usize,
    /// Found so far, ascending on both sides.
    kept: Pairs,
}

impl Matcher<'_> {
    fn region(&mut self, old: Range<usize>, new: Range<usize>, coarse: Coarse) {
        let (prefix, suffix) = common_ends(self.old, old.clone(), self.new, new.clone());
        let inner_old = old.start + prefix..old.end - suffix;
        let inner_new = new.start + prefix..new.end - suffix;
        self.kept.extend((old.start..inner_old.start).zip(new.start..inner_new.start));
        let tails = (inner_old.end..old.end).zip(inner_new.end..new.end);
        let cells = inner_old.len().saturating_mul(inner_new.len());
        if let Some(left) = self.cells.checked_sub(cells) {
            self.cells = left;
            self.exactly(inner_old, inner_new);
        } else {
            match coarse {
                Coarse::AroundUnique => self.around_unique(inner_old, inner_new),
                Coarse::ByCounting => self.by_counting(inner_old, inner_new),
            }
        }
        self.kept.extend(tails);
    }

    fn exactly(&mut self, old: Range<usize>, new: Range<usize>) {
        if old.is_empty() || new.is_empty() {
            return;
        }
        let same = |o, n| self.old.is_same(old.start + o, self.new, new.start + n);
        let pairs = longest_common(old.len(), new.len(), same);
        self.kept.extend(pairs.into_iter().map(|(o, n)| (old.start + o, new.start + n)));
    }

    fn around_unique(&mut self, old: Range<usize>, new: Range<usize>) {
        let unique = equal_jobs(self.old, old.clone(), self.new, new.clone(), Equal::OnlyOnes);
        let (mut next_old, mut next_new) = (old.start, new.start);
        for (o, n) in longest_ascending(&unique) {
            self.region(next_old..o, next_new..n, Coarse::ByCounting);
            self.kept.push((o, n));
            (next_old, next_new) = (o + 1, n + 1);
        }
        self.region(next_old..old.end, next_new..new.end, Coarse::ByCounting);
    }

    fn by_counting(&mut self, old: Range<usize>, new: Range<usize>) {
        let pairs = equal_jobs(self.old, old, self.new, new, Equal::InOrder);
        self.kept.extend(longest_ascending(&pairs));
    }
}

/// How many jobs of these two stretches are the same from the start on, and how
/// many of the others from the end on.
fn common_ends(
    old: &JobsFile,
    old_range: Range<usize>,
    new: &JobsFile,
    new_range: Range<usize>,
) -> (usize, usize) {
    let same = |(o, n): &(usize, usize)| old.is_same(*o, new, *n);
    let prefix = old_range.clone().zip(new_range.clone()).take_while(same).count();
    let (old_rest, new_rest) =
        (old_range.start + prefix..old_range.end, new_range.start + prefix..new_range.end);
    let suffix = old_rest.rev().zip(new_rest.rev()).take_while(same).count();
    (prefix, suffix)
}

/// What became of the old jobs of the middle, given those that kept their order.
fn settle(
    old: &JobsFile,
    old_range: Range<usize>,
    new: &JobsFile,
    new_range: Range<usize>,
    kept: &[(usize, usize)],
) -> Vec<Origin> {
    let mut origins = vec![Origin::Added; new_range.len()];
    let mut stayed = vec![false; old_range.len()];
    for (o, n) in kept {
        stayed[o - old_range.start] = true;
        origins[n - new_range.start] = Origin::Kept(*o);
    }
    let gone = old_range.clone().filter(|o| !stayed[o - old_range.start]);
    let come = new_range.clone().filter(|n| origins[n - new_range.start] == Origin::Added);
    for (o, n) in equal_jobs(old, gone, new, come, Equal::InOrder) {
        stayed[o - old_range.start] = true;
        origins[n - new_range.start] = Origin::Moved(o);
    }
    // In each gap between two that kept their order, what came stands where
    // what went stood.
    let (mut next_old, mut next_new) = (old_range.start, new_range.start);
    for (o, n) in kept.iter().copied().chain([(old_range.end, new_range.end)]) {
        let mut gone = (next_old..o).filter(|o| !stayed[o - old_range.start]);
        for origin in &mut origins[next_new - new_range.start..n - new_range.start] {
            if *origin == Origin::Added
                && let Some(replaced) = gone.next()
            {
                *origin = Origin::Replaces(replaced);
            }
        }
        (next_old, next_new) = (o + 1, n + 1);
    }
    origins
}

/// Which of several equal jobs to pair.
#[derive(Debug, Clone, Copy)]
enum Equal {
    /// The first with the first, the second with the second and so on.
    InOrder,
    /// Only a job that has no equal in its own set.
    OnlyOnes,
}

/// Pairs of equal jobs of these two sets, ascending in the new file.
fn equal_jobs(
    old: &JobsFile,
    old_jobs: impl Iterator<Item = usize>,
    new: &JobsFile,
    new_jobs: impl Iterator<Item = usize>,
    which: Equal,
) -> Pairs {
    let (old_jobs, new_jobs) = (by_hash(old, old_jobs), by_hash(new, new_jobs));
    let same_hash = |a: &(u64, usize), b: &(u64, usize)| a.0 == b.0;
    let mut new_groups = new_jobs.chunk_by(same_hash).peekable();
    let mut pairs = Pairs::new();
    for old_group in old_jobs.chunk_by(same_hash) {
        let hash = old_group[0].0;
        while new_groups.next_if(|new_group| new_group[0].0 < hash).is_some() {}
        let Some(new_group) = new_groups.next_if(|new_group| new_group[0].0 == hash) else { continue };
        match which {
            Equal::OnlyOnes if old_group.len() > 1 || new_group.len() > 1 => {}
            Equal::OnlyOnes | Equal::InOrder => {
                pairs.extend(old_group.iter().zip(new_group).map(|((_, o), (_, n))| (*o, *n)));
            }
        }
    }
    // In file order, which is how the texts lie in memory.
    pairs.sort_unstable_by_key(|(_, n)| *n);
    // Across two files equal hashes only very probably mean the same job.
    pairs.retain(|(o, n)| old.is_same(*o, new, *n));
    pairs
}

/// Jobs behind their hashes, in the order of these.
fn by_hash(file: &JobsFile, jobs: impl Iterator<Item = usize>) -> Vec<(u64, usize)> {
    let mut jobs: Vec<_> = jobs.map(|i| (file.text_hash(i), i)).collect();
    jobs.sort_unstable();
    jobs
}

#[cfg(test)]
mod tests;
