//! `scancel`: cancelling a job.

use backend::CommandOutput;
use model::slurm::{CancelError, SlurmJobId};

use crate::error;

/// The arguments. The job gets SIGCONT and SIGTERM, after `KillWait` SIGKILL.
pub(crate) fn arguments(job: &SlurmJobId) -> Vec<String> {
    vec![job.local().to_string()]
}

/// What came of it. A job that has ended or that nobody knows is no error, and was
/// seen to be none for `scancel`.
pub(crate) fn parse(output: &CommandOutput) -> Result<(), CancelError> {
    // It exits with 0 only when the controller has answered.
    if output.code == Some(0) || error::is_over(output) || error::is_no_such_job(output) {
        return Ok(());
    }
    let words = error::explain("scancel", output);
    Err(if error::is_denied(output) { CancelError::Denied(words) } else { CancelError::Unavailable(words) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: i32, stderr: &str, expect: Result<(), &str>) {
        let output = CommandOutput { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() };
        let kind = parse(&output).map_err(|error| match error {
            CancelError::Denied(_) => "denied",
            CancelError::Unavailable(_) => "unavailable",
        });
        assert_eq!(kind, expect, "{stderr}");
    }

    #[test]
    fn what_it_says() {
        check(0, "", Ok(()));
        check(1, "scancel: error: Kill job error on job id 9: Invalid job id specified\n", Ok(()));
        check(210, "scancel: error: Kill job error on job id 9: Access/permission denied\n", Err("denied"));
        check(
            8,
            "scancel: error: Unable to contact slurm controller (connect failure)\n",
            Err("unavailable"),
        );
        check(1, "", Err("unavailable"));
    }

    #[test]
    fn parts_of_jobs() {
        let arguments = |id: &str| arguments(&id.parse().unwrap()).join(" ");
        assert_eq!([arguments("9"), arguments("9_1;lab"), arguments("9+0")], ["9", "9_1", "9+0"]);
    }
}
