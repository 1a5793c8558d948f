//! What the commands of Slurm complain about, and what that means.
//!
//! Exit codes tell little: 1 is said of refusals and of controllers that do not
//! answer alike. The words do; they are the same in all versions from 20.11 to
//! 26.05. Most of those below were seen, the others are the texts that Slurm has for
//! its error numbers (`slurm_strerror(3)`). Words that are not among them make a
//! submission ambiguous, which costs a look at the queue: `Unspecified error` is one,
//! since plugins refuse by it, and who knows what else.

use backend::{CommandError, CommandOutput};
use model::slurm::{Refusal, SubmitError};

/// The most of Slurm's own words that are repeated, in characters.
const MOST_WORDS: usize = 400;

/// The controller was asked and did not answer, or its answer was lost: a job may
/// be there, or may come yet. These win over everything else that was said.
const UNANSWERED: [&str; 9] = [
    "Socket timed out",
    "send failure",
    "receive failure",
    "shutdown failure",
    "Zero Bytes were transmitted or received",
    "Unexpected message received",
    "Insane message length",
    "Connection reset by peer",
    "Munge decode failed",
];

/// The request never left this machine, or was turned away as a whole. A
/// connection that is not made carries no request.
const UNREACHABLE: [&str; 5] = [
    "Unable to contact slurm controller (connect failure)",
    "Unable to resolve",
    "Munge encode failed",
    "Could not establish a configuration source",
    "Slurm backup controller in standby mode",
];

/// Refused for now: limits on the number of jobs, and what is closed or down.
const REFUSED_FOR_NOW: [&str; 8] = [
    "MaxSubmitJob",
    "GrpSubmitJob",
    "Required partition not available (inactive or drain)",
    "Required node not available (down, drained or reserved)",
    "Requested nodes are busy",
    "Requested reservation not usable now",
    "Slurm temporarily unable to accept job",
    "Slurm job queue full",
];

/// Refused for good: the same request is refused again until somebody changes it
/// or the cluster.
const REFUSED: [&str; 38] = [
    "Access/permission denied",
    "Access denied to requested reservation",
    "Batch script contains DOS line breaks",
    "Batch script is empty",
    "Burst Buffer request invalid",
    "Invalid --",
    "Invalid Trackable RESource (TRES) specification",
    "Invalid account or account/partition combination specified",
    "Invalid feature specification",
    "Invalid generic resource (gres) specification",
    "Invalid group id",
    "Invalid job array specification",
    "Invalid license specification",
    "Invalid node name specified",
    "Invalid partition name specified",
    "Invalid qos specification",
    "Invalid user id",
    "Invalid wckey specification",
    "Job dependency problem",
    "Job violates accounting/QOS policy",
    "Job's QOS not permitted to use this partition",
    "Job's account not permitted to use this partition",
    "Memory required by task is not available",
    "More processors requested than permitted",
    "No partition specified or system default partition",
    "Node count specification invalid",
    "Pathname of a file, directory or other parameter too long",
    "Requested node configuration is not available",
    "Requested nodes not in this partition",
    "Requested operation is presently disabled",
    "Requested reservation is invalid",
    "Requested time limit is invalid",
    "This does not look like a batch script",
    "Unable to open file",
    "User's group not permitted to use this partition",
    "invalid option",
    "requires an argument",
    "unrecognized option",
];

/// What came of a submission whose `sbatch` named no job.
pub(crate) fn submission(output: &CommandOutput) -> SubmitError {
    let words = explain("sbatch", output);
    let said = |complaints: &[&str]| complaints.iter().any(|complaint| output.stderr.contains(complaint));
    // Without an exit code it was ended by a signal, whatever it said before; with
    // code 0 there should be a job.
    if matches!(output.code, None | Some(0)) || said(&UNANSWERED) {
        SubmitError::Ambiguous(words)
    } else if said(&UNREACHABLE) {
        SubmitError::Unavailable(words)
    } else if said(&REFUSED_FOR_NOW) {
        SubmitError::Rejected(Refusal { words: words.into(), may_pass: true })
    } else if said(&REFUSED) {
        SubmitError::Rejected(Refusal { words: words.into(), may_pass: false })
    } else {
        SubmitError::Ambiguous(words)
    }
}

