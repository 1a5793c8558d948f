//! A log directory, a host, and waiting for what must come.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use backend::JobHost;
use driver::host::{HostNews, KeeperConfig, KeeperHost, LogNames};
use driver::proc::Process;
use model::{
    AttemptId, AttemptSighting, Exit, GpuIndex, GpuUuid, JobKey, JobNo, Launch, LaunchError, Pid, Presence,
    Setting,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// The example beside this test's own binary, which Cargo builds with it.
pub(crate) fn keeper_program() -> PathBuf {
    let own = env::current_exe().unwrap();
    let program = own.parent().and_then(Path::parent).unwrap().join("examples/keep");
    assert!(program.exists(), "run `cargo build -p driver --examples` first");
    program
}

pub(crate) fn config(dir: &Path) -> KeeperConfig {
    let more = [("INHERITED", "yes"), ("EXTRA", "too")].map(|(name, value)| (name.into(), value.into()));
    KeeperConfig {
        dir: dir.into(),
        program: keeper_program(),
        environment: env::vars_os().chain(more).collect(),
        cwd: fs::canonicalize(dir).unwrap(),
        logs: LogNames::ByGpu,
        seat: None,
    }
}

/// The `attempt`-th execution of job `no`.
pub(crate) fn attempt_of(no: u32, attempt: u32) -> AttemptId {
    JobKey::new([7; 6], no).attempt(attempt)
}

pub(crate) fn launch(no: u32, command: &str) -> Launch {
    Launch {
        attempt: attempt_of(no, 1),
        no: JobNo(no),
        command: command.to_owned(),
        gpus: vec![(GpuIndex(0), GpuUuid("GPU-a".into())), (GpuIndex(3), GpuUuid("GPU-b".into()))],
        setting: Setting::default(),
    }
}

/// Waits for something to become true.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A scheduler of sorts: a host and all it has told.
pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    pub(crate) host: KeeperHost,
    pub(crate) seen: Vec<AttemptSighting>,
    pub(crate) refused: Vec<(AttemptId, LaunchError)>,
    pub(crate) gone: usize,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::in_dir(tempfile::tempdir().unwrap())
    }

    pub(crate) fn in_dir(dir: TempDir) -> Self {
        let config = config(dir.path());
        Self::with(dir, config)
    }

    pub(crate) fn with(dir: TempDir, config: KeeperConfig) -> Self {
        let host = KeeperHost::open(config).unwrap();
        Self { dir, host, seen: Vec::new(), refused: Vec::new(), gone: 0 }
    }

    /// The scheduler dies and another one comes: all that was told is forgotten.
    pub(crate) fn reborn(self) -> Self {
        let Self { dir, host, .. } = self;
        drop(host);
        Self::in_dir(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn start(&mut self, no: u32, command: &str) -> AttemptId {
        let launch = launch(no, command);
        self.host.launch(&launch).unwrap();
        launch.attempt
    }

    /// Starts a job and waits until it runs.
    #[track_caller]
    pub(crate) fn running(&mut self, no: u32, command: &str) -> (AttemptId, Pid) {
        let attempt = self.start(no, command);
        let running = |presence: &Presence| match presence {
            Presence::Running { pid, .. } => Some(*pid),
            Presence::Ended { .. } | Presence::Lost(_) | Presence::Interrupted | Presence::Voided => None,
        };
        (attempt, self.wait(attempt, running))
    }

    /// Takes in news, waiting for some if there is none.
    pub(crate) fn listen(&mut self) {
        {
            let mut fds: Vec<_> =
                self.host.fds().into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            poll(&mut fds, Some(&timeout)).unwrap();
        }
        for news in self.host.news() {
            match news {
                HostNews::Sightings(sightings) => self.seen.extend(sightings),
                HostNews::Refused { attempt, why } => self.refused.push((attempt, why)),
                HostNews::KeeperGone(_) => self.gone += 1,
            }
        }
    }

    /// Waits for a sighting of an attempt.
    #[track_caller]
    pub(crate) fn wait<T>(&mut self, attempt: AttemptId, wanted: impl Fn(&Presence) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let of_it = self.seen.iter().filter(|sighting| sighting.attempt == attempt);
            if let Some(found) = of_it.map(|sighting| &sighting.presence).find_map(&wanted) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain: {:?} {:?}", self.seen, self.refused);
            self.listen();
        }
    }

    /// Waits for the end of an attempt: how, the end of its log, and whether
    /// others of it live on.
    #[track_caller]
    pub(crate) fn end(&mut self, attempt: AttemptId) -> (Exit, String, bool) {
        self.wait(attempt, |presence| match presence {
            Presence::Ended { exit, tail, survivors, .. } => Some((*exit, tail.to_string(), *survivors)),
            Presence::Running { .. } | Presence::Lost(_) | Presence::Interrupted | Presence::Voided => None,
        })
    }

    #[track_caller]
    pub(crate) fn refusal(&mut self, attempt: AttemptId) -> LaunchError {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some((_, why)) = self.refused.iter().find(|(of, _)| *of == attempt) {
                return why.clone();
            }
            assert!(Instant::now() < deadline, "waited in vain: {:?}", self.seen);
            self.listen();
        }
    }

    /// What a survey says of an attempt.
    pub(crate) fn surveyed(&mut self, attempt: AttemptId) -> Option<Presence> {
        let all = self.host.survey().unwrap();
        all.into_iter().find(|sighting| sighting.attempt == attempt).map(|sighting| sighting.presence)
    }

    /// The keeper, as its lock tells.
    #[track_caller]
    pub(crate) fn keeper(&self) -> Pid {
        let text = self.read("keeper.lock");
        Pid(text.split_ascii_whitespace().nth(1).and_then(|pid| pid.parse().ok()).unwrap())
    }
}

/// A pid that a job has written to a file.
#[track_caller]
pub(crate) fn pid_in(path: &Path) -> Pid {
    let read = || fs::read_to_string(path).ok()?.trim().parse().ok().map(Pid);
    until("a pid in a file", || read().is_some());
    read().unwrap()
}

pub(crate) fn is_alive(pid: Pid) -> bool {
    Process::read(pid).is_some_and(|process| process.is_alive())
}
