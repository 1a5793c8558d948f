//! The id of a job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ClusterName, TaskSet};

/// The id of a job, as people and the commands of Slurm write it: `93`, `93_1`
/// (a task of the array 93), `94+0` (a component of the heterogeneous job 94),
/// each with `;cluster` where it is that of another cluster, as `sbatch
/// --parsable` prints it.
///
/// It is not the number of a record: the tasks of an array get numbers of their
/// own when they start (seen).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SlurmJobId {
    /// Its number; that of the array or the heterogeneous job, if it is part of one.
    pub job: u32,
    /// Which part of it.
    pub part: JobPart,
    /// The cluster, where it was named.
    pub cluster: Option<ClusterName>,
}

/// Which part of a job is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobPart {
    /// All of it.
    #[default]
    Whole,
    /// A task of an array.
    Task(u32),
    /// A component of a heterogeneous job, from 0.
    Component(u32),
}

/// The text is not the id of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a Slurm job")]
pub struct ParseSlurmJobIdError(String);

impl SlurmJobId {
    /// The job of this number, all of it, on the cluster of the one who asks.
    pub const fn new(job: u32) -> Self {
        Self { job, part: JobPart::Whole, cluster: None }
    }

    /// A task of this array.
    #[must_use]
    pub fn task(self, task: u32) -> Self {
        Self { part: JobPart::Task(task), ..self }
    }

    /// A component of this heterogeneous job.
    #[must_use]
    pub fn component(self, offset: u32) -> Self {
        Self { part: JobPart::Component(offset), ..self }
    }

    /// The same on a cluster that is named.
    #[must_use]
    pub fn on(self, cluster: ClusterName) -> Self {
        Self { cluster: Some(cluster), ..self }
    }

    /// The id without its cluster: what commands take, the cluster being an option.
    #[must_use]
    pub fn local(&self) -> Self {
        Self { cluster: None, ..self.clone() }
    }

    /// Whether `other` is this job or a part of it; clusters are not compared.
    pub fn covers(&self, other: &Self) -> bool {
        self.job == other.job && (self.part == JobPart::Whole || self.part == other.part)
    }

    /// Whether a record of `other`, which may stand for the tasks in `rest`, tells
    /// of this job, of a part of it, or of the task that this is.
    pub(super) fn is_told_by(&self, other: &Self, rest: Option<&TaskSet>) -> bool {
        let in_rest = |rest: &TaskSet| match self.part {
            JobPart::Task(task) => self.job == other.job && rest.contains(task),
            JobPart::Whole | JobPart::Component(_) => false,
        };
        self.covers(other) || rest.is_some_and(in_rest)
    }
}

impl fmt::Display for SlurmJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.job)?;
        match self.part {
            JobPart::Whole => {}
            JobPart::Task(task) => write!(f, "_{task}")?,
            JobPart::Component(offset) => write!(f, "+{offset}")?,
        }
        self.cluster.as_ref().map_or(Ok(()), |cluster| write!(f, ";{cluster}"))
    }
}

impl FromStr for SlurmJobId {
    type Err = ParseSlurmJobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| ParseSlurmJobIdError(text.to_owned()))
    }
}

fn read(text: &str) -> Option<SlurmJobId> {
    let (id, cluster) = match text.split_once(';') {
        None => (text, None),
        Some((id, cluster)) => (id, Some(cluster.parse().ok()?)),
    };
    let (job, part) = match (id.split_once('_'), id.split_once('+')) {
        (Some((job, task)), _) => (job, JobPart::Task(number(task)?)),
        (_, Some((job, offset))) => (job, JobPart::Component(number(offset)?)),
        (None, None) => (id, JobPart::Whole),
    };
    // There is no job 0.
    let job = number(job).filter(|job| *job > 0)?;
    Some(SlurmJobId { job, part, cluster })
}

/// A number of digits alone.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl TryFrom<String> for SlurmJobId {
    type Error = ParseSlurmJobIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SlurmJobId> for String {
    fn from(id: SlurmJobId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, id: &SlurmJobId) {
        assert_eq!(text.parse().as_ref(), Ok(id));
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn ids() {
        let cluster: ClusterName = "lab-3".parse().unwrap();
        check("93", &SlurmJobId::new(93));
        check("93_0", &SlurmJobId::new(93).task(0));
        check("94+1", &SlurmJobId::new(94).component(1));
        check("45;lab-3", &SlurmJobId::new(45).on(cluster.clone()));
        check("45_7;lab-3", &SlurmJobId::new(45).task(7).on(cluster));
        check("4294967295", &SlurmJobId::new(u32::MAX));
    }

    #[test]
    fn what_is_no_id() {
        for text in [
            "",
            "0",
            "x",
            "-1",
            "93_",
            "_1",
            "93_[1-3]",
            "93_1+0",
            "93.batch",
            "93;",
            "93;a;b",
            " 93",
            "4294967296",
        ] {
            assert!(text.parse::<SlurmJobId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn parts() {
        let whole = SlurmJobId::new(93);
        let task = whole.clone().task(1);
        assert!(whole.covers(&whole) && whole.covers(&task) && task.covers(&task));
        assert!(
            !task.covers(&whole)
                && !task.covers(&whole.clone().task(2))
                && !whole.covers(&SlurmJobId::new(9))
        );
    }
}
