//! `sacct`: what accounting has of jobs.

use backend::{CommandError, CommandOutput};
use model::SignedDuration;
use model::slurm::{AccountedRun, AccountingError, AccountingView, JobState, NodeList, SlurmJobId, time};

use crate::error;
use crate::record;
use crate::squeue::partitions;
use crate::table::{self, AnswerError, Columns, Row, SEPARATOR};

/// What is asked for. `State` has no width: it would be cut.
const FIXED: [&str; 12] = [
    "JobID",
    "JobIDRaw",
    "State",
    "ExitCode",
    "DerivedExitCode",
    "NodeList",
    "Submit",
    "Start",
    "End",
    "Elapsed",
    "Timelimit",
    "Partition",
];

const WITH_SUBMIT_LINE: Columns<'_> = Columns { fixed: &FIXED, free: &["Comment", "SubmitLine", "JobName"] };

/// The same for 20.11, which has no `SubmitLine` and answers nothing at all where
/// a field is not known.
const WITHOUT_SUBMIT_LINE: Columns<'_> = Columns { fixed: &FIXED, free: &["Comment", "JobName"] };

/// How many jobs one call asks for: no command line gets too long.
pub(crate) const MOST_JOBS: usize = 1000;

/// Which jobs are meant.
pub(crate) enum Which<'a> {
    /// These. No time is given, since then jobs may be left out: those that were
    /// cancelled while they waited (seen).
    Jobs(&'a [SlurmJobId]),
    /// All of ours in the time of this length up to now.
    Since(SignedDuration),
}

/// The columns of a call.
pub(crate) fn columns(submit_line: bool) -> Columns<'static> {
    if submit_line { WITH_SUBMIT_LINE } else { WITHOUT_SUBMIT_LINE }
}

/// The arguments: a row for each run of each job, none for its steps.
pub(crate) fn arguments(which: &Which<'_>, columns: Columns<'_>) -> Vec<String> {
    let fields: Vec<_> = columns.fixed.iter().chain(columns.free).copied().collect();
    let mut arguments: Vec<_> =
        ["--noheader", "--allocations", "--duplicates", "--parsable2"].map(str::to_owned).into();
    arguments.push(format!("--delimiter={SEPARATOR}"));
    arguments.push(format!("--format={}", fields.join(",")));
    arguments.push(match which {
        Which::Jobs(jobs) => {
            let ids: Vec<_> = jobs.iter().map(|job| job.local().to_string()).collect();
            format!("--jobs={}", ids.join(","))
        }
        Which::Since(back) => format!("--starttime=now-{}", back.as_secs().max(0)),
    });
    arguments
}

/// The runs of the answer.
pub(crate) fn parse(output: &CommandOutput, columns: Columns<'_>) -> Result<AccountingView, AccountingError> {
    if error::is_without_accounting(output) {
        return Err(AccountingError::Absent(error::explain("sacct", output)));
    }
    if !error::is_answer(output) {
        return Err(AccountingError::Unavailable(error::explain("sacct", output)));
    }
    read(&output.stdout, columns).map_err(|error| AccountingError::Unavailable(format!("sacct: {error}")))
}

/// Why there is no answer where `sacct` was not run to its end.
pub(crate) fn not_run(error: &CommandError) -> AccountingError {
    match error {
        CommandError::NotFound { .. } => AccountingError::Absent(error.to_string()),
        CommandError::NotStarted { .. } | CommandError::Failed { .. } | CommandError::TimedOut { .. } => {
            AccountingError::Unavailable(error.to_string())
        }
    }
}

fn read(text: &str, columns: Columns<'_>) -> Result<AccountingView, AnswerError> {
    let runs = table::rows(text, columns)?.iter().map(run).collect::<Result<_, _>>()?;
    Ok(AccountingView { runs })
}

fn run(row: &Row<'_>) -> Result<AccountedRun, AnswerError> {
    let unreadable = || AnswerError::Cell { column: "JobID", cell: table::cut(row.cell("JobID")) };
    let (id, rest) = record::id(row.cell("JobID")).ok_or_else(unreadable)?;
    let submit_line = row.text("SubmitLine");
    Ok(AccountedRun {
        id,
        rest,
        record: row.read("JobIDRaw"),
        state: JobState::from(row.cell("State")),
        exit: row.read("ExitCode"),
        derived_exit: row.read("DerivedExitCode"),
        nodes: NodeList::new(row.cell("NodeList")),
        submitted: time::instant(row.cell("Submit")),
        start: time::instant(row.cell("Start")),
        end: time::instant(row.cell("End")),
        elapsed: time::parse(row.cell("Elapsed")).ok(),
        limit: row.read("Timelimit"),
        partitions: partitions(row.cell("Partition")),
        comment: row.text("Comment").into(),
        submit_line: (!submit_line.is_empty()).then(|| submit_line.into()),
        name: row.text("JobName").into(),
    })
}

#[cfg(test)]
mod tests {
    use model::slurm::{Conclusion, ExitCode, Uid};
    use proptest::prelude::*;

