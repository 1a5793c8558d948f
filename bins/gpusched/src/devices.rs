//! The GPUs of the plan: found, asked once, and checked against what was asked
//! for, before anything is queued.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use backend::GpuBackend;
use backend_nvsmi::Choice;
use backend_sim::reported::ReportedGpus;
use driver::command::Commands;
use model::{GpuIndex, GpuSnapshot};

use crate::cli::GpuSource;
use crate::failure::{Failure, Kind};
use crate::plan::Gpus;
use crate::report_text::join;
use crate::visible::{VARIABLE, visible};

/// GPUs that have answered.
pub struct Devices {
    /// Who reads them.
    pub backend: Box<dyn GpuBackend>,
    /// What is asked about them, in words.
    pub source: String,
    /// Those to use, where not all are ours.
    pub ours: Option<BTreeSet<GpuIndex>>,
    /// What to say about that.
    pub note: Option<String>,
}

/// A driver that has to wake up takes seconds, one in trouble minutes.
const PATIENCE: Duration = Duration::from_secs(75);

/// Who waits for longer than this wants to know for what.
const SOON: Duration = Duration::from_secs(5);

/// Finds the GPUs and asks them once. Those to use are the `wanted` ones, else
/// those the environment leaves us by its `CUDA_VISIBLE_DEVICES`, else all.
///
/// # Errors
/// When there are none, they can't be read, or some of `wanted` are not among
/// them.
pub fn find(
    gpus: Gpus,
    sim_dir: &Path,
    wanted: Option<&BTreeSet<GpuIndex>>,
    environment: Option<&str>,
) -> Result<Devices, Failure> {
    let (send, receive) = mpsc::channel();
    let sim_dir = sim_dir.to_owned();
    // The call may hang in the driver, and nothing can end it then.
    thread::spawn(move || {
        let _ = send.send(open(gpus, &sim_dir));
    });
    let answer = receive.recv_timeout(SOON).or_else(|error| match error {
        RecvTimeoutError::Timeout => {
            // There is nobody left to tell that this could not be told.
            let _ = writeln!(io::stderr(), "gpusched: the GPUs have not answered yet; still waiting");
            receive.recv_timeout(PATIENCE.saturating_sub(SOON))
        }
        RecvTimeoutError::Disconnected => Err(error),
    });
    let (mut devices, snapshot) = answer.unwrap_or_else(|error| {
        Err(no_gpus(match error {
            RecvTimeoutError::Timeout => format!("the driver has not answered for {} s", PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => "the thread that reads them has died".to_owned(),
        }))
    })?;
    check(&snapshot, wanted)?;
    devices.ours = wanted.cloned();
    if let (None, Gpus::Real(_), Some(value)) = (wanted, gpus, environment) {
        devices.note = Some(devices.keep_to(value, &snapshot)?);
    }
    Ok(devices)
}

impl Devices {
    /// Uses no other GPUs than a value of `CUDA_VISIBLE_DEVICES` leaves us.
    fn keep_to(&mut self, value: &str, snapshot: &GpuSnapshot) -> Result<String, Failure> {
        let ours = visible(value, snapshot);
        if ours.is_empty() {
            let what = format!("{VARIABLE} is '{value}', which leaves none of the GPUs to us");
            return Err(Failure::new(Kind::NoGpus, what)
                .hint(format!("unset {VARIABLE}, or name the GPUs to use: --gpus 0,1")));
        }
        let list: Vec<GpuIndex> = ours.iter().copied().collect();
        self.ours = Some(ours);
        let list = join(&list, ",");
        Ok(format!("{VARIABLE} is '{value}': using gpu [{list}] and no others (--gpus has the last word)"))
    }
}

fn open(gpus: Gpus, sim_dir: &Path) -> Result<(Devices, GpuSnapshot), Failure> {
    let (mut backend, source): (Box<dyn GpuBackend>, String) = match gpus {
        Gpus::Simulated(count) => {
            (Box::new(ReportedGpus::new(count, sim_dir.to_owned())), "simulated GPUs".to_owned())
        }
        Gpus::Real(source) => {
            let choice = match source {
                GpuSource::Auto => Choice::Auto,
                GpuSource::Nvml => Choice::Nvml,
                GpuSource::NvidiaSmi => Choice::NvidiaSmi,
            };
            let gpus = backend_nvsmi::open(Commands::default(), choice).map_err(no_gpus)?;
            let source = gpus.describe().to_owned();
            (Box::new(gpus), source)
        }
    };
    let snapshot = backend.snapshot().map_err(|error| no_gpus(format!("{error} (asked: {source})")))?;
    Ok((Devices { backend, source, ours: None, note: None }, snapshot))
}

fn check(snapshot: &GpuSnapshot, wanted: Option<&BTreeSet<GpuIndex>>) -> Result<(), Failure> {
    if snapshot.gpus.is_empty() {
        return Err(no_gpus("this machine has none"));
    }
    let missing: Vec<GpuIndex> =
        wanted.into_iter().flatten().filter(|gpu| !snapshot.gpus.contains_key(gpu)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let there: Vec<GpuIndex> = snapshot.gpus.keys().copied().collect();
    Err(Failure::usage(format!("--gpus: there is no GPU {}", join(&missing, ", ")))
        .hint(format!("the GPUs here are {}", join(&there, ", "))))
}

fn no_gpus(why: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::NoGpus, format!("cannot read the GPUs: {why}"))
        .hint("see what nvidia-smi says when you run it yourself: gpusched can use no GPU that it does not list")
        .hint("--sim 2 tries the queue on two simulated GPUs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_gpus_must_be_there() {
        let dir = Path::new("/nowhere");
        let wanted = |gpus: &[u16]| gpus.iter().copied().map(GpuIndex).collect::<BTreeSet<_>>();
        let find = |list: &[u16]| {
            find(Gpus::Simulated(2), dir, Some(&wanted(list)), None).map(|devices| devices.source)
        };
        assert_eq!(find(&[0, 1]), Ok("simulated GPUs".to_owned()));
        let failure = find(&[1, 2, 7]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "gpusched: --gpus: there is no GPU 2, 7\nhint: the GPUs here are 0, 1"
        );
        assert_eq!(failure.kind, Kind::Usage);
    }

    #[test]
    fn no_gpu_at_all_is_no_empty_success() {
        assert_eq!(check(&GpuSnapshot::default(), None).unwrap_err().kind, Kind::NoGpus);
    }
}
