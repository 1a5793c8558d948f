//! `scontrol`: one job in detail, how a cluster is set up, whether it answers.

use backend::CommandOutput;
use model::slurm::{ClusterSettings, NodeList, ShownJob, SlurmJobId, TaskSet, time};
use model::{SignedDuration, Unavailable};

use crate::error;
use crate::table::is_nothing;

/// The arguments that show a job, with its free texts on lines of their own.
pub(crate) fn arguments_show(job: &SlurmJobId) -> Vec<String> {
    vec!["show".to_owned(), "job".to_owned(), job.local().to_string()]
}

/// The arguments that show how the cluster is set up.
pub(crate) fn arguments_config() -> Vec<String> {
    ["show", "config"].map(str::to_owned).into()
}

/// The arguments that ask whether a controller answers.
pub(crate) fn arguments_ping() -> Vec<String> {
    vec!["ping".to_owned()]
}

/// The records of a job; none where the controller has said that it knows none.
pub(crate) fn parse_show(output: &CommandOutput) -> Result<Vec<ShownJob>, Unavailable> {
    if error::is_no_such_job(output) {
        return Ok(Vec::new());
    }
    if !error::is_answer(output) {
        return Err(Unavailable(error::explain("scontrol", output)));
    }
    let jobs: Vec<_> = records(&output.stdout).iter().filter_map(|lines| job(lines)).collect();
    if jobs.is_empty() { Err(Unavailable("scontrol showed no job".to_owned())) } else { Ok(jobs) }
}

/// How the cluster is set up.
pub(crate) fn parse_config(output: &CommandOutput) -> Result<ClusterSettings, Unavailable> {
    let settings = settings(&output.stdout);
    if error::is_answer(output) && settings.version.is_some() {
        Ok(settings)
    } else {
        Err(Unavailable(error::explain("scontrol", output)))
    }
}

/// Whether a controller answers, the first or one that stands in for it:
/// `Slurmctld(primary) at host is UP`.
pub(crate) fn parse_ping(output: &CommandOutput) -> Result<(), Unavailable> {
    let is_up = |line: &str| line.starts_with("Slurmctld") && line.trim_end().ends_with(" is UP");
    if output.stdout.lines().any(is_up) {
        return Ok(());
    }
    // What follows that line calls for an operator; what it knows is on the other
    // stream.
    let why = error::one_line(&output.stderr);
    Err(Unavailable(match output.stdout.lines().next() {
        None => error::explain("scontrol", output),
        Some(said) if why.is_empty() => said.to_owned(),
        Some(said) => format!("{said}: {why}"),
    }))
}

/// The lines of each record.
fn records(text: &str) -> Vec<Vec<&str>> {
    let mut records: Vec<Vec<&str>> = Vec::new();
    let mut after_blank = true;
    for line in text.lines() {
        match records.last_mut() {
            _ if after_blank && line.starts_with("JobId=") => records.push(vec![line]),
            Some(record) => record.push(line),
            None => {}
        }
        after_blank = line.trim().is_empty();
    }
    records
}

fn job(lines: &[&str]) -> Option<ShownJob> {
    let (record, id, rest) = ids(lines.first()?)?;
    let state = field(lines, "JobState=").map(|line| line.split_once(" Reason=").unwrap_or((line, "")));
    let reason = state.map(|(_, rest)| rest.rsplit_once(" Dependency=").map_or(rest, |(reason, _)| reason));
    let counts = field(lines, "Requeue=").map(|line| format!("Requeue={line}"));
    let count = |key| counts.as_deref().and_then(|line| word(line, key));
    let preempted = field(lines, "PreemptEligibleTime=").and_then(|line| word(line, "PreemptTime="));
    Some(ShownJob {
        id,
        rest,
        record,
        state: state.map(|(state, _)| state.into()),
        reason: reason.map(Into::into),
        requeues: count("Requeue=").map(|word| word != "0"),
        restarts: count("Restarts=").and_then(|word| word.parse().ok()),
        exit: count("ExitCode=").and_then(|word| word.parse().ok()),
        preempted: preempted.and_then(time::instant),
        nodes: NodeList::new(field(lines, "NodeList=").filter(|list| !is_nothing(list)).unwrap_or("")),
        command: text(lines, "Command="),
        cwd: text(lines, "WorkDir="),
        stdout: text(lines, "StdOut="),
        stderr: text(lines, "StdErr="),
    })
}

/// The first line says which job it is; then comes its name, which may be anything.
fn ids(line: &str) -> Option<(u32, SlurmJobId, Option<TaskSet>)> {
    let line = line.split_once(" JobName=").map_or(line, |(ids, _)| ids);
    let number = |key| word(line, key).and_then(|word| word.parse::<u32>().ok());
    let record = number("JobId=")?;
    let array = number("ArrayJobId=").map(SlurmJobId::new);
    let heterogeneous = number("HetJobId=").map(SlurmJobId::new);
    let tasks = word(line, "ArrayTaskId=");
    Some(match (array, heterogeneous) {
        // A number is one task, also where it is the last one that waits.
        (Some(id), _) => match tasks.map(str::parse) {
            Some(Ok(task)) => (record, id.task(task), None),
            _ => (record, id, tasks.and_then(|tasks| tasks.parse().ok())),
        },
        (_, Some(id)) => (record, id.component(number("HetJobOffset=")?), None),
        (None, None) => (record, SlurmJobId::new(record), None),
    })
}

