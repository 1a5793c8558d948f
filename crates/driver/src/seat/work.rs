//! The seat at work: one job, its terminal, and the session's.

use std::env;
use std::ffi::{CStr, CString, NulError, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use model::{AttemptId, Exit, Pid, StopSignal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::process::{Signal, WaitOptions, getppid, kill_process_group, umask, waitpid};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ,
};

use crate::keeper::{Lead, signal_all};
use crate::medium::PathError;
use crate::point::{self, Point};
use crate::proc::{self, Mark};
use crate::seat::files::{Being, End, Files, Occupant, Order};
use crate::seat::output::{Log, Queue};
use crate::seat::terminal::{Inner, Outer};
use crate::spawn::{Program, Stdio, start};
use crate::wire::Text;

/// How long after the session has gone away a job is told to end, and how long
/// after it is made to.
const TERM_AFTER: Duration = Duration::from_secs(1);
const KILL_AFTER: Duration = Duration::from_secs(10);

/// How often to try again what may work later.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often at a time a job's output is read, that nothing else need wait.
const READS: usize = 16;

/// A seat could not begin, or could not tell how its job ended.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// A file could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is no order for it, or another took it.
    #[error("there is nothing to start here: {}", crate::medium::words(.0))]
    Order(#[source] io::Error),
    /// The system refused something every seat needs.
    #[error("cannot {doing}: {}", crate::medium::words(source))]
    System {
        /// What.
        doing: &'static str,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// What the job is to be started with can't be passed on.
    #[error("the command holds a NUL byte")]
    Nul(#[from] NulError),
}

/// Is the seat of an attempt, in a session of screen or tmux: takes its order from
/// the log directory `dir`, starts the job, and returns when the job has ended
/// and that is written down. For a process of its own with one thread.
///
/// SIGTERM and SIGINT do nothing to it. When the session goes away, it ends the
/// job, and such a job never counts as a success. SIGKILL takes the job with it:
/// how it would have ended is then not known, and it counts as killed.
///
/// # Errors
/// When there is nothing to start, or something went wrong before the start.
pub fn sit(dir: &Path, attempt: AttemptId) -> Result<(), SeatError> {
    let dir = fs::canonicalize(dir).map_err(PathError::of("open", dir))?;
    let files = Files::new(&dir, attempt);
    let order = files.order().map_err(SeatError::Order)?;
    let sat = sit_down(&dir, &files, attempt, &order);
    if let Err(error) = &sat {
        // The session goes away with all it shows.
        let _ = files.words().map(|mut words| writeln!(words, "{error}"));
    }
    sat
}

fn sit_down(dir: &Path, files: &Files, attempt: AttemptId, order: &Order) -> Result<(), SeatError> {
    let signals = Signals::set_up().map_err(system("handle signals"))?;
    let mut occupant = occupant(attempt, order).ok_or_else(|| {
        let source = io::Error::from(io::ErrorKind::NotFound);
        SeatError::System { doing: "find this process in /proc", source }
    })?;
    // First, so that whoever finds the order taken finds out who took it.
    files.check_in(&occupant)?;
    point::pass(Point::SeatBeforeTaking);
    files.take().map_err(SeatError::Order)?;
    point::pass(Point::SeatAfterTaking);
    let end = match Work::begin(dir, order, signals) {
        Ok(work) => {
            point::pass(Point::SeatAfterSpawn);
            occupant.job = Being::of(work.job);
            work.go_on(files, &occupant, &Mark::new(dir))
        }
        Err(error) => End::Failed(error.to_string()),
    };
    point::pass(Point::SeatBeforeEnded);
    write_down(files, &end)?;
    point::pass(Point::SeatAfterEnded);
    Ok(())
}

fn occupant(attempt: AttemptId, order: &Order) -> Option<Occupant> {
    let socket = env::var_os("TMUX").map(|tmux| {
        let path = tmux.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default();
        Text::from(OsString::from(std::ffi::OsStr::from_bytes(path)))
    });
    Some(Occupant {
        attempt,
        no: order.no,
        kind: order.kind,
        session: order.session.clone(),
        seat: Being::of(Pid(std::process::id()))?,
        host: getppid().map(proc::pid).and_then(Being::of),
        job: None,
        socket,
    })
}

/// Writes down how it ended, until that has worked: on a full disk, too, some
/// time there is room for it.
fn write_down(files: &Files, end: &End) -> Result<(), SeatError> {
    loop {
        match files.finish(end) {
            Ok(()) => return Ok(()),
            Err(error) if files.are_gone() => return Err(error.into()),
            Err(_) => thread::sleep(TRY_AGAIN),
        }
    }
}

/// A job that runs, and all that belongs to it.
#[derive(Debug)]
struct Work {
    job: Pid,
    since: Instant,
    signals: Signals,
    /// Nothing once the session has gone away.
    outer: Option<Outer>,
    inner: Inner,
    log: Log,
    /// What was typed.
    keys: Queue,
    /// What is to be shown.
    shown: Queue,
    hung_up: Option<HungUp>,
}

/// The session has gone away, and the job is being ended.
#[derive(Debug)]
struct HungUp {
    at: Instant,
    told_to_end: bool,
}

impl Work {
    /// Starts the job.
    fn begin(dir: &Path, order: &Order, signals: Signals) -> Result<Self, SeatError> {
        let path = dir.join(&order.log);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let log = Log::new(file.map_err(PathError::of("open", &path))?);
        let outer = Outer::take();
        let inner = Inner::new(outer.as_ref()).map_err(system("open a terminal"))?;
        umask(Mode::from_raw_mode(order.umask));
        let cwd = Path::new(order.cwd.as_os_str());
        env::set_current_dir(cwd).map_err(PathError::of("enter", cwd))?;
        let since = Instant::now();
        let job = start_job(order, &inner)?;
        let (keys, shown) = (Queue::default(), Queue::default());
        Ok(Self { job, since, signals, outer, inner, log, keys, shown, hung_up: None })
    }

    /// Goes on until the job has ended.
    fn go_on(mut self, files: &Files, occupant: &Occupant, mark: &Mark) -> End {
        let mut told = false;
        loop {
            // Even before the first word of it is known: it may end at once.
            told = told || files.check_in(occupant).is_ok();
            if let Some(exit) = self.ended() {
                let elapsed_ms = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
                self.read_output(usize::MAX);
                self.log.finish();
                return End::Ended { exit, elapsed_ms };
            }
            if self.signals.hung_up() {
                self.hang_up();
            }
            self.end_job(occupant.attempt, mark);
            self.wait((!told || self.hung_up.is_some()).then_some(TRY_AGAIN));
        }
    }

    /// How the job has ended, if it has.
    fn ended(&self) -> Option<Exit> {
        let (_, status) = waitpid(proc::raw(self.job), WaitOptions::NOHANG).ok()??;
        let exit = proc::exit_of(status)?;
        // It may have ended in good order because it was told to; it was not left
        // to finish.
        let hangup = || u8::try_from(SIGHUP).map_or(exit, Exit::Signal);
        Some(if exit.is_success() && self.hung_up.is_some() { hangup() } else { exit })
    }

    /// Waits for anything to happen, and hands on what has come.
    fn wait(&mut self, patience: Option<Duration>) {
        let out = |queue: &Queue| if queue.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut fds = vec![
            PollFd::new(&self.signals.pipe, PollFlags::IN),
            PollFd::from_borrowed_fd(self.inner.as_fd(), PollFlags::IN | out(&self.keys)),
        ];
        if let Some(outer) = &self.outer {
            let keys = if self.keys.is_full() { PollFlags::empty() } else { PollFlags::IN };
            fds.push(PollFd::from_borrowed_fd(outer.as_fd(), keys | out(&self.shown)));
        }
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        // When it fails, it is as if anything might have happened.
        let _ = poll(&mut fds, timeout.as_ref());
        self.signals.take();
        self.inner.resize(self.outer.as_ref());
        self.read_output(READS);
        self.read_keys();
    }

    /// Takes in what the job has printed.
    fn read_output(&mut self, most: usize) {
        let mut chunk = [0; 16 * 1024];
        for _ in 0..most {
            let Ok(count @ 1..) = rustix::io::read(&self.inner, &mut chunk) else { break };
            let bytes = chunk.get(..count).unwrap_or_default();
            self.log.write(bytes);
            self.shown.show(bytes);
        }
        if let Some(outer) = &self.outer
            && self.shown.flush(outer.as_fd()).is_err()
        {
            self.hang_up();
        }
    }

    /// Takes in what was typed.
    fn read_keys(&mut self) {
        let mut chunk = [0; 4096];
        if let Some(outer) = &self.outer
            && !self.keys.is_full()
        {
            match rustix::io::read(outer, &mut chunk) {
                Ok(0) | Err(rustix::io::Errno::IO) => self.hang_up(),
                Ok(count) => self.keys.push(chunk.get(..count).unwrap_or_default()),
                Err(_) => {}
            }
        }
        // A job that has closed its terminal reads nothing.
        let _ = self.keys.flush(self.inner.as_fd());
    }

    /// The session has gone away: the job hears of it as from any terminal.
    fn hang_up(&mut self) {
        self.outer = None;
        if self.hung_up.is_some() {
            return;
        }
        self.hung_up = Some(HungUp { at: Instant::now(), told_to_end: false });
        if let Some(group) = proc::raw(self.job) {
            // It fails when all of the group have ended: nothing to do then.
            let _ = kill_process_group(group, Signal::HUP);
            let _ = kill_process_group(group, Signal::CONT);
        }
    }

    /// Ends a job whose session has gone away, if it does not end by itself.
    fn end_job(&mut self, attempt: AttemptId, mark: &Mark) {
        let Some(hung_up) = &mut self.hung_up else { return };
        let signal = match hung_up.at.elapsed() {
            long if long >= KILL_AFTER => StopSignal::Kill,
            some if some >= TERM_AFTER && !hung_up.told_to_end => StopSignal::Term,
            _ => return,
        };
        hung_up.told_to_end = true;
        signal_all(&[(attempt, signal)], mark, |_| Some((self.job, Lead::Own)));
    }
}

/// Starts the job on its terminal.
fn start_job(order: &Order, inner: &Inner) -> Result<Pid, SeatError> {
    let words = |texts: &[Text]| texts.iter().map(|text| CString::new(text.as_bytes())).collect();
    let arguments: Vec<CString> = Result::from_iter::<Vec<_>>(words(&order.arguments))?;
    let mut environment: Vec<CString> = Result::from_iter::<Vec<_>>(words(&order.environment))?;
    // It is on the session's terminal, whatever the scheduler is on.
    if let Some(term) = env::var_os("TERM")
        && !environment.iter().any(|pair| pair.as_bytes().starts_with(b"TERM="))
    {
        environment.push(CString::new([b"TERM=", term.as_bytes()].concat())?);
    }
    let arguments: Vec<&CStr> = arguments.iter().map(CString::as_c_str).collect();
    let environment: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
    let job = start(&Program {
        path: arguments.first().copied().unwrap_or(c"/bin/sh"),
        arguments: &arguments,
        environment: &environment,
        stdio: Stdio::Terminal(&inner.path),
        close: &[],
    })
    .map_err(system("start the job"))?;
    if let Some(score) = &order.oom_score {
        // A kindness to the machine; a job runs as well without.
        let _ = fs::write(format!("/proc/{job}/oom_score_adj"), score);
    }
    Ok(job)
}

/// The signals that concern a seat.
#[derive(Debug)]
struct Signals {
    pipe: UnixStream,
    hung_up: Arc<AtomicBool>,
}

impl Signals {
    /// Handlers, even for what does nothing: unlike ignored signals they are not
    /// handed on to the job.
    fn set_up() -> io::Result<Self> {
        for signal in [SIGTERM, SIGINT, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGXFSZ] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
        let hung_up = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGHUP, Arc::clone(&hung_up))?;
        let (pipe, write) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        for signal in [SIGHUP, SIGCHLD, SIGWINCH] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { pipe, hung_up })
    }

    fn hung_up(&self) -> bool {
        self.hung_up.load(Ordering::Relaxed)
    }

    /// Forgets that there were any.
    fn take(&self) {
        let mut bytes = [0; 512];
        while (&self.pipe).read(&mut bytes).is_ok_and(|count| count > 0) {}
    }
}

fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> SeatError {
    move |error| SeatError::System { doing, source: error.into() }
}
