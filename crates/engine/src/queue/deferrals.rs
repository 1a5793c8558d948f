//! Jobs that could not be started and wait until they are tried again.

use std::collections::{BTreeMap, BTreeSet};

use model::{JobNo, Timestamp};

/// All such jobs. There may be as many as there are lines, where all of them lack
/// the same thing.
#[derive(Debug, Clone, Default)]
pub(super) struct Deferrals {
    jobs: BTreeMap<JobNo, Deferral>,
    by_time: BTreeSet<(Timestamp, JobNo)>,
}

/// Why and until when a job waits.
#[derive(Debug, Clone)]
pub(super) struct Deferral {
    pub(super) until: Timestamp,
    pub(super) why: String,
    /// Its line in the present file.
    pub(super) line: usize,
}

impl Deferrals {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn contains(&self, no: JobNo) -> bool {
        self.jobs.contains_key(&no)
    }

    pub(super) fn insert(&mut self, no: JobNo, deferral: Deferral) {
        self.remove(no);
        self.by_time.insert((deferral.until, no));
        self.jobs.insert(no, deferral);
    }

    /// Takes a job out; its line.
    pub(super) fn remove(&mut self, no: JobNo) -> Option<usize> {
        let deferral = self.jobs.remove(&no)?;
        self.by_time.remove(&(deferral.until, no));
        Some(deferral.line)
    }

    /// Takes out the jobs whose time has come; their lines.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<usize> {
        let mut due = Vec::new();
        while let Some((_, no)) = self.by_time.first().copied().filter(|(until, _)| *until <= now) {
            due.extend(self.remove(no));
        }
        due
    }

    /// When the first of them may start.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(until, _)| *until)
    }

    /// All of them, the first to be tried again first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Deferral> {
        self.by_time.iter().filter_map(|(_, no)| self.jobs.get(no))
    }

    /// Keeps of them the jobs that still wait, by the lines these have now.
    pub(super) fn follow(&mut self, waiting: impl Iterator<Item = (JobNo, usize)>) {
        let mut old = std::mem::take(self);
        if old.is_empty() {
            return;
        }
        for (no, line) in waiting {
            if let Some(deferral) = old.jobs.remove(&no) {
                self.insert(no, Deferral { line, ..deferral });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    /// Jobs 1, 2, … that wait until these times; their lines are numbered like them.
    fn deferrals(times: &[i64]) -> Deferrals {
        let mut deferrals = Deferrals::default();
        for (no, until) in (1..).zip(times) {
            let (until, why) = (at(*until), String::new());
            deferrals.insert(JobNo(no), Deferral { until, why, line: no as usize });
        }
        deferrals
    }

    #[track_caller]
    fn check(mut deferrals: Deferrals, expect: &[(i64, &[usize])]) {
        for (now, due) in expect {
            assert_eq!(deferrals.take_due(at(*now)), *due, "at {now} s");
        }
        assert!(deferrals.is_empty() && deferrals.count() == 0 && deferrals.next().is_none());
    }

    #[test]
    fn each_waits_for_its_time() {
        check(deferrals(&[5, 3, 3, 9]), &[(2, &[]), (3, &[2, 3]), (8, &[1]), (9, &[4])]);
        assert_eq!(deferrals(&[5, 3]).next(), Some(at(3)));
    }

    #[test]
    fn one_that_is_put_in_again_waits_once() {
        let mut twice = deferrals(&[5, 3]);
        twice.insert(JobNo(2), Deferral { until: at(7), why: String::new(), line: 8 });
        assert_eq!(twice.iter().map(|deferral| deferral.line).collect::<Vec<_>>(), [1, 8]);
        check(twice, &[(3, &[]), (7, &[1, 8])]);
    }

    #[test]
    fn what_waits_no_longer_is_forgotten_and_the_rest_is_followed() {
        let mut moved = deferrals(&[5, 3, 9]);
        moved.follow([(JobNo(7), 0), (JobNo(3), 1), (JobNo(1), 4)].into_iter());
        assert!(!moved.contains(JobNo(2)) && !moved.contains(JobNo(7)));
        check(moved, &[(9, &[4, 1])]);
    }
}