    use super::*;

    /// Recorded answers, which have `|` between columns and the name among them.
    const ANSWERS: [(&str, &str, &str); 4] = [
        (
            "20.11",
            include_str!("../fixtures/20/sacct_X_D.txt"),
            include_str!("../fixtures/20/states_sacct_D_X.txt"),
        ),
        (
            "22.05",
            include_str!("../fixtures/22/sacct_X_D.txt"),
            include_str!("../fixtures/22/states_sacct_D_X.txt"),
        ),
        (
            "24.11",
            include_str!("../fixtures/24/sacct_X_D.txt"),
            include_str!("../fixtures/24/states_sacct_D_X.txt"),
        ),
        (
            "26.05",
            include_str!("../fixtures/26/sacct_X_D.txt"),
            include_str!("../fixtures/26/states_sacct_D_X.txt"),
        ),
    ];

    /// A recorded line as it is with the columns and the separator that we ask for.
    fn as_asked(line: &str) -> String {
        let cells: Vec<_> = line.split('|').collect();
        // The name is what is neither among the first two cells nor the last 18.
        let (ids, rest) = cells.split_at(2);
        let (name, rest) = rest.split_at(rest.len() - 18);
        let [state, exit, derived, nodes, partition, limit, start, end, elapsed, submit, _, _, comment, ..] =
            rest
        else {
            panic!("{line}")
        };
        let name = name.join("|");
        let fixed =
            [ids[0], ids[1], state, exit, derived, nodes, submit, start, end, elapsed, limit, partition];
        format!("{}\u{1f}{comment}\u{1f}{name}\n", fixed.join("\u{1f}"))
    }

    #[track_caller]
    fn check(name: &str, expect: &str) {
        for (version, text, _) in ANSWERS {
            let text: String = text.lines().map(as_asked).collect();
            let view = read(&text, WITHOUT_SUBMIT_LINE).unwrap();
            let named: Vec<_> = view.runs.iter().filter(|run| &*run.name == name).collect();
            let [run] = named[..] else { panic!("{version}: {} runs are called {name}", named.len()) };
            let limit = run.limit.map_or("?".to_owned(), |limit| limit.to_string());
            let (exit, derived) = (run.exit.unwrap(), run.derived_exit.unwrap());
            let shown = format!("{} on '{}' {limit} {exit} {derived}", run.state, run.nodes);
            assert_eq!(shown, expect, "{version}");
        }
    }

    #[test]
    fn all_versions() {
        check("llm train|v1", "RUNNING on 'a1' 1-02:04:00 0:0 0:0");
        check("waits_res", "PENDING on '' Partition_Limit 0:0 0:0");
        check("fin_3", "FAILED on 'c1' 00:30:00 3:0 0:0");
        check("fin_sig", "FAILED on 'c1' 00:30:00 0:11 0:0");
        check("fin_timeout", "TIMEOUT on 'c1' 00:01:00 0:0 0:0");
        for (version, text, _) in ANSWERS {
            let text: String = text.lines().map(as_asked).collect();
            let view = read(&text, WITHOUT_SUBMIT_LINE).unwrap();
            assert_eq!(view.runs.len(), text.lines().count(), "{version}");
            for run in &view.runs {
                assert_ne!(run.state.conclusion(), Conclusion::Unknown, "{version} {run:?}");
                assert!(
                    run.record.is_some() && run.elapsed.is_some() && run.limit.is_some(),
                    "{version} {run:?}"
                );
            }
        }
    }

    /// What 22.05 answered to just what we ask.
    #[test]
    fn as_it_is_asked() {
        let view = answer(include_str!("../fixtures/22/sacct_asked.txt")).unwrap();
        let shown: Vec<_> = view.runs.iter().map(|run| format!("{} {}", run.id, run.state)).collect();
        let expect = [
            "1 FAILED",
            "3 REQUEUED",
            "4+0 COMPLETED",
            "4+1 COMPLETED",
            "2 CANCELLED by 0",
            "3 CANCELLED by 0",
        ];
        assert_eq!(shown, expect);
        let ([first, requeued, ..], array) = (&view.runs[..], &view.runs[4]) else { panic!() };
        // The comment was given a separator, which moves the rest into the name.
        assert_eq!((&*first.comment, first.submit_line.as_deref()), ("line\ntok:5", Some("z")));
        assert_eq!(view.tagged("t:9:1").count(), 1);
        assert_eq!(requeued.elapsed, Some(SignedDuration::from_secs(4)));
        assert_eq!(requeued.end.unwrap().duration_since(requeued.start.unwrap()).as_secs(), 4);
        let line = "sbatch --parsable -p cpu --wrap=sleep 100 -o /dev/null";
        assert_eq!(requeued.submit_line.as_deref(), Some(line));
        assert_eq!(array.rest.as_ref().unwrap().to_string(), "1,3");
        assert!(view.runs[5].start.is_none() && view.runs[5].end.is_some());
    }

