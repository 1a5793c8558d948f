//! Starting a keeper.

use std::env;
use std::ffi::{CStr, CString, NulError, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::Pid;
use rustix::event::PollFlags;
use rustix::process::{WaitOptions, waitpid};

use crate::host::link::{environment, wait_for};
use crate::host::{HostError, KeeperConfig};
use crate::keeper::READY;
use crate::medium::PathError;
use crate::proc;
use crate::spawn::{Program, Stdio, start};

/// Where a keeper's last words go, in the log directory.
const LAST_WORDS: &str = "keeper.err";

/// The program that this process runs, wherever it lies now.
const OWN: &CStr = c"/proc/self/exe";

/// The path of the program that this process runs, also where it was replaced or
/// removed in the meantime: what lies there now may be another version.
///
/// # Errors
/// When the system does not tell.
pub fn own_program() -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    let gone = path.as_os_str().as_bytes().strip_suffix(b" (deleted)").map(OsStr::from_bytes);
    Ok(gone.filter(|_| !path.exists()).map(PathBuf::from).unwrap_or(path))
}

fn is_own(program: &Path) -> bool {
    own_program().is_ok_and(|own| own == program)
}

/// A keeper that has been started and does not listen yet.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) pid: Pid,
    /// Its standard output: it writes a line when it listens, or when it can't.
    output: PipeReader,
    /// What it has written there.
    said: String,
    /// Where its standard error goes.
    words: File,
    /// What was in that file before.
    words_from: u64,
}

impl Birth {
    /// Starts `PROGRAM __keep DIR`, detached from our terminal and our files.
    pub(super) fn new(config: &KeeperConfig) -> Result<Self, HostError> {
        let failed = |source| HostError::Start { program: config.program.clone(), source };
        let path = config.dir.join(LAST_WORDS);
        let options = OpenOptions::new().read(true).append(true).create(true).mode(0o600).clone();
        let words = options.open(&path).map_err(PathError::of("open", &path))?;
        let words_from = words.metadata().map_err(PathError::of("open", &path))?.len();
        let nothing = File::open("/dev/null").map_err(failed)?;
        let (output, its_output) = io::pipe().map_err(failed)?;
        let texts = Texts::new(config).map_err(|error| failed(error.into()))?;
        let environment: Vec<_> = texts.environment.iter().map(CString::as_c_str).collect();
        let close = inherited();
        let start_as = |path: &CStr| {
            start(&Program {
                path,
                arguments: &[&texts.program, c"__keep", &texts.dir],
                environment: &environment,
                stdio: Stdio::Files([nothing.as_fd(), its_output.as_fd(), words.as_fd()]),
                close: &close,
            })
        };
        let pid = match start_as(&texts.program) {
            // It is being replaced, or was removed; what we are made of is still there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_own(&config.program) => start_as(OWN),
            started => started,
        }
        .map_err(failed)?;
        Ok(Self { pid, output, said: String::new(), words, words_from })
    }

    /// Waits until it listens or has ended, or the time is over.
    pub(super) fn wait(&mut self, timeout: Duration) {
        if wait_for(self.output.as_fd(), PollFlags::IN, Instant::now() + timeout) {
            let mut bytes = [0; 1024];
            let length = self.output.read(&mut bytes).unwrap_or(0);
            self.said = String::from_utf8_lossy(&bytes[..length]).into_owned();
        }
    }

    /// Why it has ended, in its own words. On a full disk only those reach us
    /// that need no file.
    pub(super) fn last_words(mut self) -> String {
        if !self.said.is_empty() && self.said != READY {
            return self.said.trim().to_owned();
        }
        let mut words = String::new();
        let read = self.words.seek(SeekFrom::Start(self.words_from));
        if read.and_then(|_| self.words.read_to_string(&mut words)).is_err() {
            return "its last words can't be read".to_owned();
        }
        words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("without a word").to_owned()
    }
}

/// What the system needs with a NUL at its end.
struct Texts {
    program: CString,
    dir: CString,
    environment: Vec<CString>,
}

impl Texts {
    fn new(config: &KeeperConfig) -> Result<Self, NulError> {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes());
        let environment = environment(config)
            .into_iter()
            .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok())
            .collect();
        Ok(Self { program: text(&config.program)?, dir: text(&config.dir)?, environment })
    }
}

/// Descriptors that this process may have been given by whoever started it. A
/// keeper would hold them for as long as it lives: a lock, say, or a pipe whose
/// reader waits for its end.
fn inherited() -> Vec<RawFd> {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect()
}

/// Collects a keeper of ours that has ended.
pub(super) fn reap(child: &mut Option<Pid>) {
    let ended = |pid: Pid| !matches!(waitpid(proc::raw(pid), WaitOptions::NOHANG), Ok(None));
    if child.is_some_and(ended) {
        *child = None;
    }
}
