//! The keeper: one small process for each log directory that starts its jobs,
//! waits for them and outlives the scheduler.
//!
//! A scheduler starts it when it first needs one, as `PROGRAM __keep DIR`. It
//! is a session of its own, has one thread, and adopts the orphans of all its
//! jobs. It keeps a log, `keeper.jsonl`, in which it writes that a job is about
//! to be started *before* it starts it: so no attempt is ever run twice, even if
//! scheduler and keeper are both killed at the worst moment. It ends when no job
//! runs and no scheduler is connected.
//!
//! A job gets the environment, the working directory and the umask of the
//! scheduler that asks for it; its limits, its priority and its control group
//! are those of the scheduler that started the keeper.

mod answer;
mod jobs;
mod launch;
mod log;
mod seated;
mod seats;
mod serve;
mod setting;
mod stop;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use engine::keeper::KeeperRecord;
use model::Pid;
use rustix::fs::Mode;
use rustix::process::{getpid, set_child_subreaper, setsid, umask};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};

pub(crate) use jobs::Lead;
pub use log::LogError;
pub(crate) use log::{KIND, LOG};
pub(crate) use stop::signal_all;

use crate::medium::PathError;
use crate::point::{self, Point};
use crate::proc::{self, Mark};

/// The socket a keeper listens on, in the log directory.
pub(crate) const SOCKET: &str = "keeper.sock";

/// The file a living keeper holds locked, in the log directory.
pub(crate) const LOCK: &str = "keeper.lock";

/// What a keeper prints when it listens.
pub(crate) const READY: &str = "ready\n";

/// How long a new keeper waits for one before it that is just ending.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(3);

/// A keeper could not begin, or had to give up.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A file could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another keeper works in the directory.
    #[error("another keeper works in {} ({who})", dir.display())]
    Taken {
        /// The directory.
        dir: PathBuf,
        /// What its lock says of it.
        who: String,
    },
    /// The system refused something every keeper needs.
    #[error("cannot {doing}: {}", crate::medium::words(source))]
    System {
        /// What.
        doing: &'static str,
        /// The system's words.
        #[source]
        source: io::Error,
    },
}

/// Is the keeper of the log directory `dir`: returns when no job runs and no
/// scheduler is connected. For a process of its own that does nothing else, with
/// one thread; standard output gets one line when it listens, or one that says why
/// it can't.
///
/// SIGTERM, SIGINT and SIGHUP do nothing to it: jobs must not end with a
/// terminal. SIGKILL does no harm to the jobs either: they live on, the next
/// keeper looks after them, and only their exit status is lost.
///
/// # Errors
/// When it can't begin, for one because another keeper works there.
pub fn keep(dir: &Path) -> Result<(), KeepError> {
    let kept = keep_to_the_end(dir);
    if let Err(error) = &kept {
        // On a full disk nothing else reaches the one who started us.
        let _ = writeln!(io::stdout(), "{error}");
    }
    kept
}

fn keep_to_the_end(dir: &Path) -> Result<(), KeepError> {
    // The scheduler has seen to this already; it fails when it has.
    let _ = setsid();
    let dir = fs::canonicalize(dir).map_err(PathError::of("open", dir))?;
    let signals = Signals::set_up()?;
    set_child_subreaper(Some(getpid())).map_err(system("adopt orphans"))?;
    let lock = Lock::take(&dir)?;
    let boot_id = proc::boot_id().map_err(system("tell which boot this is"))?;
    let mut log = log::Log::open(dir.join(LOG))?;
    let opened = KeeperRecord::Opened { boot_id: boot_id.clone(), pid: Pid(std::process::id()) };
    log.intend(&[opened])?;
    point::pass(Point::KeeperOpened);
    let mark = Mark::new(&dir);
    let jobs = jobs::Jobs::adopt(boot_id, &mut log, &mark, &dir);
    let starter = launch::Starter::new(&dir)?;
    let listener = listen(&dir)?;
    // Whoever started us may not care.
    let _ = io::stdout().write_all(READY.as_bytes()).and_then(|()| io::stdout().flush());
    let result = serve::Keeper::new(listener, signals, log, jobs, starter, mark).run();
    // Nobody shall knock at the door of the dead; the lock goes after the door.
    let _ = fs::remove_file(dir.join(SOCKET));
    drop(lock);
    result
}

/// The signals that concern a keeper.
#[derive(Debug)]
struct Signals {
    pipe: UnixStream,
}

impl Signals {
    /// Handlers, even for what does nothing: unlike ignored signals they are
    /// not handed on to jobs.
    fn set_up() -> Result<Self, KeepError> {
        let no_system = |source| KeepError::System { doing: "handle signals", source };
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGXFSZ] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(no_system)?;
        }
        let (pipe, write) = UnixStream::pair().map_err(no_system)?;
        pipe.set_nonblocking(true).map_err(no_system)?;
        signal_hook::low_level::pipe::register(SIGCHLD, write).map_err(no_system)?;
        Ok(Self { pipe })
    }

    /// Whether children may have ended since the last call.
    fn take(&mut self) -> bool {
        let mut any = false;
        let mut bytes = [0; 512];
        while self.pipe.read(&mut bytes).is_ok_and(|count| count > 0) {
            any = true;
        }
        any
    }
}

/// The right to be the keeper of a directory.
#[derive(Debug)]
struct Lock {
    _file: File,
}

impl Lock {
    fn take(dir: &Path) -> Result<Self, KeepError> {
        let path = dir.join(LOCK);
        let Some(mut file) = take_lock(dir, WAIT_FOR_LOCK)? else {
            let who = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            return Err(KeepError::Taken { dir: dir.into(), who });
        };
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let who = format!("pid {} on {}\n", std::process::id(), host.trim());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(who.as_bytes()))
            .map_err(PathError::of("write", &path))?;
        Ok(Self { _file: file })
    }
}

/// Takes the lock that a living keeper holds; nothing where one holds it for
/// that long.
pub(crate) fn take_lock(dir: &Path, patience: Duration) -> Result<Option<File>, PathError> {
    let file = open_lock(dir)?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(PathError::of("lock", &dir.join(LOCK))(error)),
        }
    }
}

/// Opens the file that a living keeper holds locked.
pub(crate) fn open_lock(dir: &Path) -> Result<File, PathError> {
    let path = dir.join(LOCK);
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    options.open(&path).map_err(PathError::of("open", &path))
}

/// Runs `action` with a short path to the keeper's socket: the name of a socket
/// may have 107 bytes, and a log directory's path can be longer.
pub(crate) fn at_socket<T>(dir: &Path, action: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let directory = File::open(dir)?;
    action(Path::new(&format!("/proc/self/fd/{}/{SOCKET}", directory.as_fd().as_raw_fd())))
}

fn listen(dir: &Path) -> Result<UnixListener, KeepError> {
    let path = dir.join(SOCKET);
    let bind = |path: &Path| {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // For nobody but us, from the first moment on.
        let before = umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    Ok(at_socket(dir, bind).map_err(PathError::of("listen at", &path))?)
}

fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> KeepError {
    move |error| KeepError::System { doing, source: error.into() }
}
