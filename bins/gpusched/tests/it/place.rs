//! A directory to run the program in, and the program running in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::wait_until;
use tempfile::TempDir;

/// No test waits longer for anything.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Runs until a file `go` is there.
pub(crate) const UNTIL_GO: &str = "until [ -e go ]; do sleep 0.05; done";

/// A directory with a jobs file.
pub(crate) struct Place {
    dir: TempDir,
}

/// The program at work. Ended when it goes out of scope.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// A new directory whose `jobs.txt` has these lines.
    pub(crate) fn new(jobs: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.write("jobs.txt", jobs);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A file's text; empty where there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What the log of a job says.
    pub(crate) fn log(&self, name: &str) -> String {
        self.read(&format!("gpusched_logs/{name}.log"))
    }

    /// Changes the jobs file as an editor does: all at once.
    pub(crate) fn edit(&self, jobs: &str) {
        self.write("jobs.new", jobs);
        fs::rename(self.path("jobs.new"), self.path("jobs.txt")).unwrap();
    }

    /// The program in this directory, without its words.
    pub(crate) fn program(&self) -> Command {
        self.in_place(Command::new(env!("CARGO_BIN_EXE_gpusched")))
    }

    /// A command that runs in this directory, with nothing of ours about it.
    pub(crate) fn in_place(&self, mut command: Command) -> Command {
        command.current_dir(&self.dir).stdin(Stdio::null());
        for variable in ["GPUSCHED_SIM_DIR", "CUDA_VISIBLE_DEVICES", "PYTHONPATH"] {
            command.env_remove(variable);
        }
        command
    }

    /// `gpusched jobs.txt --sim 2` with more flags.
    pub(crate) fn queue(&self, flags: &[&str]) -> Command {
        let mut command = self.program();
        command.args(["jobs.txt", "--sim", "2", "--poll", "0.1"]).args(flags);
        command
    }

    /// Starts a command, its output in files.
    pub(crate) fn start(&self, mut command: Command) -> Running {
        let (out, err) = (self.path("out"), self.path("err"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Running { child: command.spawn().unwrap(), out, err }
    }

    /// Runs `gpusched jobs.txt --sim 2` with more flags to its end.
    pub(crate) fn run(&self, flags: &[&str]) -> Done {
        self.start(self.queue(flags)).wait()
    }

    /// What the board says.
    pub(crate) fn board(&self) -> String {
        self.read("gpusched_logs/status.txt")
    }

    /// Whether a keeper works in this directory.
    pub(crate) fn has_keeper(&self) -> bool {
        self.keeper().is_some()
    }

    /// The pid of the keeper that works in this directory.
    pub(crate) fn keeper(&self) -> Option<u32> {
        let dir = self.path("gpusched_logs").canonicalize().unwrap();
        processes().find(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = words.split(|byte| *byte == 0);
            words.any(|word| word == b"__keep")
                && words.any(|word| word == dir.as_os_str().as_encoded_bytes())
        })
    }

    /// The jobs of this directory that run, and all they have started.
    pub(crate) fn job_processes(&self) -> Vec<u32> {
        let Ok(dir) = self.path("gpusched_logs").canonicalize() else { return Vec::new() };
        let mark = [b"GPUSCHED_DIR=", dir.as_os_str().as_encoded_bytes()].concat();
        let is_marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        };
        processes().filter(is_marked).collect()
    }
}

impl Drop for Place {
    /// What a test that failed has left running ends with it.
    fn drop(&mut self) {
        if std::thread::panicking() && is_there(&self.path("gpusched_logs")) {
            for pid in self.keeper().into_iter().chain(self.job_processes()) {
                let _ = Command::new("/bin/sh").arg("-c").arg(format!("kill -KILL {pid}")).status();
            }
        }
    }
}

/// The pids of all processes.
fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

impl Running {
    /// What it has printed so far.
    pub(crate) fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// Waits until it has printed something.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        wait_until(text, LONG, || self.out().contains(text));
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal (`INT`).
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Done {
        wait_until("the program ends", LONG, || self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code();
        Done { code, out: self.out(), err: fs::read_to_string(&self.err).unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Twice: it kills its jobs then, and they are not left running.
        for _ in 0..2 {
            if self.child.try_wait().is_ok_and(|status| status.is_none()) {
                self.signal("INT");
            }
        }
        let _ = self.child.wait();
    }
}

impl Done {
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.out.contains(text), "no '{text}' in\n{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}

/// Sends a process a signal (`INT`).
#[track_caller]
pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("/bin/sh").arg("-c").arg(format!("kill -{name} {pid}")).status().unwrap();
    assert!(status.success(), "cannot send {name} to {pid}");
}

/// Whether a file lies there.
pub(crate) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
