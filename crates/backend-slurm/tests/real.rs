//! All calls against a real Slurm, which `tests/slurm/up` starts for the time of
//! the test. It runs only where `GPUSCHED_TEST_PROGRAMS` names `slurmctld`, as root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backend::{ClusterBackend, CommandError, CommandOutput, Runner, Surroundings};
use backend_slurm::Slurm;
use driver::command::Commands;
use model::SignedDuration;
use model::slurm::{
    AccountingError, Conclusion, ExitCode, JobState, QueuedJob, SlurmJobId, Submission, SubmitError,
    TimeLimit,
};

const LONG: Duration = Duration::from_secs(60);

/// A cluster of our own, ended with the test.
struct Cluster {
    dir: tempfile::TempDir,
}

/// Runs commands for that cluster, as the environment of a user would.
struct Configured {
    commands: Commands,
    conf: Box<str>,
}

impl Runner for Configured {
    fn run(
        &mut self,
        surroundings: &Surroundings,
        argv: &[&str],
        timeout: Duration,
    ) -> Result<CommandOutput, CommandError> {
        let mut surroundings = surroundings.clone();
        surroundings.variables.insert("SLURM_CONF".into(), Some(self.conf.clone()));
        self.commands.run(&surroundings, argv, timeout)
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/slurm").join(name)
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new(script("up")).arg(dir.path()).status().unwrap();
        assert!(status.success(), "the cluster did not start");
        Self { dir }
    }

    fn slurm(&self) -> Slurm<Configured> {
        let conf = self.dir.path().join("slurm.conf").display().to_string().into();
        Slurm::new(Configured { commands: Commands::default(), conf })
    }

