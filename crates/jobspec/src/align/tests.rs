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
    check("axayaz", "xayza", "1 2 3 5 >0");
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
    let numbered = |range: Range<u32>| range.map(|i| format!("job {i}")).collect::<Vec<_>>().join("\n");
    let (head, tail) = (numbered(0..3000), numbered(3000..6000));
    let (old, _) = parse_jobs_file(format!("first\n{head}\nsame\nbetween\nsame\n{tail}\nlast\n"));
    let (new, _) = parse_jobs_file(format!("1st\n{head}\nbetween\nsame\n{tail}\nend\n"));
    let origins = origins(&old, &new, MOST_CELLS);
    assert_eq!(origins[0], Origin::Replaces(0));
    assert_eq!(origins[3001], Origin::Kept(3002));
    assert_eq!(origins[3002], Origin::Kept(3003));
    assert_eq!(origins[6003], Origin::Replaces(6004));
}

#[test]
fn clashing_hashes_pair_no_different_commands() {
    let clashing = |jobs: &str| {
        let text: String = jobs.chars().flat_map(|c| [c, '\n']).collect();
        crate::jobs_file::parse_with(text.into(), None, |_| 7).0
    };
    for (old, new) in [("abc", "cba"), ("xay", "yax"), ("aab", "bba"), ("ab", "ba")] {
        let (old, new) = (clashing(old), clashing(new));
        for cells in [0, MOST_CELLS] {
            for (n, origin) in origins(&old, &new, cells).into_iter().enumerate() {
                if let Origin::Kept(o) | Origin::Moved(o) = origin {
                    assert_eq!(old.command(o), new.command(n));
                }
            }
        }
    }
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
        let run_of = |i: usize| a[..=i].trim_end_matches(&a[i..=i]).len();
        let expect = (0..new.len()).map(|n| Some(run_of(if n < at { n } else { n + 1 })));
        let found = origins(&old, &new, MOST_CELLS).into_iter().map(|origin| match origin {
            Origin::Kept(o) => Some(run_of(o)),
            Origin::Moved(_) | Origin::Replaces(_) | Origin::Added => None,
        });
        prop_assert_eq!(found.collect::<Vec<_>>(), expect.collect::<Vec<_>>());
    }
}
