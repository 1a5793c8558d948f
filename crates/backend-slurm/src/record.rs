//! Ids of records, which may stand for several tasks of an array.

use model::slurm::{SlurmJobId, TaskSet};

/// A record of a job, of a component, of a task (`93_1`), or of the tasks of an
/// array that have no record yet (`93_[3-6%2]`, also `93_[3]`).
pub(crate) fn id(text: &str) -> Option<(SlurmJobId, Option<TaskSet>)> {
    match text.strip_suffix(']').and_then(|text| text.split_once("_[")) {
        None => Some((text.parse().ok()?, None)),
        Some((job, tasks)) => {
            let whole = job.bytes().all(|byte| byte.is_ascii_digit());
            Some((job.parse().ok().filter(|_| whole)?, Some(tasks.parse().ok()?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let shown = |text| id(text).map(|(id, rest)| (id.to_string(), rest.map(|rest| rest.to_string())));
        let some = |id: &str, rest: Option<&str>| Some((id.to_owned(), rest.map(str::to_owned)));
        assert_eq!(shown("93"), some("93", None));
        assert_eq!(shown("93_1"), some("93_1", None));
        assert_eq!(shown("94+1"), some("94+1", None));
        assert_eq!(shown("93_[3-6%2]"), some("93", Some("3-6%2")));
        assert_eq!(shown("93_[3]"), some("93", Some("3")));
        for text in ["", "93_", "93_[", "93_[]", "_[1]", "93_1_[2]", "93]", "93.batch", "x"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