/// What follows a key of this name among words of a line.
fn word<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key))
}

/// What follows the key that a line begins with. Where several lines do, names or
/// comments with line breaks are among them, and nobody can tell which is true.
fn field<'a>(lines: &[&'a str], key: &str) -> Option<&'a str> {
    let mut found = lines.iter().filter_map(|line| line.strip_prefix("   ")?.strip_prefix(key));
    found.next().filter(|_| found.next().is_none())
}

fn text(lines: &[&str], key: &str) -> Option<Box<str>> {
    field(lines, key).filter(|text| !is_nothing(text)).map(Into::into)
}

fn settings(text: &str) -> ClusterSettings {
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix("= ")).map(str::trim)
    };
    ClusterSettings {
        cluster: value("ClusterName").map(Into::into),
        version: value("SLURM_VERSION").map(Into::into),
        accounting: value("AccountingStorageType").map(is_accounting),
        min_job_age: value("MinJobAge").and_then(duration),
        message_timeout: value("MessageTimeout").and_then(duration),
        kill_wait: value("KillWait").and_then(duration),
        over_time_limit: value("OverTimeLimit").and_then(duration),
        job_requeue: value("JobRequeue").map(|number| number != "0"),
    }
}

/// None is `accounting_storage/none` or, from 23.11 on, no plugin at all
/// (slurm.conf(5)).
fn is_accounting(plugin: &str) -> bool {
    !is_nothing(plugin) && !plugin.ends_with("/none")
}

