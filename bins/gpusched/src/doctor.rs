//! `gpusched doctor`: what this machine has, and what follows for a queue.
//!
//! `facts` looks, `words` says what it means. Every look is taken on a thread of
//! its own and waited for only so long: a home directory on a server that is
//! gone, or a driver that hangs, must not keep the rest from being told.

mod facts;
mod words;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::DoctorArgs;
use crate::failure::{Failure, Kind};
use words::{Mark, Row};

/// How long the GPUs may take to answer: NVML has to be given up on before
/// `nvidia-smi` is asked, and a driver that has to wake up takes seconds.
const PATIENCE_WITH_GPUS: Duration = Duration::from_secs(75);

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who waits for longer than this wants to know for what.
const SOON: Duration = Duration::from_secs(5);

/// Looks, says what was found, and gives the exit code: 69 where the GPUs
/// cannot be used, as a queue would.
///
/// # Errors
/// When the words make no sense, or nobody takes what is said.
pub fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    if args.sim == Some(0) {
        return Err(Failure::usage("--sim 0: there is nothing to run on without a GPU"));
    }
    let machine = Pending::machine();
    let mut rows = match args.sim {
        Some(count) => vec![words::simulated(count)],
        None => real_gpus(args),
    };
    // Everything about real GPUs that is wrong keeps a queue from running.
    let usable = rows.iter().all(|row| !row.is_fatal);
    rows.extend(machine.rows());
    let text = if args.json { words::json(&rows, usable) } else { words::text(&rows) };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::cannot("write to standard output", &error))?;
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::from(Kind::NoGpus.code()) })
}

/// What is to be said of the machine's GPUs.
fn real_gpus(args: &DoctorArgs) -> Vec<Row> {
    let began = Instant::now();
    let source = args.read_gpus;
    let gpus = begin(move || facts::gpus(source));
    let mps = begin(facts::mps);
    let answer = gpus.recv_timeout(SOON).or_else(|error| match error {
        RecvTimeoutError::Timeout => {
            // There is nobody left to tell that this could not be told.
            let _ = writeln!(io::stderr(), "gpusched: the GPUs have not answered yet; still waiting");
            gpus.recv_timeout(PATIENCE_WITH_GPUS.saturating_sub(began.elapsed()))
        }
        RecvTimeoutError::Disconnected => Err(error),
    });
    let Ok(found) = answer else {
        return vec![words::silent_gpus(PATIENCE_WITH_GPUS)];
    };
    let mut rows = words::gpus(&found);
    let inherited = env::var_os(crate::visible::VARIABLE);
    rows.extend(words::visible(inherited.as_deref().map(|value| value.to_string_lossy()).as_deref(), &found));
    rows.push(awaited(&mps, "MPS", words::mps));
    rows
}

/// The looks at everything but GPUs, under way.
struct Pending {
    programs: Receiver<facts::Programs>,
    conda: Receiver<driver::conda::Installed>,
    memory: Receiver<facts::Memory>,
    notices: Receiver<Option<String>>,
    directory: Receiver<facts::Directory>,
}

impl Pending {
    fn machine() -> Self {
        let path = env::var_os("PATH");
        Self {
            programs: begin(move || facts::programs(path.as_deref())),
            conda: begin(|| {
                driver::conda::installed(&|name: &str| -> Option<OsString> { env::var_os(name) })
            }),
            memory: begin(facts::memory),
            notices: begin(|| facts::no_notices(&here())),
            directory: begin(|| facts::directory(&here())),
        }
    }

    fn rows(self) -> Vec<Row> {
        let mut rows = match self.programs.recv_timeout(PATIENCE) {
            Ok(programs) => words::programs(&programs),
            Err(_) => vec![Row::late("programs", PATIENCE)],
        };
        rows.push(awaited(&self.conda, "conda", words::conda));
        match self.memory.recv_timeout(PATIENCE) {
            Ok(memory) => rows.extend(words::memory(memory)),
            Err(_) => rows.push(Row::late("memory", PATIENCE)),
        }
        rows.push(awaited(&self.notices, "inotify", |why| words::notices(why.as_deref())));
        rows.push(awaited(&self.directory, "directory", words::directory));
        rows
    }
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

fn begin<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let _ = send.send(look());
    });
    receive
}

/// What is to be said of a thing, or that nothing was found out in time.
fn awaited<T>(look: &Receiver<T>, thing: &'static str, say: impl FnOnce(&T) -> Row) -> Row {
    look.recv_timeout(PATIENCE).map_or_else(|_| Row::late(thing, PATIENCE), |found| say(&found))
}

impl Row {
    fn late(thing: &'static str, patience: Duration) -> Self {
        Self::new(Mark::Bad, thing, words::no_answer(patience), "")
    }
}
