//! The shell with real files and threads, a keeper that can't be started, and
//! GPUs that are made up.

use std::fs;
use std::sync::mpsc;

use backend::GpuBackend;
use model::{
    ComputeApp, GpuIndex, GpuSnapshot, JobKey, JobNo, LaunchError, Pid, Setting, SignedDuration, Unavailable,
};
use tempfile::{TempDir, tempdir};

use engine::queue::Answer;

use super::*;
use crate::host::{KeeperConfig, LogNames};

/// A program that does not listen as a keeper does.
const NO_KEEPER: &str = "/bin/false";

struct MadeUp(Sample);

impl GpuBackend for MadeUp {
    fn snapshot(&mut self) -> Result<GpuSnapshot, Unavailable> {
        self.0.clone()
    }
}

struct Words(mpsc::Sender<Report>);

impl Reporter for Words {
    fn report(&mut self, report: &Report) {
        self.0.send(report.clone()).unwrap();
    }

    fn board(&mut self, board: &Board) -> String {
        format!("{} jobs have ended\n", board.done_count)
    }

    fn status(&mut self, _board: &Board) -> String {
        String::new()
    }

    fn answer(&mut self, answer: &Answer) -> String {
        format!("{answer:?}")
    }
}

struct Rig {
    dir: TempDir,
    shell: Shell,
    said: mpsc::Receiver<Report>,
}

fn rig_with(sample: Sample) -> Rig {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("jobs.txt"), "a\n").unwrap();
    let mut watch = Watch::new(at("jobs.txt"), None).unwrap();
    let jobs = watch.first().unwrap();
    let medium = FileMedium::open(at("journal.jsonl")).unwrap();
    let (journal, _) = Journal::open::<Record>(medium, "test").unwrap();
    let host = KeeperHost::open(KeeperConfig {
        dir: dir.path().to_owned(),
        program: NO_KEEPER.into(),
        environment: Vec::new(),
        cwd: dir.path().to_owned(),
        logs: LogNames::ByGpu,
        seat: None,
    })
    .unwrap();
    let (say, said) = mpsc::channel();
    let shell = Shell::open(Parts {
        clock: Steady::start(),
        watch,
        jobs,
        journal,
        host,
        gpus: Box::new(MadeUp(sample)),
        gpu_source: "the GPUs".into(),
        // None: another test of this process raises them.
        signals: Signals::catch_except(crate::signals::OnExit::BySignal, u64::MAX).unwrap(),
        reporter: Box::new(Words(say)),
        board: at("status.txt"),
        status: at("status.json"),
        mailbox: Mailbox::open(dir.path()).unwrap(),
        state: None,
        models: None,
    })
    .unwrap();
    Rig { dir, shell, said }
}

fn rig() -> Rig {
    rig_with(Ok(GpuSnapshot::default()))
}

impl Rig {
    /// The next thing that happens, in words; nothing for ten seconds is a
    /// deadline.
    fn next(&mut self) -> String {
        let until = self.shell.now() + SignedDuration::from_secs(10);
        format!("{:?}", self.shell.next(Some(until)).unwrap())
    }

    /// Skips the first two events, which are always the same.
    fn begun(mut self) -> Self {
        let first = self.next();
        assert!(first.starts_with("Event(JobsFile(Ok("), "{first}");
        assert_eq!(self.next(), "Event(Survey([]))");
        self
    }
}

fn seen(no: u32) -> Record {
    Record::Seen { key: JobKey::new([0; 6], no), no: JobNo(no), command: "a".into() }
}

#[test]
fn what_happens_first_and_that_a_deadline_comes_last() {
    let mut rig = rig();
    let long_ago = Some(Timestamp::MIN);
    assert!(matches!(rig.shell.next(long_ago), Ok(Woken::Event(Event::JobsFile(Ok(_))))));
    assert!(matches!(rig.shell.next(long_ago), Ok(Woken::Event(Event::Survey(all))) if all.is_empty()));
    assert!(matches!(rig.shell.next(long_ago), Ok(Woken::Deadline)));
    fs::write(rig.dir.path().join("jobs.txt"), "a\nb\n").unwrap();
    assert!(
        matches!(rig.shell.next(long_ago), Ok(Woken::Event(Event::JobsFile(Ok(file)))) if file.len() == 2)
    );
    assert!(matches!(rig.shell.next(long_ago), Ok(Woken::Deadline)));
}

