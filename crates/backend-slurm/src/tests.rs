//! The calls of the port, against programs that answer from a script.

use std::collections::VecDeque;

use backend::Surroundings;
use model::slurm::Refusal;

use super::*;

/// Answers in turn, and remembers what was asked for in which surroundings.
#[derive(Default)]
struct Script {
    answers: VecDeque<Result<CommandOutput, CommandError>>,
    asked: Vec<String>,
    surroundings: Vec<Surroundings>,
}

impl Runner for Script {
    fn run(
        &mut self,
        surroundings: &Surroundings,
        argv: &[&str],
        timeout: Duration,
    ) -> Result<CommandOutput, CommandError> {
        let words = argv.iter().filter(|word| !word.contains('\u{1f}') && !word.starts_with("--format="));
        let words: Vec<_> = words.copied().collect();
        self.asked.push(format!("{}s: {}", timeout.as_secs(), words.join(" ")));
        self.surroundings.push(surroundings.clone());
        self.answers.pop_front().expect("no more calls than answers")
    }
}

type Answer = Result<CommandOutput, CommandError>;

#[expect(clippy::unnecessary_wraps, reason = "an answer is a result")]
fn says(code: i32, stdout: &str, stderr: &str) -> Answer {
    Ok(CommandOutput { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() })
}

fn missing(program: &str) -> Answer {
    Err(CommandError::NotFound { program: program.to_owned() })
}

fn silent(program: &str) -> Answer {
    Err(CommandError::TimedOut { program: program.to_owned(), seconds: 300 })
}

fn slurm<const N: usize>(answers: [Answer; N]) -> Slurm<Script> {
    Slurm::new(Script { answers: answers.into(), ..Script::default() })
}

fn id(text: &str) -> SlurmJobId {
    text.parse().expect("an id")
}

#[test]
fn submitting() {
    let submission = Submission { script: "job.sh".into(), ..Submission::default() };
    let refused = "sbatch: error: Batch script is empty!";
    let mut slurm = slurm([says(0, "45\n", ""), says(1, "", refused), silent("sbatch"), missing("sbatch")]);
    assert_eq!(slurm.submit(&submission), Ok(Submitted { job: id("45"), said: "".into() }));
    let refusal = Refusal { words: refused.into(), may_pass: false };
    assert_eq!(slurm.submit(&submission), Err(SubmitError::Rejected(refusal)));
    assert!(matches!(slurm.submit(&submission), Err(SubmitError::Ambiguous(_))));
    assert!(matches!(slurm.submit(&submission), Err(SubmitError::Unavailable(_))));
    assert_eq!(slurm.runner.asked, ["300s: sbatch --parsable job.sh"; 4]);
    // A job inherits what sbatch runs in.
    assert!(!slurm.runner.surroundings[0].variables.contains_key("LC_ALL"));
}

#[test]
fn the_queue_is_asked_for_once() {
    let line = squeue::tests::line("7", "RUNNING", "", "n");
    let mut slurm = slurm([
        says(0, &line, ""),
        says(0, "", ""),
        says(1, "", "slurm_load_jobs error: x"),
        silent("squeue"),
    ]);
    let counts: Vec<_> = (0..4).map(|_| slurm.queue().map(|view| view.jobs.len())).collect();
    assert_eq!(counts[..2], [Ok(1), Ok(0)]);
    assert_eq!(counts[2], Err(Unavailable("slurm_load_jobs error: x".to_owned())));
    assert_eq!(counts[3], Err(Unavailable("squeue did not answer within 300 s".to_owned())));
    assert_eq!(slurm.runner.asked, ["120s: squeue --noheader --all --me --states=all --Format"; 4]);
}

#[test]
fn what_users_set_does_not_change_the_answer() {
    let mut slurm = slurm([says(0, "", "")]);
    slurm.queue().unwrap();
    let around = &slurm.runner.surroundings[0];
    assert!(!around.bare, "SLURM_CONF is ours to pass on");
    assert_eq!(around.variables["SQUEUE_STATES"], None);
    assert_eq!(around.variables["SLURM_TIME_FORMAT"].as_deref(), Some("%s"));
    assert!(!around.variables.contains_key("SLURM_CONF"));
}

#[test]
fn accounting_of_an_old_version_is_asked_for_less_from_then_on() {
    let refused = || says(1, "", "sacct: fatal: Invalid field requested: \"SubmitLine\"\n");
    let mut slurm = slurm([refused(), says(0, "", ""), says(0, "", ""), refused()]);
    assert_eq!(slurm.accounting(&[id("7")]), Ok(AccountingView::default()));
    assert_eq!(slurm.accounting_since(SignedDuration::from_mins(5)), Ok(AccountingView::default()));
    assert!(matches!(slurm.accounting(&[id("7")]), Err(AccountingError::Unavailable(_))));
    assert!(
        slurm.runner.asked[2].ends_with("--parsable2 --starttime=now-300"),
        "{:?}",
        slurm.runner.asked[2]
    );
}

#[test]
fn accounting_of_no_and_of_many_jobs() {
    let mut slurm = slurm([says(0, "", ""), says(0, "", ""), missing("sacct")]);
    assert_eq!(slurm.accounting(&[]), Ok(AccountingView::default()));
    assert!(slurm.runner.asked.is_empty());
    let jobs: Vec<_> = (1..=1500).map(SlurmJobId::new).collect();
    assert!(slurm.accounting(&jobs).is_ok());
    assert_eq!(slurm.runner.asked.len(), 2);
    assert!(matches!(slurm.accounting(&[id("7")]), Err(AccountingError::Absent(_))));
}

#[test]
fn cancelling_and_showing() {
    let unknown = "slurm_load_jobs error: Invalid job id specified\n";
    let mut slurm = slurm([says(0, "", ""), says(1, "", unknown), silent("scancel"), silent("scontrol")]);
    assert_eq!(slurm.cancel(&id("7_1")), Ok(()));
    assert_eq!(slurm.show(&id("7+1")), Ok(Vec::new()));
    assert!(matches!(slurm.cancel(&id("7")), Err(CancelError::Unavailable(_))));
    assert!(slurm.show(&id("7")).is_err());
    assert_eq!(slurm.runner.asked[..2], ["120s: scancel 7_1", "120s: scontrol show job 7+1"]);
}

#[test]
fn the_cluster_itself() {
    let config = include_str!("../fixtures/24/scontrol_config.txt");
    let mut slurm =
        slurm([says(0, config, ""), says(0, "Slurmctld(primary) at vm is UP\n", ""), silent("scontrol")]);
    assert_eq!(slurm.settings().unwrap().version.as_deref(), Some("24.11.5"));
    assert_eq!(slurm.ping(), Ok(()));
    assert!(slurm.ping().is_err());
    assert_eq!(slurm.runner.asked[1], "30s: scontrol ping");
}

#[test]
fn another_cluster_is_named_in_every_call() {
    let answers = [says(0, "45;lab\n", ""), says(0, "", ""), says(0, "", ""), says(0, "", "")];
    let script = Script { answers: answers.into(), ..Script::default() };
    let mut slurm = Slurm::of_cluster(script, "lab".parse().unwrap());
    let submission = Submission { script: "job.sh".into(), ..Submission::default() };
    assert_eq!(slurm.submit(&submission).unwrap().job, id("45;lab"));
    slurm.queue().unwrap();
    slurm.accounting(&[id("45;lab")]).unwrap();
    slurm.cancel(&id("45;lab")).unwrap();
    for asked in &slurm.runner.asked {
        assert!(asked.contains(" --clusters=lab") && !asked.contains(';'), "{asked}");
    }
}
