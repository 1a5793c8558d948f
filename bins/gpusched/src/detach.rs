//! `gpusched start --detach`: the same command in a session of its own.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use driver::host::own_program;

use crate::failure::{Failure, Kind};
use crate::place::Place;
use crate::plan::{Plan, Watched};

/// How often to look whether it works by now.
const GLANCE: Duration = Duration::from_millis(20);

/// Starts the scheduler of this plan in the background, with the words of this
/// command, and waits until it works or has told why it can't.
///
/// # Errors
/// When it can't be started, or ends at once: in its own words.
pub fn run(plan: &Plan, watched: &Watched) -> Result<ExitCode, Failure> {
    let cannot = |error| Failure::cannot("go on in the background", &error);
    let dir = &plan.log_dir;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        Failure::cannot(format_args!("create the log directory {}", dir.display()), &error)
    })?;
    let place = Place::of(dir.clone());
    let complaints = dir.join("start.err");
    let mut child = spawn(&complaints).map_err(cannot)?;
    loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            return Err(refused(&complaints, status.code()));
        }
        let works = place.scheduler().is_some_and(|holder| holder.pid.0 == child.id());
        if works && is_ready(&place, child.id()) {
            // What ends it later is said there too, and outlasts the next start.
            let _ = fs::rename(&complaints, dir.join("detached.err"));
            let _ = writeln!(
                io::stdout(),
                "gpusched works in the background (pid {}); its words go to {}\n\
                 gpusched status shows the queue, gpusched stop ends it",
                child.id(),
                watched.log.display()
            );
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(GLANCE);
    }
}

/// Makes this process the leader of its own session, so that it outlives the
/// terminal.
///
/// # Errors
/// When the system refuses.
pub fn leave_terminal() -> Result<(), Failure> {
    driver::own_session().map_err(|error| Failure::cannot("leave the terminal", &error))
}

fn spawn(complaints: &Path) -> io::Result<Child> {
    let words: Vec<OsString> = env::args_os().skip(1).filter(|word| word != "--detach").collect();
    let err = OpenOptions::new().create(true).write(true).truncate(true).open(complaints)?;
    Command::new(own_program()?)
        .args(words)
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(File::create("/dev/null")?)
        .stderr(err)
        .spawn()
}

/// Whether it has published the state of the queue.
fn is_ready(place: &Place, pid: u32) -> bool {
    let status = place.status().ok().flatten().unwrap_or_default();
    status.get("pid").and_then(serde_json::Value::as_u64) == Some(pid.into())
}

/// Why it did not begin, in its own words.
fn refused(complaints: &Path, code: Option<i32>) -> Failure {
    let words = fs::read_to_string(complaints).unwrap_or_default();
    let kind = [Kind::Usage, Kind::NoGpus, Kind::Locked, Kind::Io]
        .into_iter()
        .find(|kind| code == Some(i32::from(kind.code())))
        .unwrap_or(Kind::Io);
    let words = words.trim_end();
    let message = words.strip_prefix("gpusched: ").unwrap_or(words);
    Failure::new(kind, if message.is_empty() { "the scheduler has ended at once" } else { message })
}
