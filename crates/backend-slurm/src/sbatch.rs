//! `sbatch`: submitting a job.

use std::time::Duration;

use backend::{CommandOutput, Surroundings};
use model::slurm::{ClusterName, SlurmJobId, Submission, SubmitError, Submitted};

use crate::error;

/// How long it may take. Killing it makes a submission ambiguous, so it gets longer
/// than any it was seen to take: it gives up by itself after two `MessageTimeout`s,
/// and while a controller is busy it tries again for two minutes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The whole command line.
pub(crate) fn argv<'a>(cluster: Option<&'a str>, submission: &'a Submission) -> Vec<&'a str> {
    let mut argv = vec!["sbatch", "--parsable"];
    argv.extend(cluster);
    argv.extend(submission.options.iter().map(|option| &**option));
    argv.push(&submission.script);
    argv.extend(submission.arguments.iter().map(|argument| &**argument));
    argv
}

/// The option for a cluster; the user's own, which comes after it, wins.
pub(crate) fn cluster_option(cluster: &ClusterName) -> String {
    format!("--clusters={cluster}")
}

/// What it runs in: exactly what was asked for, since a job inherits it. Only
/// that it waits for the job's end (`SBATCH_WAIT`) is not passed on.
pub(crate) fn surroundings(submission: &Submission) -> Surroundings {
    let given = submission.env.iter().flatten();
    let mut variables: std::collections::BTreeMap<_, _> =
        given.map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    variables.insert("SBATCH_WAIT".into(), None);
    Surroundings { cwd: submission.cwd.clone(), bare: submission.env.is_some(), variables }
}

/// What came of it. A job that is named is there, whatever else was said:
/// `--parsable` prints it only after the controller has accepted it.
pub(crate) fn parse(output: &CommandOutput) -> Result<Submitted, SubmitError> {
    let mut named = output.stdout.lines().filter_map(job);
    match (named.next(), named.next()) {
        (Some(job), None) => Ok(Submitted { job, said: error::one_line(&output.stderr).into() }),
        (None, _) => Err(error::submission(output)),
        (Some(one), Some(other)) => {
            Err(SubmitError::Ambiguous(format!("sbatch named more than one job: {one} and {other}")))
        }
    }
}

/// The job that a line of output names: `45`, `45;cluster`, or as it is without
/// `--parsable`, where a site's own `sbatch` swallows that.
fn job(line: &str) -> Option<SlurmJobId> {
    let line = line.trim();
    let Some(said) = line.strip_prefix("Submitted batch job ") else { return line.parse().ok() };
    match said.split_once(" on cluster ") {
        None => said.parse().ok(),
        Some((job, cluster)) => Some(SlurmJobId::on(job.parse().ok()?, cluster.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn submission(env: Option<&[(&str, &str)]>) -> Submission {
        let pair = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        Submission {
            options: vec!["--time=30".into(), "--comment=lr1:7f:1:1 a b".into()],
            script: "/home/me/job.sh".into(),
            arguments: vec!["--lr".into(), "0.1".into()],
            cwd: Some("/home/me".into()),
            env: env.map(|env| env.iter().map(pair).collect()),
        }
    }

    #[test]
    fn the_command_line() {
        let submission = submission(None);
        let expect = "sbatch --parsable --time=30 --comment=lr1:7f:1:1 a b /home/me/job.sh --lr 0.1";
        assert_eq!(argv(None, &submission).join(" "), expect);
        let cluster = cluster_option(&"lab".parse().unwrap());
        assert_eq!(argv(Some(&cluster), &submission)[..3], ["sbatch", "--parsable", "--clusters=lab"]);
    }

    #[test]
    fn the_environment_is_the_one_that_was_given() {
        let around = surroundings(&submission(Some(&[("A", "1"), ("SBATCH_WAIT", "1")])));
        let expect = BTreeMap::from([("A".into(), Some("1".into())), ("SBATCH_WAIT".into(), None)]);
        assert_eq!((around.bare, around.variables), (true, expect));
        assert_eq!(around.cwd.as_deref(), Some("/home/me"));
        let around = surroundings(&submission(None));
        assert_eq!((around.bare, around.variables.len()), (false, 1));
    }

    #[track_caller]
    fn check(code: i32, stdout: &str, stderr: &str, expect: Result<(&str, &str), &str>) {
        let output = CommandOutput { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        let parsed = parse(&output).map_err(|error| error.to_string());
        let shown = parsed.map(|submitted| (submitted.job.to_string(), submitted.said.to_string()));
        let expect = expect.map(|(job, said)| (job.to_owned(), said.to_owned())).map_err(str::to_owned);
        assert_eq!(shown, expect, "{stdout:?}");
    }

    #[test]
    fn jobs_that_are_there() {
        check(0, "45\n", "", Ok(("45", "")));
        check(0, "45;lab-3\n", "", Ok(("45;lab-3", "")));
        check(0, "45\n", "sbatch: warning: can't\n  say\n", Ok(("45", "sbatch: warning: can't say")));
        check(0, "Welcome to the cluster, 3 of us\n45\n", "", Ok(("45", "")));
        check(0, "Submitted batch job 45\n", "", Ok(("45", "")));
        check(0, "Submitted batch job 45 on cluster lab\n", "", Ok(("45;lab", "")));
        // As with --wait, where the exit code is that of the job.
        check(3, "45\n", "", Ok(("45", "")));
    }

    #[test]
    fn no_job_or_nobody_knows() {
        let unknown = "it is not known whether the job was submitted: ";
        check(0, "", "", Err(&format!("{unknown}sbatch ended with code 0")));
        check(0, "45\n46\n", "", Err(&format!("{unknown}sbatch named more than one job: 45 and 46")));
        let timed_out = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation";
        check(1, "", timed_out, Err(&format!("{unknown}{timed_out}")));
        check(1, "", "sbatch: error: Batch script is empty!", Err("sbatch: error: Batch script is empty!"));
    }
}