    #[test]
    fn every_state_that_was_seen_is_known() {
        for (version, _, text) in ANSWERS {
            for line in text.lines().skip(1) {
                // The cell before the first exit code.
                let cells: Vec<_> = line.split('|').collect();
                let Some(at) = cells.iter().position(|cell| cell.parse::<ExitCode>().is_ok()) else {
                    continue;
                };
                let state = JobState::from(cells[at - 1]);
                assert_ne!(state.conclusion(), Conclusion::Unknown, "{version} {line}");
            }
        }
    }

    /// An answer to what we ask, of one run.
    fn line(id: &str, state: &str, texts: [&str; 3]) -> String {
        let fixed = [
            id,
            "7",
            state,
            "0:0",
            "0:0",
            "n1",
            "1700000000",
            "1700000001",
            "Unknown",
            "00:01:02",
            "UNLIMITED",
            "a",
        ];
        format!("{}\u{1f}{}\n", fixed.join("\u{1f}"), texts.join("\u{1f}"))
    }

    fn answer(stdout: &str) -> Result<AccountingView, AccountingError> {
        let output = CommandOutput { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() };
        parse(&output, WITH_SUBMIT_LINE)
    }

    #[test]
    fn runs_of_a_job() {
        let text = [
            line("7", "NODE_FAIL", ["", "sbatch --comment=t:1 job.sh", "n"]),
            line("7", "CANCELLED by 1000", ["", "", "n"]),
            line("8_[3-6%2]", "PENDING", ["t:2", "", "n"]),
            line("9+1", "RUNNING", ["", "", "n.t:3"]),
        ];
        let view = answer(&text.concat()).unwrap();
        let states = |id: &str| {
            let id = id.parse().unwrap();
            view.runs_of(&id).map(|run| run.state.clone()).collect::<Vec<_>>()
        };
        assert_eq!(states("7"), [JobState::NodeFail, JobState::Cancelled { by: Some(Uid(1000)) }]);
        assert_eq!(
            [states("8_4").len(), states("8_7").len(), states("9").len(), states("9+0").len()],
            [1, 0, 1, 0]
        );
        assert_eq!(["t:1", "t:2", "t:3", "t"].map(|tag| view.tagged(tag).count()), [1, 1, 1, 0]);
        let run = &view.runs[0];
        assert_eq!((run.elapsed, run.end), (Some(SignedDuration::from_secs(62)), None));
    }

    #[test]
    fn what_we_ask_for() {
        let jobs = ["7;lab", "8_1"].map(|id| id.parse().unwrap());
        let arguments = |which, submit_line| arguments(&which, columns(submit_line)).join(" ");
        let asked = arguments(Which::Jobs(&jobs), true);
        assert!(
            asked.starts_with("--noheader --allocations --duplicates --parsable2 --delimiter=\u{1f} "),
            "{asked}"
        );
        assert!(asked.ends_with(",Comment,SubmitLine,JobName --jobs=7,8_1"), "{asked}");
        let asked = arguments(Which::Since(SignedDuration::from_hours(2)), false);
        assert!(asked.ends_with(",Partition,Comment,JobName --starttime=now-7200"), "{asked}");
    }

    #[test]
    fn no_accounting_and_no_answer() {
        let says = |stderr: &str| {
            let output = CommandOutput { code: Some(1), stdout: String::new(), stderr: stderr.to_owned() };
            parse(&output, WITH_SUBMIT_LINE)
        };
        assert!(matches!(says("Slurm accounting storage is disabled\n"), Err(AccountingError::Absent(_))));
        let refused = "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent \
                       connection to host:localhost:6819: Connection refused\n";
        assert!(matches!(says(refused), Err(AccountingError::Unavailable(_))));
        let program = "sacct".to_owned();
        let missing = not_run(&CommandError::NotFound { program: program.clone() });
        assert_eq!(missing.to_string(), "this cluster keeps no accounting: sacct is not on PATH");
        let silent = not_run(&CommandError::TimedOut { program, seconds: 120 });
        assert!(matches!(silent, AccountingError::Unavailable(_)));
        assert_eq!(answer(""), Ok(AccountingView::default()));
        assert!(answer("7|7|RUNNING\n").is_err());
        assert!(answer(&line("7.batch", "RUNNING", ["", "", ""])).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd(text: String, cells in "[0-9\u{1f}\n_\\[\\]a-z:%-]{0,200}") {
            let _ = answer(&text);
            let _ = answer(&format!("{cells}\n"));
        }

        #[test]
        fn free_text_changes_no_other_run(comment: String, submit_line: String, name: String) {
            let texts = [&*comment, &*submit_line, &*name];
            prop_assume!(texts.concat().matches('\u{1f}').count() < 9);
            let text = [line("7", "FAILED", texts), line("8", "COMPLETED", ["", "", ""])].concat();
            let view = answer(&text).unwrap();
            prop_assert_eq!(view.runs.len(), 2);
            prop_assert_eq!(&view.runs[0].state, &JobState::Failed);
            prop_assert_eq!(&view.runs[1].state, &JobState::Completed);
        }
    }
}
