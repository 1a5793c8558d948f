//! `squeue`: all of our jobs that the controller knows.

use backend::CommandOutput;
use model::Unavailable;
use model::slurm::{ExitCode, JobState, NodeList, PartitionName, QueueView, QueuedJob, time};

use crate::error;
use crate::record;
use crate::table::{self, AnswerError, Columns, Row, SEPARATOR};

/// What is asked for. All of it is known from 20.11 on; one that is not is left
/// empty (seen), and so unknown.
const COLUMNS: Columns<'_> = Columns {
    fixed: &[
        "JobID",
        "JobArrayID",
        "State",
        "Reason",
        "NodeList",
        "RestartCnt",
        "Partition",
        "TimeLimit",
        "SubmitTime",
        "StartTime",
        "EndTime",
        "exit_code",
    ],
    free: &["Comment", "Name"],
};

/// The arguments: our jobs in all states and in all partitions, hidden ones too.
///
/// All of them even where one is meant: a single id that is not known is an error,
/// several are not (seen), and the controller sends all jobs for two ids anyway.
pub(crate) fn arguments() -> Vec<String> {
    // An empty width, which leaves fields as long as they are, with what follows.
    let columns = COLUMNS.fixed.iter().chain(&COLUMNS.free[..1]).map(|name| format!("{name}:{SEPARATOR}"));
    let format: Vec<_> = columns.chain(["Name:".to_owned()]).collect();
    ["--noheader", "--all", "--me", "--states=all", "--Format", &format.join(",")].map(str::to_owned).into()
}

/// The jobs of the answer.
pub(crate) fn parse(output: &CommandOutput) -> Result<QueueView, Unavailable> {
    if !error::is_answer(output) {
        return Err(Unavailable(error::explain("squeue", output)));
    }
    read(&output.stdout, COLUMNS).map_err(|error| Unavailable(format!("squeue: {error}")))
}

fn read(text: &str, columns: Columns<'_>) -> Result<QueueView, AnswerError> {
    let jobs = table::rows(text, columns)?.iter().map(job).collect::<Result<_, _>>()?;
    Ok(QueueView { jobs })
}

fn job(row: &Row<'_>) -> Result<QueuedJob, AnswerError> {
    let unreadable = |column| AnswerError::Cell { column, cell: table::cut(row.cell(column)) };
    let (id, rest) = record::id(row.cell("JobArrayID")).ok_or_else(|| unreadable("JobArrayID"))?;
    Ok(QueuedJob {
        id,
        rest,
        record: row.read("JobID").ok_or_else(|| unreadable("JobID"))?,
        state: JobState::from(row.cell("State")),
        reason: row.cell("Reason").into(),
        nodes: NodeList::new(row.cell("NodeList")),
        restarts: row.read("RestartCnt"),
        partitions: partitions(row.cell("Partition")),
        limit: row.read("TimeLimit"),
        submitted: time::instant(row.cell("SubmitTime")),
        start: time::instant(row.cell("StartTime")),
        end: time::instant(row.cell("EndTime")),
        exit: exit(row.cell("exit_code")),
        comment: row.text("Comment").into(),
        name: row.text("Name").into(),
    })
}

/// The partitions of a list with commas.
pub(crate) fn partitions(text: &str) -> Vec<PartitionName> {
    text.split(',').filter_map(|name| name.parse().ok()).collect()
}

/// `code:signal`, or a status as wait(2) tells it up to 22.05 (seen).
fn exit(text: &str) -> Option<ExitCode> {
    text.parse().ok().or_else(|| text.parse().ok().map(ExitCode::from_wait_status))
}

#[cfg(test)]
pub(crate) mod tests {
    use model::Timestamp;
    use model::slurm::{Conclusion, SlurmJobId};
    use proptest::prelude::*;

    use super::*;

