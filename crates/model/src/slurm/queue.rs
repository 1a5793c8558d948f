//! What the controller says of the jobs of a user.

use super::{ExitCode, JobState, NodeList, PartitionName, SlurmJobId, TaskSet, TimeLimit, mentions};
use crate::Timestamp;

/// All jobs of a user as the controller has them at a moment: those that wait and
/// run, and those that have ended within `MinJobAge` (300 seconds where a site has
/// not changed it; seen to last up to half a minute longer).
///
/// A job that is not in it is not known to the controller: it ended longer ago, or
/// never was. That is a fact; that the controller could not be asked is another,
/// and no view. A task of an array that was cancelled before it started leaves no
/// record of its own: it is gone at once, while its array is there (seen).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueView {
    /// The records, as they were listed.
    pub jobs: Vec<QueuedJob>,
}

/// One record of the controller: a job, a component of a heterogeneous one, a task
/// of an array, or all tasks of an array that have no record of their own yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedJob {
    /// Its id.
    pub id: SlurmJobId,
    /// The tasks it stands for, if they are the rest of an array: those that have
    /// not started, or were cancelled before.
    pub rest: Option<TaskSet>,
    /// The number of the record; what a job finds in `SLURM_JOB_ID`.
    pub record: u32,
    /// Its state.
    pub state: JobState,
    /// Why it waits, or how it ended: a word, or a sentence.
    pub reason: Box<str>,
    /// Its nodes.
    pub nodes: NodeList,
    /// How often Slurm has put it back. Nothing where that is not told.
    pub restarts: Option<u32>,
    /// Its partition. A job that waits may have several (sbatch(1)).
    pub partitions: Vec<PartitionName>,
    /// Its time limit.
    pub limit: Option<TimeLimit>,
    /// When it was submitted.
    pub submitted: Option<Timestamp>,
    /// When it started; while it waits, when it may. That can be absurd.
    pub start: Option<Timestamp>,
    /// When it ended, or must.
    pub end: Option<Timestamp>,
    /// Its exit code, 0 before there is one.
    pub exit: Option<ExitCode>,
    /// What was given with `--comment`.
    pub comment: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl QueueView {
    /// The records of a job: all of its parts, or the one that is meant. For a
    /// task that has not started this is the one of the rest of its array.
    pub fn find<'a>(&'a self, id: &'a SlurmJobId) -> impl Iterator<Item = &'a QueuedJob> {
        self.jobs.iter().filter(|job| job.is_of(id))
    }

    /// The records with this tag, as a word of its own, in their comment or their name.
    pub fn tagged<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a QueuedJob> {
        self.jobs.iter().filter(move |job| mentions(&job.comment, tag) || mentions(&job.name, tag))
    }
}

impl QueuedJob {
    /// Whether this record tells of the job, or of the part of one, that is meant.
    pub fn is_of(&self, id: &SlurmJobId) -> bool {
        id.is_told_by(&self.id, self.rest.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, rest: Option<&str>, comment: &str) -> QueuedJob {
        QueuedJob {
            id: id.parse().unwrap(),
            rest: rest.map(|rest| rest.parse().unwrap()),
            record: 1,
            state: JobState::Pending,
            reason: "None".into(),
            nodes: NodeList::default(),
            restarts: Some(0),
            partitions: Vec::new(),
            limit: None,
            submitted: None,
            start: None,
            end: None,
            exit: None,
            comment: comment.into(),
            name: "name".into(),
        }
    }

    #[track_caller]
    fn check(view: &QueueView, id: &str, expect: &[usize]) {
        let id = id.parse().unwrap();
        let found: Vec<_> = view.find(&id).collect();
        assert_eq!(found, expect.iter().map(|at| &view.jobs[*at]).collect::<Vec<_>>(), "{id}");
    }

    #[test]
    fn finding() {
        let view = QueueView {
            jobs: vec![
                job("93", Some("3-6%2"), ""),
                job("93_1", None, ""),
                job("94+0", None, ""),
                job("94+1", None, ""),
                job("95", None, "lr1:7f:2:1 and more"),
            ],
        };
        check(&view, "93", &[0, 1]);
        check(&view, "93_1", &[1]);
        check(&view, "93_4", &[0]);
        check(&view, "93_2", &[]);
        check(&view, "94", &[2, 3]);
        check(&view, "94+1", &[3]);
        check(&view, "95", &[4]);
        check(&view, "95;elsewhere", &[4]);
        check(&view, "95_1", &[]);
        assert_eq!(view.tagged("lr1:7f:2:1").count(), 1);
        assert_eq!(view.tagged("lr1:7f:2").count(), 0);
    }
}