/// What came of a submission whose `sbatch` was not run to its end.
pub(crate) fn submission_not_run(error: &CommandError) -> SubmitError {
    match error {
        CommandError::NotFound { .. } | CommandError::NotStarted { .. } => {
            SubmitError::Unavailable(error.to_string())
        }
        CommandError::Failed { .. } | CommandError::TimedOut { .. } => {
            SubmitError::Ambiguous(error.to_string())
        }
    }
}

/// Whether the controller has said that it knows no such job. Of a task that an
/// array has not (any more), `scontrol` says so on standard output (seen).
pub(crate) fn is_no_such_job(output: &CommandOutput) -> bool {
    let no_task = |line: &str| line.starts_with("Job ") && line.trim_end().ends_with(" not found");
    output.stderr.contains("Invalid job id specified")
        || output.stdout.lines().chain(output.stderr.lines()).any(no_task)
            && !output.stdout.contains("JobId=")
}

/// Whether it was said that the job is over.
pub(crate) fn is_over(output: &CommandOutput) -> bool {
    ["Job/step already completing or completed", "Job has already finished"]
        .iter()
        .any(|words| output.stderr.contains(words))
}

/// Whether we may not do what we asked for.
pub(crate) fn is_denied(output: &CommandOutput) -> bool {
    output.stderr.contains("Access/permission denied")
}

/// Whether this cluster keeps no accounting: `accounting_storage/none` (seen).
pub(crate) fn is_without_accounting(output: &CommandOutput) -> bool {
    output.stderr.contains("accounting storage is disabled")
}

/// Whether a field is not known to this version.
pub(crate) fn is_unknown_field(output: &CommandOutput) -> bool {
    output.stderr.contains("Invalid field requested")
}

/// Whether this is an answer: `squeue` was seen to complain and exit with 0.
pub(crate) fn is_answer(output: &CommandOutput) -> bool {
    output.code == Some(0) && !(output.stdout.is_empty() && output.stderr.contains("error:"))
}

/// Tells of a call that was no answer: how it ended and Slurm's own words.
pub(crate) fn explain(program: &str, output: &CommandOutput) -> String {
    let end = match output.code {
        None => "was ended by a signal".to_owned(),
        Some(code) => format!("ended with code {code}"),
    };
    let words = one_line(&output.stderr);
    if words.is_empty() { format!("{program} {end}") } else { words }
}