#[test]
fn a_deadline_is_kept() {
    let mut rig = rig().begun();
    let until = rig.shell.now() + SignedDuration::from_millis(30);
    assert!(matches!(rig.shell.next(Some(until)), Ok(Woken::Deadline)));
    assert!(rig.shell.now() >= until);
}

#[test]
fn records_are_in_the_file_at_once_and_on_the_disk_soon() {
    let mut rig = rig().begun();
    assert_eq!(rig.shell.persist(&[seen(1), seen(2)]).unwrap(), 2);
    let text = fs::read_to_string(rig.dir.path().join("journal.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert_eq!(rig.next(), "Synced(2)");
    assert_eq!(rig.shell.persist(&[seen(3)]).unwrap(), 3);
    assert_eq!(rig.next(), "Synced(3)");
}

#[test]
fn another_writer_ends_it() {
    let mut rig = rig().begun();
    fs::write(rig.dir.path().join("journal.jsonl"), "").unwrap();
    let lost = rig.shell.persist(&[seen(1)]).unwrap_err();
    assert!(lost.0.starts_with("another program writes to the journal"), "{lost}");
    assert!(rig.shell.persist(&[seen(1)]).is_err());
}

#[test]
fn a_failed_sync_ends_it() {
    let mut rig = rig().begun();
    rig.shell.hear(News::Synced(Err("Input/output error".into())));
    let lost = rig.shell.next(None).unwrap_err();
    assert_eq!(lost.0, "cannot sync the journal: Input/output error");
    assert!(rig.shell.persist(&[seen(1)]).is_err());
}

#[test]
fn the_gpus_are_read_when_asked() {
    let unavailable = Err(Unavailable("no driver".into()));
    let mut rig = rig_with(unavailable).begun();
    for _ in 0..2 {
        rig.shell.perform(Effect::SampleGpus);
        assert_eq!(rig.next(), r#"Event(Gpus(Err(Unavailable("no driver"))))"#);
    }
    let app = ComputeApp { gpu: GpuIndex(0), pid: Pid(std::process::id()), used: None, owner: None };
    let mut rig = rig_with(Ok(GpuSnapshot { apps: vec![app], ..GpuSnapshot::default() })).begun();
    rig.shell.perform(Effect::SampleGpus);
    let told = rig.next();
    assert!(told.contains("owner: None"), "this process is no job of ours: {told}");
}

#[test]
fn a_launch_without_a_keeper_is_refused() {
    let mut rig = rig().begun();
    let attempt = JobKey::new([0; 6], 0).attempt(1);
    let launch =
        Launch { attempt, no: JobNo(1), command: "a".into(), gpus: Vec::new(), setting: Setting::default() };
    rig.shell.perform(Effect::Launch(launch));
    let until = rig.shell.now() + SignedDuration::from_secs(10);
    let told = rig.shell.next(Some(until));
    let Ok(Woken::Event(Event::Refused { attempt: refused, why: LaunchError::NoKeeper(_) })) = told else {
        panic!("{told:?}");
    };
    assert_eq!(refused, attempt);
}

#[test]
fn words_and_the_board_come_from_the_reporter() {
    let mut rig = rig().begun();
    rig.shell.report(Report::Drained);
    assert_eq!(rig.said.try_recv(), Ok(Report::Drained));
    let board = Board {
        at: rig.shell.now(),
        gpus: Vec::new(),
        paused: Vec::new(),
        running: Vec::new(),
        pending: Vec::new(),
        more_pending: 0,
        done: Vec::new(),
        done_count: 3,
        queue_kept: None,
        gpus_unknown: None,
    };
    rig.shell.perform(Effect::PublishBoard(Box::new(board)));
    assert_eq!(fs::read_to_string(rig.dir.path().join("status.txt")).unwrap(), "3 jobs have ended\n");
}
