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
    /// others. The command is the same.
    Kept(usize),
    /// It was this job of the old file, and others have passed it. The command
    /// is the same.
    Moved(usize),
    /// It stands where this job of the old file stood, which is gone. The
    /// command is another.
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
        match (self.cells.checked_sub(cells), coarse) {
            (Some(left), _) => {
                self.cells = left;
                self.exactly(&inner_old, &inner_new);
            }
            (None, Coarse::AroundUnique) => self.around_unique(inner_old, inner_new),
            (None, Coarse::ByCounting) => {
                let pairs = equal_in_order(self.old, inner_old, self.new, inner_new);
                self.kept.extend(longest_ascending(pairs));
            }
        }
        self.kept.extend(tails);
    }

    fn exactly(&mut self, old: &Range<usize>, new: &Range<usize>) {
        let same = |o, n| self.old.same_command(old.start + o, self.new, new.start + n);
        let pairs = longest_common(old.len(), new.len(), same);
        self.kept.extend(pairs.into_iter().map(|(o, n)| (old.start + o, new.start + n)));
    }

    fn around_unique(&mut self, old: Range<usize>, new: Range<usize>) {
        let mut unique = Pairs::new();
        for_each_common(self.old, old.clone(), self.new, new.clone(), |o, n| {
            if let ([(_, o)], [(_, n)]) = (o, n) {
                unique.push((*o, *n));
            }
        });
        let (mut next_old, mut next_new) = (old.start, new.start);
        for (o, n) in longest_ascending(unique) {
            self.region(next_old..o, next_new..n, Coarse::ByCounting);
            self.kept.push((o, n));
            (next_old, next_new) = (o + 1, n + 1);
        }
        self.region(next_old..old.end, next_new..new.end, Coarse::ByCounting);
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
    let same = |(o, n): &(usize, usize)| old.same_command(*o, new, *n);
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
    for (o, n) in equal_in_order(old, gone, new, come) {
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

/// Equal jobs of these two sets, the first with the first and so on.
fn equal_in_order(
    old: &JobsFile,
    old_jobs: impl Iterator<Item = usize>,
    new: &JobsFile,
    new_jobs: impl Iterator<Item = usize>,
) -> Pairs {
    let mut pairs = Pairs::new();
    for_each_common(old, old_jobs, new, new_jobs, |o, n| {
        pairs.extend(o.iter().zip(n).map(|((_, o), (_, n))| (*o, *n)));
    });
    pairs
}

/// Calls `found` for each command that is in both sets, with the jobs that have
/// it, each after its hash, ascending.
fn for_each_common(
    old: &JobsFile,
    old_jobs: impl Iterator<Item = usize>,
    new: &JobsFile,
    new_jobs: impl Iterator<Item = usize>,
    mut found: impl FnMut(&[(u64, usize)], &[(u64, usize)]),
) {
    let (old_jobs, new_jobs) = (by_hash(old, old_jobs), by_hash(new, new_jobs));
    let same_hash = |a: &(u64, usize), b: &(u64, usize)| a.0 == b.0;
    let mut new_groups = new_jobs.chunk_by(same_hash).peekable();
    for old_group in old_jobs.chunk_by(same_hash) {
        while new_groups.next_if(|new_group| new_group[0].0 < old_group[0].0).is_some() {}
        // Within a file equal hashes are equal commands; across two files not
        // for certain.
        let same = |new_group: &&[(u64, usize)]| old.same_command(old_group[0].1, new, new_group[0].1);
        if let Some(new_group) = new_groups.next_if(same) {
            found(old_group, new_group);
        }
    }
}

fn by_hash(file: &JobsFile, jobs: impl Iterator<Item = usize>) -> Vec<(u64, usize)> {
    let mut jobs: Vec<_> = jobs.map(|i| (file.text_hash(i), i)).collect();
    jobs.sort_unstable();
    jobs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse_jobs_file;

    /// A file with a job for each character.
    fn file(jobs: &str) -> JobsFile {
        let (file, errors) = parse_jobs_file(jobs.chars().flat_map(|c| [c, '\n']).collect::<String>());
        assert_eq!(errors, []);
        file
    }

    fn origins(old: &JobsFile, new: &JobsFile, cells: usize) -> Vec<Origin> {
        let alignment = align_within(old, new, cells);
        (0..new.len()).map(|i| alignment.origin(i)).collect()
    }

    /// `expect` has a word for each new job: `3` kept, `>3` moved, `=3`
    /// replaces, `+` added.
    #[track_caller]
    fn check(old: &str, new: &str, expect: &str) {
        let words: Vec<String> = origins(&file(old), &file(new), MOST_CELLS)
            .into_iter()
            .map(|origin| match origin {
                Origin::Kept(i) => format!("{i}"),
                Origin::Moved(i) => format!(">{i}"),
                Origin::Replaces(i) => format!("={i}"),
                Origin::Added => "+".to_owned(),
            })
            .collect();
        assert_eq!(words.join(" "), expect, "{old} to {new}");
    }

    #[test]
    fn adding_and_removing() {
        check("", "", "");
        check("", "ab", "+ +");
        check("abc", "", "");
        check("abc", "abc", "0 1 2");
        check("abc", "abcde", "0 1 2 + +");
        check("abc", "xabc", "+ 0 1 2");
        check("abc", "axbc", "0 + 1 2");
        check("abcd", "ad", "0 3");
    }

    #[test]
    fn of_equal_lines_the_one_that_went_goes() {
        check("axa", "xa", "1 2");
        check("axa", "ax", "0 1");
        check("axaya", "axya", "0 1 3 4");
        check("axayaz", "xayza", "1 2 3 5 >4");
        check("aa", "a", "0");
        check("a", "aa", "0 +");
    }

    #[test]
    fn rewriting() {
        check("abc", "axc", "0 =1 2");
        check("abc", "xyz", "=0 =1 =2");
        check("abc", "axyc", "0 =1 + 2");
        check("abcd", "axd", "0 =1 3");
        check("abcd", "xbcy", "=0 1 2 =3");
    }

    #[test]
    fn moving() {
        check("abc", "cab", ">2 0 1");
        check("abcd", "bcda", "1 2 3 >0");
        check("abcd", "xbca", "+ 1 2 >0");
        check("aab", "baa", ">2 0 1");
    }

    #[test]
    fn a_large_file_changed_at_both_ends_keeps_the_right_one_of_equal_lines() {
        let numbered = |range: Range<u32>| range.map(|i| format!("job {i}\n")).collect::<String>();
        let (head, tail) = (numbered(0..3000), numbered(3000..6000));
        let (old, _) = parse_jobs_file(format!("first\n{head}same\nbetween\nsame\n{tail}last\n"));
        let (new, _) = parse_jobs_file(format!("1st\n{head}between\nsame\n{tail}end\n"));
        let origins = origins(&old, &new, MOST_CELLS);
        assert_eq!(origins[0], Origin::Replaces(0));
        assert_eq!(origins[3001], Origin::Kept(3002));
        assert_eq!(origins[3002], Origin::Kept(3003));
        assert_eq!(origins[6003], Origin::Replaces(6004));
    }

    #[test]
    #[should_panic(expected = "job 2 of 2")]
    fn there_is_no_origin_beyond_the_end() {
        align(&file("ab"), &file("ab")).origin(2);
    }

    /// Few different jobs, so that many are equal; and so few cells at times
    /// that every method has its turn.
    fn jobs() -> impl Strategy<Value = String> {
        prop_oneof!["[a-c]{0,12}", "[a-z]{0,30}", "[a-zA-Z0-9]{0,60}"]
    }

    fn cells() -> impl Strategy<Value = usize> {
        prop_oneof![Just(0), 0..50_usize, Just(MOST_CELLS)]
    }

    fn old_job(origin: Origin) -> Option<usize> {
        match origin {
            Origin::Kept(i) | Origin::Moved(i) | Origin::Replaces(i) => Some(i),
            Origin::Added => None,
        }
    }

    fn letters(text: &str) -> Vec<char> {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    }

    proptest! {
        #[test]
        fn every_answer_is_sound(a in jobs(), b in jobs(), cells in cells()) {
            let (old, new) = (file(&a), file(&b));
            let origins = origins(&old, &new, cells);
            let mut used = vec![false; old.len()];
            let mut last_kept = None;
            for (n, origin) in origins.iter().enumerate() {
                if let Some(o) = old_job(*origin) {
                    prop_assert!(!std::mem::replace(&mut used[o], true), "job {o} is used twice");
                    let same = old.command(o) == new.command(n);
                    prop_assert_eq!(same, !matches!(origin, Origin::Replaces(_)));
                }
                if let Origin::Kept(o) = origin {
                    prop_assert!(last_kept < Some(*o), "kept jobs are in order");
                    last_kept = Some(*o);
                }
            }
            // No job is called new or gone while an equal one goes or comes.
            let come: Vec<char> = letters(&b);
            let matched = origins.iter().filter(|o| matches!(o, Origin::Kept(_) | Origin::Moved(_))).count();
            let mut left = letters(&a);
            let common = come.iter().filter(|c| {
                left.iter().position(|l| l == *c).map(|at| left.remove(at)).is_some()
            }).count();
            prop_assert_eq!(matched, common);
        }

        #[test]
        fn an_unchanged_file_keeps_everything(a in jobs(), cells in cells()) {
            let expect: Vec<Origin> = (0..a.len()).map(Origin::Kept).collect();
            prop_assert_eq!(origins(&file(&a), &file(&a), cells), expect);
        }

        #[test]
        fn reordering_keeps_everything(a in jobs().prop_flat_map(|a| {
            let shuffled = Just(a.chars().collect::<Vec<_>>()).prop_shuffle();
            (Just(a), shuffled.prop_map(String::from_iter))
        }), cells in cells()) {
            let mut olds: Vec<usize> = origins(&file(&a.0), &file(&a.1), cells)
                .into_iter()
                .filter(|origin| !matches!(origin, Origin::Replaces(_)))
                .filter_map(old_job)
                .collect();
            olds.sort_unstable();
            prop_assert_eq!(olds, (0..a.0.len()).collect::<Vec<_>>());
        }

        #[test]
        fn what_is_appended_is_added(a in jobs(), b in jobs(), cells in cells()) {
            let mut expect: Vec<Origin> = (0..a.len()).map(Origin::Kept).collect();
            expect.resize(a.len() + b.len(), Origin::Added);
            prop_assert_eq!(origins(&file(&a), &file(&(a.clone() + &b)), cells), expect);
        }

        #[test]
        fn an_edit_in_place_replaces(a in "[a-z]{1,40}", at in any::<prop::sample::Index>(), cells in cells()) {
            let at = at.index(a.len());
            let edited: String = a.char_indices().map(|(i, c)| if i == at { '0' } else { c }).collect();
            let mut expect: Vec<Origin> = (0..a.len()).map(Origin::Kept).collect();
            expect[at] = Origin::Replaces(at);
            prop_assert_eq!(origins(&file(&a), &file(&edited), cells), expect);
        }

        #[test]
        fn removing_one_line_removes_it_and_no_equal_one(a in "[a-c]{1,30}", at in any::<prop::sample::Index>()) {
            let at = at.index(a.len());
            let (old, new) = (file(&a), file(&(a[..at].to_owned() + &a[at + 1..])));
            // Within a run of equal lines nobody can tell which one it was.
            let run = |i: usize| a[..=i].len() - a[..=i].trim_end_matches(&a[i..=i]).len();
            for (n, origin) in origins(&old, &new, MOST_CELLS).into_iter().enumerate() {
                let expect = if n < at { n } else { n + 1 };
                match origin {
                    Origin::Kept(o) => prop_assert!(
                        o == expect || (o + 1 - run(o) == expect + 1 - run(expect)),
                        "{n} was {expect}, not {o}"
                    ),
                    other => prop_assert!(false, "{n}: {other:?}"),
                }
            }
        }
    }
}