/// What was said, in one line.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(MOST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an `sbatch` that says this and exits with this code.
    #[track_caller]
    fn check(code: impl Into<Option<i32>>, stderr: &str, expect: &str) {
        let output = CommandOutput { code: code.into(), stdout: String::new(), stderr: stderr.to_owned() };
        let kind = match submission(&output) {
            SubmitError::Rejected(Refusal { may_pass: false, .. }) => "for good",
            SubmitError::Rejected(Refusal { may_pass: true, .. }) => "for now",
            SubmitError::Ambiguous(_) => "ambiguous",
            SubmitError::Unavailable(_) => "unavailable",
        };
        assert_eq!(kind, expect, "{stderr}");
    }

    /// The same, said of a submission by the controller.
    #[track_caller]
    fn check_answer(words: &str, expect: &str) {
        check(1, &format!("sbatch: error: Batch job submission failed: {words}\n"), expect);
    }

    #[test]
    fn what_was_seen_to_be_refused() {
        for stderr in [
            include_str!("../fixtures/20/sbatch_bad_gres.stderr"),
            include_str!("../fixtures/20/sbatch_bad_partition.stderr"),
            include_str!("../fixtures/20/sbatch_bad_qos.stderr"),
            include_str!("../fixtures/22/sbatch_bad_gres.stderr"),
            include_str!("../fixtures/22/sbatch_bad_partition.stderr"),
            include_str!("../fixtures/22/sbatch_bad_qos.stderr"),
            include_str!("../fixtures/24/sbatch_bad_gres.stderr"),
            include_str!("../fixtures/24/sbatch_bad_partition.stderr"),
            include_str!("../fixtures/24/sbatch_bad_qos.stderr"),
            include_str!("../fixtures/26/sbatch_bad_gres.stderr"),
            include_str!("../fixtures/26/sbatch_bad_partition.stderr"),
            include_str!("../fixtures/26/sbatch_bad_qos.stderr"),
        ] {
            check(1, stderr, "for good");
        }
    }

    #[test]
    fn refusals() {
        check_answer("Requested time limit is invalid (missing or exceeds some limit)", "for good");
        check_answer("Invalid account or account/partition combination specified", "for good");
        check(1, "sbatch: error: Invalid generic resource (gres) specification\n", "for good");
        check(1, "sbatch: error: Batch script is empty!\n", "for good");
        check(1, "sbatch: error: Unable to open file /no/such\n", "for good");
        check(255, "sbatch: unrecognized option '--nope'\nTry \"sbatch --help\"\n", "for good");
        check(255, "sbatch: error: Invalid --time specification\n", "for good");
        let policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
        check_answer(policy, "for good");
        let with_limit = format!("QOSMaxSubmitJobPerUserLimit\nsbatch: error: {policy}\n");
        check(1, &with_limit, "for now");
        let too_long = format!("QOSMaxWallDurationPerJobLimit\nsbatch: error: {policy}\n");
        check(1, &too_long, "for good");
        check_answer("Required partition not available (inactive or drain)", "for now");
    }

    #[test]
    fn nobody_knows() {
        check_answer("Socket timed out on send/recv operation", "ambiguous");
        check_answer("Zero Bytes were transmitted or received", "ambiguous");
        check_answer("Unspecified error", "ambiguous");
        check_answer("something new", "ambiguous");
        check(1, "", "ambiguous");
        check(0, "", "ambiguous");
        check(None, "sbatch: error: Batch script is empty!\n", "ambiguous");
        // A refusal after a message whose answer was lost is that of the second.
        check(
            1,
            "sbatch: error: Socket timed out on send/recv operation\n\
             sbatch: error: Unable to contact slurm controller (connect failure)\n",
            "ambiguous",
        );
        check(1, "sbatch: error: Munge decode failed: Invalid credential\n", "ambiguous");
    }

    #[test]
    fn nobody_was_asked() {
        check_answer("Unable to contact slurm controller (connect failure)", "unavailable");
        check(
            1,
            "sbatch: error: If munged is up, restart with --num-threads=10\n\
             sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\": \
             No such file or directory\n\
             sbatch: error: Batch job submission failed: Protocol authentication error\n",
            "unavailable",
        );
    }

    #[test]
    fn programs_that_did_not_run_to_their_end() {
        let program = "sbatch".to_owned();
        let why = "no more processes".to_owned();
        let is_ambiguous =
            |error: &CommandError| matches!(submission_not_run(error), SubmitError::Ambiguous(_));
        assert!(is_ambiguous(&CommandError::TimedOut { program: program.clone(), seconds: 120 }));
        assert!(is_ambiguous(&CommandError::Failed { program: program.clone(), why: why.clone() }));
        assert!(!is_ambiguous(&CommandError::NotStarted { program: program.clone(), why }));
        assert!(!is_ambiguous(&CommandError::NotFound { program }));
    }

    #[test]
    fn words() {
        let output = |stderr: &str| CommandOutput {
            code: Some(1),
            stderr: stderr.to_owned(),
            ..CommandOutput::default()
        };
        assert_eq!(explain("squeue", &output("a\n  b\n")), "a b");
        assert_eq!(explain("squeue", &output("")), "squeue ended with code 1");
        assert_eq!(explain("squeue", &CommandOutput::default()), "squeue was ended by a signal");
        assert_eq!(explain("squeue", &output(&"é".repeat(1000))), "é".repeat(400));
    }
}
