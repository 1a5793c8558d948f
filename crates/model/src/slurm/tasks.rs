//! Some tasks of an array.

use std::fmt;
use std::str::FromStr;

use super::job_id::number;

/// Some tasks of an array as Slurm prints them: `3-6%2`, `1-9:2`, `1,4-5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSet {
    /// First, last and step of each part.
    parts: Vec<(u32, u32, u32)>,
    /// How many of them may run at a time.
    limit: Option<u32>,
    /// Whether Slurm has cut the list.
    cut: bool,
}

/// The text is not a list of tasks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a list of array tasks")]
pub struct ParseTaskSetError(String);

impl TaskSet {
    /// Whether a task is in it. Where Slurm has cut the list, each task after the
    /// last one that is told counts as in it.
    pub fn contains(&self, task: u32) -> bool {
        let within = |(first, last, step): &(u32, u32, u32)| {
            (*first..=*last).contains(&task) && (task - first).is_multiple_of(*step)
        };
        let last = self.parts.iter().map(|(_, last, _)| *last).max();
        self.parts.iter().any(within) || self.cut && last.is_none_or(|last| task > last)
    }

    /// How many of them may run at a time, where that is limited.
    pub const fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// Whether Slurm has cut the list, which it does at some 64 characters unless
    /// it is told not to (`SLURM_BITSTR_LEN` in squeue(1)).
    pub const fn is_cut(&self) -> bool {
        self.cut
    }
}

impl FromStr for TaskSet {
    type Err = ParseTaskSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| ParseTaskSetError(text.to_owned()))
    }
}

fn read(text: &str) -> Option<TaskSet> {
    let (list, limit) = match text.split_once('%') {
        None => (text, None),
        Some((list, limit)) => (list, Some(number(limit)?)),
    };
    let (list, cut) = match list.strip_suffix("...") {
        None => (list, false),
        Some(list) => (list.strip_suffix(',').unwrap_or(list), true),
    };
    let parts = match list {
        "" if cut => Vec::new(),
        list => list.split(',').map(part).collect::<Option<_>>()?,
    };
    Some(TaskSet { parts, limit, cut })
}

fn part(text: &str) -> Option<(u32, u32, u32)> {
    let (range, step) = match text.split_once(':') {
        None => (text, 1),
        Some((range, step)) => (range, number(step).filter(|step| *step > 0)?),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last, step))
}

impl fmt::Display for TaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last, step)) in self.parts.iter().enumerate() {
            write!(f, "{}{first}", if at == 0 { "" } else { "," })?;
            if first != last || *step != 1 {
                write!(f, "-{last}")?;
            }
            if *step != 1 {
                write!(f, ":{step}")?;
            }
        }
        if self.cut {
            f.write_str(if self.parts.is_empty() { "..." } else { ",..." })?;
        }
        self.limit.map_or(Ok(()), |limit| write!(f, "%{limit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, within: &[u32], without: &[u32]) {
        let tasks: TaskSet = text.parse().unwrap();
        assert_eq!(tasks.to_string(), text);
        for task in within {
            assert!(tasks.contains(*task), "{text}: {task}");
        }
        for task in without {
            assert!(!tasks.contains(*task), "{text}: {task}");
        }
    }

    #[test]
    fn lists() {
        check("3-6%2", &[3, 4, 5, 6], &[2, 7]);
        check("1-9:2", &[1, 3, 9], &[0, 2, 10]);
        check("0,4-5", &[0, 4, 5], &[1, 3, 6]);
        check("4294967295", &[u32::MAX], &[0]);
    }

    #[test]
    fn a_list_that_was_cut_may_go_on() {
        check("1,3-4,...%5", &[1, 3, 4, 5, 99], &[0, 2]);
        check("...", &[0, 7], &[]);
        let tasks: TaskSet = "1,3...".parse().unwrap();
        assert!(tasks.is_cut() && tasks.limit().is_none());
    }

    #[test]
    fn what_is_no_list() {
        for text in ["", "-", "1-", "5-4", "1,,2", "a", "1:0", "1-3%", "%2", "1-3%x", "[1]", "4294967296"] {
            assert!(text.parse::<TaskSet>().is_err(), "{text:?}");
        }
    }
}
