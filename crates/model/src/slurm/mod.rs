//! The nouns of Slurm, as its commands print them, and what is seen of jobs
//! through them.
//!
//! **Invariant:** reading is total. What Slurm may print in a version to come is
//! kept as it is ([`JobState::Other`]) or is unknown (`None`); it is never taken
//! for something else, and never for an end.
//!
//! Where a comment says "seen", it was tried on Slurm 20.11, 22.05, 24.11 and
//! 26.05; other sources are named.

mod accounting;
mod exit;
pub mod hostlist;
mod job_id;
mod name;
mod queue;
mod shown;
mod state;
mod submission;
mod tasks;
pub mod time;

pub use accounting::{AccountedRun, AccountingError, AccountingView};
pub use exit::{ExitCode, ParseExitCodeError};
pub use hostlist::HostlistError;
pub use job_id::{JobPart, ParseSlurmJobIdError, SlurmJobId};
pub use name::{ClusterName, NodeList, NodeName, ParseNameError, PartitionName};
pub use queue::{QueueView, QueuedJob};
pub use shown::{ClusterSettings, ShownJob};
pub use state::{Conclusion, JobState, Uid};
pub use submission::{CancelError, Refusal, Submission, SubmitError, Submitted};
pub use tasks::{ParseTaskSetError, TaskSet};
pub use time::{ParseSlurmTimeError, TimeLimit};

/// Whether a text has this tag, as a word of its own: `lr1:7f:2:1` is not in
/// `lr1:7f:2:11`. No tag is in none.
fn mentions(text: &str, tag: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, ':' | '_' | '-');
    let alone = |(at, _): (usize, &str)| {
        let (before, after) = (&text[..at], &text[at + tag.len()..]);
        !before.ends_with(char::is_alphanumeric) && !after.starts_with(goes_on)
    };
    !tag.is_empty() && text.match_indices(tag).any(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_words() {
        for text in
            ["t:2:1", "mine t:2:1", "name.t:2:1", "t:2:1 yours", "t:2:11 t:2:1", "\"--comment=t:2:1\""]
        {
            assert!(mentions(text, "t:2:1"), "{text}");
        }
        for text in ["", "t:2", "t:2:11", "t:2:1:3", "t:2:1-b", "at:2:1"] {
            assert!(!mentions(text, "t:2:1"), "{text}");
        }
        assert!(!mentions("t", ""));
    }
}