    /// Sends a signal to the controller.
    fn signal(&self, signal: &str) {
        let pid = fs::read_to_string(self.dir.path().join("slurmctld.pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }

    /// A job script that does this, as a submission.
    fn job(&self, body: &str, options: &[&str]) -> Submission {
        let path = self.dir.path().join("job.sh");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        Submission {
            options: options.iter().map(|option| (*option).into()).collect(),
            script: path.display().to_string().into(),
            arguments: vec!["an argument".into()],
            cwd: Some(self.dir.path().display().to_string().into()),
            env: None,
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Whatever is wrong with it, the test has said so.
        let _ = Command::new(script("down")).arg(self.dir.path()).status();
    }
}

type Backend = Slurm<Configured>;

/// Waits until the one record of a job is so.
#[track_caller]
fn wait_until(
    slurm: &mut Backend,
    id: &SlurmJobId,
    what: &str,
    so: impl Fn(&QueuedJob) -> bool,
) -> QueuedJob {
    let mut found = None;
    e2e::wait_until(what, LONG, || {
        let view = slurm.queue().unwrap();
        found = view.find(id).next().cloned();
        found.as_ref().is_some_and(&so)
    });
    found.unwrap()
}

/// Waits until a job has ended.
#[track_caller]
fn ended(slurm: &mut Backend, id: &SlurmJobId) -> QueuedJob {
    wait_until(slurm, id, "the job has ended", |job| job.state.conclusion() == Conclusion::Terminal)
}

#[test]
fn a_real_cluster() {
    if e2e::program("slurmctld").is_none() {
        eprintln_skipped();
        return;
    }
    let cluster = Cluster::start();
    let mut slurm = cluster.slurm();
    the_cluster_tells_of_itself(&mut slurm);
    a_job_with_odd_texts_is_followed_and_cancelled(&cluster, &mut slurm);
    a_job_fails(&cluster, &mut slurm);
    an_array_and_its_rest(&cluster, &mut slurm);
    a_heterogeneous_job(&cluster, &mut slurm);
    refusals(&cluster, &mut slurm);
    a_controller_that_hangs_and_one_that_is_gone(&cluster, &mut slurm);
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn eprintln_skipped() {
    eprintln!("skipped: GPUSCHED_TEST_PROGRAMS names no slurmctld");
}

fn the_cluster_tells_of_itself(slurm: &mut Backend) {
    assert_eq!(slurm.ping(), Ok(()));
    let settings = slurm.settings().unwrap();
    let seconds = |seconds| Some(SignedDuration::from_secs(seconds));
    assert_eq!((settings.min_job_age, settings.message_timeout), (seconds(300), seconds(2)));
    assert_eq!(
        (settings.kill_wait, settings.accounting, settings.job_requeue),
        (seconds(1), Some(false), Some(true))
    );
    assert!(settings.cluster.unwrap().starts_with("test") && settings.version.is_some());
    assert_eq!(slurm.queue().unwrap().jobs, []);
    let absent = |error| matches!(error, Err(AccountingError::Absent(_)));
    assert!(absent(slurm.accounting(&[SlurmJobId::new(1)])));
    assert!(absent(slurm.accounting_since(SignedDuration::from_hours(1))));
}

fn a_job_with_odd_texts_is_followed_and_cancelled(cluster: &Cluster, slurm: &mut Backend) {
    let (name, comment) = ("na\nme\u{1f}|x JobState=COMPLETED", "mine\nJobState=COMPLETED t:1:1");
    let options =
        [format!("--job-name={name}"), format!("--comment={comment}"), "--output=out-%j".to_owned()];
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let submission = Submission {
        env: Some([("MINE".into(), "a b".into()), ("PATH".into(), "/usr/bin:/bin".into())].into()),
        ..cluster.job("echo $MINE $1 ${LC_ALL-none} ${SQUEUE_STATES-none}; exec sleep 600", &options)
    };
    let submitted = slurm.submit(&submission).unwrap();
    assert_eq!(&*submitted.said, "");
    let id = submitted.job;
    let job = wait_until(slurm, &id, "the job runs", |job| job.state == JobState::Running);
    assert_eq!((&*job.name, &*job.comment), (name, comment));
    assert_eq!((job.record, job.restarts, job.exit), (id.job, Some(0), Some(ExitCode::ZERO)));
    assert_eq!(job.limit, Some(TimeLimit::For(SignedDuration::from_mins(60))));
    assert!(job.submitted <= job.start && job.start < job.end && job.submitted.is_some());
    assert_eq!(job.nodes.expand().unwrap().len(), 1);
    assert_eq!(slurm.queue().unwrap().tagged("t:1:1").count(), 1);

    let [shown] = &slurm.show(&id).unwrap()[..] else { panic!("one record") };
    let output = cluster.dir.path().join(format!("out-{id}"));
    assert_eq!(shown.stdout.as_deref().map(Path::new), Some(&*output));
    assert_eq!((shown.requeues, shown.state.clone()), (Some(true), Some(JobState::Running)));
    e2e::wait_until("the job says something", LONG, || {
        fs::read_to_string(&output).is_ok_and(|said| said == "a b an argument none none\n")
    });

    slurm.cancel(&id).unwrap();
    assert_eq!(ended(slurm, &id).state, JobState::Cancelled { by: None });
    assert_eq!(slurm.cancel(&id), Ok(()));
    assert_eq!(slurm.cancel(&SlurmJobId::new(9_999_999)), Ok(()));
    assert_eq!(slurm.show(&SlurmJobId::new(9_999_999)), Ok(Vec::new()));
}

fn a_job_fails(cluster: &Cluster, slurm: &mut Backend) {
    let id = slurm.submit(&cluster.job("exit 3", &[])).unwrap().job;
    let job = ended(slurm, &id);
    assert_eq!((job.state, job.exit), (JobState::Failed, Some(ExitCode { code: 3, signal: None })));
}

fn an_array_and_its_rest(cluster: &Cluster, slurm: &mut Backend) {
    let options = ["--array=1,4,7,10,13,16,19,22,25,28,31,34,37,40,43,46,49,52,55,58,61,64,67,70%1"];
    let id = slurm.submit(&cluster.job("exec sleep 600", &options)).unwrap().job;
    let first = id.clone().task(1);
    let is_its_own = |job: &QueuedJob| job.rest.is_none() && job.state == JobState::Running;
    wait_until(slurm, &first, "the first task runs", is_its_own);
    let last = id.clone().task(70);
    let waiting = wait_until(slurm, &last, "the last task waits", |job| job.state == JobState::Pending);
    let rest = waiting.rest.unwrap();
    assert_eq!(
        (rest.is_cut(), rest.limit(), rest.contains(1), rest.contains(5)),
        (false, Some(1), false, false)
    );
    assert_eq!(slurm.show(&id).unwrap().len(), 2);

    // A task that never started leaves no record.
    slurm.cancel(&last).unwrap();
    e2e::wait_until("the last task is gone", LONG, || slurm.queue().unwrap().find(&last).count() == 0);
    assert_eq!(slurm.show(&last), Ok(Vec::new()));
    assert_eq!(slurm.queue().unwrap().find(&first).next().unwrap().state, JobState::Running);
    slurm.cancel(&id).unwrap();
    e2e::wait_until("all tasks have ended", LONG, || {
        let view = slurm.queue().unwrap();
        view.find(&id).all(|job| job.state.conclusion() == Conclusion::Terminal)
    });
}

fn a_heterogeneous_job(cluster: &Cluster, slurm: &mut Backend) {
    let options = ["--ntasks=1", ":", "--ntasks=1"];
    let id = slurm.submit(&cluster.job("exec sleep 600", &options)).unwrap().job;
    for offset in [0, 1] {
        let component = id.clone().component(offset);
        wait_until(slurm, &component, "the component runs", |job| job.state == JobState::Running);
    }
    let shown: Vec<_> = slurm.show(&id).unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(shown, [id.clone().component(0), id.clone().component(1)]);
    slurm.cancel(&id).unwrap();
    ended(slurm, &id.clone().component(1));
}

fn refusals(cluster: &Cluster, slurm: &mut Backend) {
    let mut refused = |submission: Submission| match slurm.submit(&submission) {
        Err(SubmitError::Rejected(refusal)) => refusal.may_pass,
        other => panic!("{other:?}"),
    };
    assert!(!refused(cluster.job("true", &["--partition=nope"])));
    assert!(!refused(cluster.job("true", &["--nodelist=nope"])));
    assert!(!refused(cluster.job("true", &["--time=nonsense"])));
    assert!(!refused(cluster.job("true", &["--no-such-option"])));
    assert!(!refused(Submission { script: "no-such-script".into(), ..Submission::default() }));
    assert!(refused(cluster.job("true", &["--partition=closed"])));
    let nowhere = Submission { cwd: Some("/no/such".into()), ..cluster.job("true", &[]) };
    assert!(matches!(slurm.submit(&nowhere), Err(SubmitError::Unavailable(_))));
}

fn a_controller_that_hangs_and_one_that_is_gone(cluster: &Cluster, slurm: &mut Backend) {
    cluster.signal("-STOP");
    let lost = slurm.submit(&cluster.job("true", &["--comment=t:2:1"]));
    assert!(matches!(lost, Err(SubmitError::Ambiguous(_))), "{lost:?}");
    assert!(slurm.ping().is_err() && slurm.queue().is_err());
    cluster.signal("-CONT");
    e2e::wait_until("the job that nobody knew of comes", LONG, || {
        slurm.queue().is_ok_and(|view| view.tagged("t:2:1").count() == 1)
    });

    cluster.signal("-TERM");
    e2e::wait_until("the controller is gone", LONG, || slurm.ping().is_err());
    let unasked = slurm.submit(&cluster.job("true", &[]));
    assert!(matches!(unasked, Err(SubmitError::Unavailable(_))), "{unasked:?}");
    assert!(slurm.queue().is_err() && slurm.show(&SlurmJobId::new(1)).is_err());
    assert!(slurm.cancel(&SlurmJobId::new(1)).is_err() && slurm.settings().is_err());
}
