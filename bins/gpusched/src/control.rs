//! Commands that ask a scheduler for something: `pause`, `resume`, `cancel`,
//! `retry` and `stop`.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use driver::mailbox::{Reply, post};
use engine::queue::{Ask, Ending};
use model::{GpuIndex, GpuSet, JobNo};

use crate::answers;
use crate::cli::{GpuArgs, JobArgs, StopArgs};
use crate::failure::{Failure, Kind};
use crate::place::Place;

/// How long to wait for an answer: a scheduler that reads a huge file takes its
/// time.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a scheduler may take to end once it has said that it does.
const LONGEST_END: Duration = Duration::from_secs(60);

/// `gpusched pause GPU` and, where `pause` is false, `gpusched resume GPU`.
///
/// # Errors
/// When it makes no sense, or is refused.
pub fn pause(args: &GpuArgs, pause: bool) -> Result<ExitCode, Failure> {
    let gpu = gpu(&args.gpu)?;
    let ask = if pause { Ask::Pause(gpu) } else { Ask::Resume(gpu) };
    ask_for(&Place::find(&args.place)?, ask)
}

/// `gpusched cancel N`.
///
/// # Errors
/// When it makes no sense, or is refused.
pub fn cancel(args: &JobArgs) -> Result<ExitCode, Failure> {
    ask_for(&Place::find(&args.place)?, Ask::Cancel(job(&args.job)?))
}

/// `gpusched retry N`.
///
/// # Errors
/// When it makes no sense, or is refused.
pub fn retry(args: &JobArgs) -> Result<ExitCode, Failure> {
    ask_for(&Place::find(&args.place)?, Ask::Retry(job(&args.job)?))
}

/// `gpusched stop`: returns when the scheduler has ended.
///
/// # Errors
/// When it can't be asked, or does not end.
pub fn stop(args: &StopArgs) -> Result<ExitCode, Failure> {
    let place = Place::find(&args.place)?;
    let Some(holder) = place.scheduler() else {
        return Ok(say(&format!("no gpusched works in {}", place.dir().display())));
    };
    let ending = if args.jobs { Ending::EndJobs } else { Ending::KeepJobs };
    let code = ask_for(&place, Ask::Stop(ending))?;
    let deadline = Instant::now() + LONGEST_END;
    while place.scheduler().is_some() {
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Kind::Refused,
                format!("gpusched (pid {}) has not ended yet", holder.pid),
            )
            .hint("its running jobs take their time; what it says is in its log"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(code)
}

/// Posts a request, and tells the answer.
fn ask_for(place: &Place, ask: Ask) -> Result<ExitCode, Failure> {
    let posted = post(place.dir(), &ask).map_err(|error| Failure::caused(Kind::Io, &error))?;
    let works = || place.scheduler().is_some();
    match posted.wait(PATIENCE, works) {
        Some(Reply { done: true, text }) => Ok(say(&text)),
        Some(Reply { done: false, text }) => Err(Failure::new(Kind::Refused, text)),
        None if works() => Err(Failure::new(
            Kind::Refused,
            format!("gpusched has not answered within {} s", PATIENCE.as_secs()),
        )
        .hint("the request stays in its mailbox and is done as soon as it can be")),
        None if matches!(ask, Ask::Stop(_)) => {
            posted.take_back();
            Ok(say("gpusched has ended"))
        }
        None => Ok(say(&format!(
            "no gpusched works in {}: this is done as soon as one does",
            place.dir().display()
        ))),
    }
}

fn say(text: &str) -> ExitCode {
    // Nobody may be listening.
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn gpu(text: &str) -> Result<GpuIndex, Failure> {
    let gpu =
        GpuSet::parse(text).ok().and_then(|set| set.iter().next()).filter(|gpu| gpu.to_string() == text);
    gpu.ok_or_else(|| {
        Failure::usage(format!("'{text}' is not the index of a GPU"))
            .hint("name one as nvidia-smi counts them, from 0")
    })
}

/// The number of a job.
///
/// # Errors
/// When it is none.
pub fn job(text: &str) -> Result<JobNo, Failure> {
    answers::job_no(text).ok_or_else(|| {
        Failure::usage(format!("'{text}' is not the number of a job"))
            .hint("gpusched status shows the numbers")
    })
}