    /// The columns of the recorded answers.
    const RECORDED: Columns<'_> = Columns {
        fixed: &[
            "JobID",
            "JobArrayID",
            "State",
            "ReasonList",
            "Reason",
            "NodeList",
            "RestartCnt",
            "Partition",
            "TimeLimit",
            "TimeUsed",
            "StartTime",
            "EndTime",
            "SubmitTime",
            "UserName",
            "Account",
            "QOS",
            "tres-alloc",
            "tres-per-node",
            "exit_code",
            "WorkDir",
            "STDOUT",
        ],
        free: &["Comment", "Name"],
    };

    const ANSWERS: [(&str, usize, &str); 4] = [
        ("20.11", 36, include_str!("../fixtures/20/squeue_O_us.txt")),
        ("22.05", 29, include_str!("../fixtures/22/squeue_O_us.txt")),
        ("24.11", 29, include_str!("../fixtures/24/squeue_O_us.txt")),
        ("26.05", 29, include_str!("../fixtures/26/squeue_O_us.txt")),
    ];

    /// The one job of this name, as one line.
    #[track_caller]
    fn shown(view: &QueueView, name: &str) -> String {
        let named: Vec<_> = view.jobs.iter().filter(|job| &*job.name == name).collect();
        let [job] = named[..] else { panic!("{} jobs are called {name}", named.len()) };
        let limit = job.limit.map_or("?".to_owned(), |limit| limit.to_string());
        let exit = job.exit.map_or("?".to_owned(), |exit| exit.to_string());
        format!("{} on '{}' {limit} {exit} [{}] {}", job.state, job.nodes, job.comment, job.reason)
    }

    /// The job of this name in the answers of all versions, the same in each.
    #[track_caller]
    fn check(name: &str, expect: &str) {
        for (version, _, text) in ANSWERS {
            assert_eq!(shown(&read(text, RECORDED).unwrap(), name), expect, "{version}");
        }
    }

    #[test]
    fn all_versions() {
        for (version, count, text) in ANSWERS {
            let view = read(text, RECORDED).unwrap();
            assert_eq!(view.jobs.len(), count, "{version}");
            for job in &view.jobs {
                assert_ne!(job.state.conclusion(), Conclusion::Unknown, "{version} {job:?}");
                assert!(
                    job.exit.is_some() && job.limit.is_some() && job.restarts.is_some(),
                    "{version} {job:?}"
                );
                assert_eq!(job.partitions.len(), 1, "{version} {job:?}");
                job.nodes.expand().unwrap();
            }
        }
        check("llm train|v1", "RUNNING on 'a1' 1-02:04:00 0:0 [longrun:7f3a tok=1;x|y] None");
        check("twonode", "RUNNING on 'a[2-3]' UNLIMITED 0:0 [] None");
        check("fin_3", "FAILED on 'c1' 00:30:00 3:0 [] NonZeroExitCode");
        check("fin_timeout", "TIMEOUT on 'c1' 00:01:00 0:15 [tok:9] TimeLimit");
    }

    #[test]
    fn arrays_and_heterogeneous_jobs() {
        for (version, _, text) in ANSWERS {
            let view = read(text, RECORDED).unwrap();
            let arrays: Vec<_> = view.jobs.iter().filter(|job| &*job.name == "arr").collect();
            let rest =
                arrays.iter().find_map(|job| job.rest.as_ref().map(|rest| (&job.id, rest.to_string())));
            let (array, tasks) = rest.unwrap();
            assert_eq!((arrays.len(), tasks.as_str()), (3, "3-6%2"), "{version}");
            assert_eq!(view.find(array).count(), 3, "{version}");
            assert_eq!(view.find(&array.clone().task(2)).count(), 1, "{version}");
            assert_eq!(view.find(&array.clone().task(5)).count(), 1, "{version}");
            assert_eq!(view.find(&array.clone().task(7)).count(), 0, "{version}");
            let components: Vec<_> = view.jobs.iter().filter(|job| &*job.name == "het").collect();
            let het = SlurmJobId::new(components[0].id.job);
            assert_eq!((components.len(), view.find(&het).count()), (2, 2), "{version}");
            assert_eq!(view.find(&het.component(1)).count(), 1, "{version}");
        }
    }

    #[test]
    fn tokens_are_found() {
        for (version, _, text) in ANSWERS {
            let view = read(text, RECORDED).unwrap();
            assert_eq!(view.tagged("tok:9").count(), 1, "{version}");
            assert_eq!(view.tagged("longrun:7f3a").count(), 1, "{version}");
            assert_eq!(view.tagged("tok:").count(), 0, "{version}");
        }
    }

    /// An answer to what we ask, of one job.
    pub(crate) fn line(id: &str, state: &str, comment: &str, name: &str) -> String {
        let cells =
            ["7", id, state, "None", "n[1-2]", "1", "a,b", "1:00", "1700000000", "1700000001", "N/A", "256"];
        format!("{}\u{1f}{comment}\u{1f}{name}\n", cells.join("\u{1f}"))
    }

    fn answer(stdout: &str) -> Result<QueueView, String> {
        let output = CommandOutput { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() };
        parse(&output).map_err(|error| error.0)
    }

    #[test]
    fn what_we_ask_for() {
        let arguments = arguments();
        assert_eq!(arguments[..5], ["--noheader", "--all", "--me", "--states=all", "--Format"]);
        assert!(arguments[5].starts_with("JobID:\u{1f},JobArrayID:\u{1f},"), "{:?}", arguments[5]);
        assert!(arguments[5].ends_with(",Comment:\u{1f},Name:"), "{:?}", arguments[5]);
        let [job] = &answer(&line("7", "CANCELLED", "(null)", "x")).unwrap().jobs[..] else { panic!() };
        assert_eq!((job.submitted, job.end), (Timestamp::from_second(1_700_000_000).ok(), None));
        assert_eq!((job.restarts, job.partitions.len(), &*job.comment), (Some(1), 2, ""));
        assert_eq!(job.exit, Some(ExitCode { code: 1, signal: None }));
    }

    #[test]
    fn hostile_texts() {
        let odd = [
            ("a\nb", "c\nd"),
            ("\n\n", "é\u{1f}|\u{1f}"),
            ("7\u{1f}7\u{1f}COMPLETED", "7\u{1f}"),
            ("JobState=COMPLETED", "x JobState=COMPLETED"),
            ("\r\t\u{1b}[2J", ""),
        ];
        let text: String = odd.iter().map(|(comment, name)| line("7", "RUNNING", comment, name)).collect();
        let view = answer(&text).unwrap();
        assert_eq!(view.jobs.len(), odd.len());
        assert!(view.jobs.iter().all(|job| job.state == JobState::Running));
        assert_eq!(&*view.jobs[0].comment, "a\nb");
        assert_eq!(&*view.jobs[1].name, "é\u{1f}|\u{1f}");
        let [job] = &answer(&line("7", "NEW_STATE", "", "")).unwrap().jobs[..] else { panic!() };
        assert_eq!(job.state.conclusion(), Conclusion::Unknown);
    }

    #[test]
    fn what_is_no_answer() {
        let output = |code, stdout: &str, stderr: &str| {
            let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
            parse(&CommandOutput { code, stdout, stderr })
        };
        let timed_out = "slurm_load_jobs error: Socket timed out on send/recv operation";
        assert_eq!(output(Some(1), "", timed_out), Err(Unavailable(timed_out.to_owned())));
        assert!(output(Some(0), "", "squeue: error: no such user\n").is_err());
        assert!(output(None, &line("7", "RUNNING", "", ""), "").is_err());
        assert_eq!(output(Some(0), "", ""), Ok(QueueView::default()));
        assert!(answer("Module loaded\n").is_err());
        assert!(answer(&line("x", "RUNNING", "", "")).unwrap_err().contains("whose JobArrayID is \"x\""));
        assert!(answer(line("7", "RUNNING", "", "name").trim_end()).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd(text: String, cells in "[0-9\u{1f}\n_\\[\\]a-z:%-]{0,200}") {
            let _ = answer(&text);
            let _ = answer(&format!("{cells}\n"));
            let _ = read(&text.replace(' ', "\u{1f}"), Columns { fixed: &["JobID"], free: &["JobArrayID", "Name"] });
        }

        #[test]
        fn free_text_changes_no_other_job(comment: String, name: String) {
            let odd = line("7_1", "RUNNING", &comment, &name);
            // Whoever writes all twelve separators into a name means to be misread.
            prop_assume!(comment.matches('\u{1f}').count() + name.matches('\u{1f}').count() < 10);
            let text = format!("{}{odd}{}", line("7_0", "PENDING", "", ""), line("7_2", "FAILED", "", ""));
            let view = answer(&text).unwrap();
            prop_assert_eq!(view.jobs.len(), 3);
            prop_assert_eq!(&view.jobs[1].state, &JobState::Running);
            prop_assert_eq!(&view.jobs[2].state, &JobState::Failed);
        }
    }
}