/// `300 sec`, `0 min`.
fn duration(text: &str) -> Option<SignedDuration> {
    let (number, unit) = text.split_once(' ')?;
    let number: u32 = number.parse().ok()?;
    match unit {
        "sec" => Some(SignedDuration::from_secs(number.into())),
        "min" => Some(SignedDuration::from_mins(number.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use model::slurm::ExitCode;
    use proptest::prelude::*;

    use super::*;

    fn show(stdout: &str) -> Result<Vec<ShownJob>, Unavailable> {
        parse_show(&CommandOutput { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() })
    }

    #[test]
    fn all_versions() {
        for (version, text) in [
            ("20", include_str!("../fixtures/20/scontrol_job.txt")),
            ("22", include_str!("../fixtures/22/scontrol_job.txt")),
            ("24", include_str!("../fixtures/24/scontrol_job.txt")),
            ("26", include_str!("../fixtures/26/scontrol_job.txt")),
        ] {
            let [job] = &show(text).unwrap()[..] else { panic!("{version}") };
            let told = (&job.state, job.reason.as_deref(), job.requeues, job.restarts, job.exit);
            let expect = (&Some("RUNNING".into()), Some("None"), Some(true), Some(0), Some(ExitCode::ZERO));
            assert_eq!(told, expect, "{version}");
            assert_eq!((job.id.job, job.nodes.as_str()), (job.record, "a1"), "{version}");
            let home = format!("/home/ml/slurm{version}");
            assert_eq!(job.cwd.as_deref(), Some(&*home), "{version}");
            assert_eq!(job.command.as_deref(), Some(&*format!("{home}/train.sh")), "{version}");
            let log = format!("{home}/out-{}-llm train|v1.log", job.record);
            assert_eq!(job.stdout.as_deref(), Some(&*log), "{version}");
        }
    }

    /// Records with these first lines, and a state each.
    #[track_caller]
    fn check_ids(first: &str, expect: &str) {
        let [job] =
            &show(&format!("{first}\n   JobState=RUNNING Reason=None Dependency=(null)\n")).unwrap()[..]
        else {
            panic!("{first}")
        };
        let rest = job.rest.as_ref().map_or(String::new(), |rest| format!(" [{rest}]"));
        assert_eq!(format!("{} {}{rest}", job.record, job.id), expect);
    }

    #[test]
    fn ids_of_records() {
        check_ids("JobId=7 JobName=a", "7 7");
        check_ids("JobId=7 JobName=x ArrayJobId=9 ArrayTaskId=1", "7 7");
        check_ids("JobId=190 ArrayJobId=171 ArrayTaskId=2 ArrayTaskThrottle=2 JobName=arr", "190 171_2");
        check_ids(
            "JobId=171 ArrayJobId=171 ArrayTaskId=3-6%2 ArrayTaskThrottle=2 JobName=arr",
            "171 171 [3-6%2]",
        );
        check_ids("JobId=173 HetJobId=172 HetJobOffset=1 JobName=het HetJobIdSet=172-173", "173 172+1");
    }

    #[test]
    fn several_records() {
        let text = "JobId=2 ArrayJobId=2 ArrayTaskId=3-6 JobName=a\n   JobState=PENDING Reason=Priority \
                    Dependency=(null)\n   Power=\n   \n\nJobId=5 ArrayJobId=2 ArrayTaskId=1 JobName=a\n   \
                    JobState=FAILED Reason=RaisedSignal:11(Segmentation fault) Dependency=(null)\n\n";
        let jobs = show(text).unwrap();
        assert_eq!(jobs.len(), 2);
        assert_eq!(jobs[1].reason.as_deref(), Some("RaisedSignal:11(Segmentation fault)"));
    }

    #[test]
    fn texts_that_look_like_fields_are_not_taken_for_them() {
        let text = |name: &str, comment: &str| {
            format!(
                "JobId=7 JobName={name}\n   JobState=RUNNING Reason=None Dependency=(null)\n   \
                 Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 ExitCode=0:0\n   WorkDir=/w\n   \
                 Comment={comment}\n   StdOut=/w/o.log\n\n"
            )
        };
        let one = |name: &str, comment: &str| show(&text(name, comment)).unwrap().remove(0);
        let plain = one("x JobState=COMPLETED", "y JobState=COMPLETED StdOut=/etc");
        assert_eq!((plain.state, plain.stdout.as_deref()), (Some("RUNNING".into()), Some("/w/o.log")));
        let odd =
            one("x\n   JobState=COMPLETED Reason=None Dependency=(null)", "c\n   StdOut=/etc/passwd\n\n");
        assert_eq!((odd.state, odd.stdout, odd.restarts), (None, None, Some(2)));
    }

    #[test]
    fn no_such_job_is_an_answer() {
        let says = |stderr: &str| {
            parse_show(&CommandOutput { code: Some(1), stdout: String::new(), stderr: stderr.to_owned() })
        };
        for text in [
            include_str!("../fixtures/20/unknown_id.txt"),
            include_str!("../fixtures/22/unknown_id.txt"),
            include_str!("../fixtures/24/unknown_id.txt"),
            include_str!("../fixtures/26/unknown_id.txt"),
        ] {
            assert_eq!(says(text), Ok(Vec::new()));
        }
        assert!(
            says("slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n").is_err()
        );
        assert!(show("").is_err());
    }

    #[test]
    fn how_clusters_are_set_up() {
        for (version, text) in [
            ("20.11.4", include_str!("../fixtures/20/scontrol_config.txt")),
            ("22.05.8", include_str!("../fixtures/22/scontrol_config.txt")),
            ("24.11.5", include_str!("../fixtures/24/scontrol_config.txt")),
            ("26.05.5", include_str!("../fixtures/26/scontrol_config.txt")),
        ] {
            let output = CommandOutput { code: Some(0), stdout: text.to_owned(), stderr: String::new() };
            let settings = parse_config(&output).unwrap();
            let seconds = |seconds| Some(SignedDuration::from_secs(seconds));
            let expect = ClusterSettings {
                cluster: Some(format!("slurm{}", &version[..2]).into()),
                version: Some(version.into()),
                accounting: Some(true),
                min_job_age: seconds(300),
                message_timeout: None,
                kill_wait: seconds(2),
                over_time_limit: seconds(0),
                job_requeue: Some(true),
            };
            assert_eq!(settings, expect);
        }
        let plugin = |plugin: &str| settings(&format!("AccountingStorageType   = {plugin}\n")).accounting;
        assert_eq!(plugin("accounting_storage/none"), Some(false));
        assert_eq!(plugin("(null)"), Some(false));
        assert_eq!(
            settings("MessageTimeout          = 10 sec\n").message_timeout,
            Some(SignedDuration::from_secs(10))
        );
        assert!(parse_config(&CommandOutput { code: Some(0), ..CommandOutput::default() }).is_err());
    }

    #[track_caller]
    fn check_ping(stdout: &str, stderr: &str, expect: Result<(), &str>) {
        let output = CommandOutput { code: Some(1), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        assert_eq!(parse_ping(&output), expect.map_err(|words| Unavailable(words.to_owned())));
    }

    #[test]
    fn whether_a_controller_answers() {
        check_ping("Slurmctld(primary) at vm is UP\n", "", Ok(()));
        check_ping("Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP\n", "", Ok(()));
        let down =
            "Slurmctld(primary) at vm is DOWN\n*****\n** RESTORE SLURMCTLD DAEMON TO SERVICE **\n*****\n";
        check_ping(down, "", Err("Slurmctld(primary) at vm is DOWN"));
        check_ping(down, "error: no munge\n", Err("Slurmctld(primary) at vm is DOWN: error: no munge"));
        check_ping("", "scontrol: fatal: no config\n", Err("scontrol: fatal: no config"));
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd(text: String, lines in "(JobId=|   [A-Za-z]{0,8}=|[0-9a-z %:\n-]{0,5}){0,30}") {
            let _ = show(&text);
            let _ = show(&lines);
            let _ = settings(&text);
        }

        #[test]
        fn names_and_comments_change_no_state(name: String, comment: String) {
            let text = format!(
                "JobId=7 JobName={name}\n   JobState=RUNNING Reason=None Dependency=(null)\n   Comment={comment}\n"
            );
            let jobs = show(&text).unwrap();
            prop_assert!(jobs[0].state.is_none() || jobs[0].state == Some("RUNNING".into()));
        }
    }
}
