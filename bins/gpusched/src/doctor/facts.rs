//! Looking at the machine. What it means is not said here.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backend::{GpuBackend as _, Runner as _, Surroundings};
use backend_nvsmi::{NvidiaSmi, NvmlGpus};
use driver::command::Commands;
use driver::machine::{self, MemoryLimit};
use driver::medium::words;
use model::GpuSnapshot;

use crate::cli::GpuSource;
use crate::failure::{Failure, Kind};

/// How long `nvidia-smi` may take for a question besides.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where MPS has its pipes unless somebody says otherwise (NVIDIA's manual of
/// MPS, `CUDA_MPS_PIPE_DIRECTORY`).
const MPS_PIPES: &str = "/tmp/nvidia-mps";

/// The GPUs, and how they are read.
pub(super) struct Gpus {
    /// The version of the driver, or why NVML can't be used; nothing where it
    /// was not asked.
    pub(super) nvml: Option<Result<String, String>>,
    /// Where `nvidia-smi` is.
    pub(super) smi: Option<PathBuf>,
    /// Whether `nvidia-smi` was asked for the GPUs.
    pub(super) by_smi: bool,
    /// What was read, or why nothing.
    pub(super) snapshot: Result<GpuSnapshot, String>,
    /// The indices of the GPUs whose persistence mode is off, where that is
    /// known.
    pub(super) not_persistent: Option<Vec<String>>,
}

/// Asks for the GPUs. NVML may hang, and nothing can end it then.
pub(super) fn gpus(source: GpuSource) -> Gpus {
    let opened = (source != GpuSource::NvidiaSmi).then(NvmlGpus::open);
    let (nvml, mut opened) = match opened {
        None => (None, None),
        Some(Ok(gpus)) => (Some(Ok(gpus.driver_version())), Some(gpus)),
        Some(Err(error)) => (Some(Err(Failure::caused(Kind::NoGpus, &error).message)), None),
    };
    let smi = machine::on_path("nvidia-smi", env::var_os("PATH").as_deref());
    let by_smi = opened.is_none() && source != GpuSource::Nvml;
    let snapshot = match (&mut opened, &nvml) {
        (Some(gpus), _) => gpus.snapshot().map_err(|error| error.to_string()),
        (None, Some(Err(why))) if !by_smi => Err(why.clone()),
        (None, _) => NvidiaSmi::new(Commands::default()).snapshot().map_err(|error| error.to_string()),
    };
    // One that does not answer the first question is not asked a second one.
    let answers = smi.is_some() && snapshot.is_ok();
    Gpus { nvml, smi, by_smi, snapshot, not_persistent: answers.then(not_persistent).flatten() }
}

fn not_persistent() -> Option<Vec<String>> {
    let query = ["nvidia-smi", "--query-gpu=index,persistence_mode", "--format=csv,noheader"];
    let output = Commands::default()
        .run(&Surroundings::plain(), &query, PATIENCE)
        .ok()
        .filter(|output| output.code == Some(0))?;
    let mut off = Vec::new();
    for line in output.stdout.lines() {
        let (index, mode) = line.split_once(',')?;
        match mode.trim() {
            "Enabled" => {}
            "Disabled" => off.push(index.trim().to_owned()),
            _ => return None,
        }
    }
    Some(off)
}

/// NVIDIA's Multi-Process Service.
pub(super) struct Mps {
    /// Whether its control daemon is seen to run.
    pub(super) runs: bool,
    /// The directory of its pipes, where it is there.
    pub(super) pipes: Option<PathBuf>,
}

/// Looks for MPS.
pub(super) fn mps() -> Mps {
    let pipes = env::var_os("CUDA_MPS_PIPE_DIRECTORY").filter(|dir| !dir.is_empty());
    let pipes = pipes.map_or_else(|| PathBuf::from(MPS_PIPES), PathBuf::from);
    let is_there = pipes.join("control").exists();
    Mps { runs: machine::runs("nvidia-cuda-mps-control"), pipes: is_there.then_some(pipes) }
}

/// Where programs are, by the order of `PATH`.
pub(super) struct Programs {
    pub(super) screen: Option<PathBuf>,
    pub(super) tmux: Option<PathBuf>,
    pub(super) python: Option<PathBuf>,
    pub(super) python3: Option<PathBuf>,
}

/// Looks for programs.
pub(super) fn programs(path: Option<&OsStr>) -> Programs {
    let find = |program| machine::on_path(program, path);
    Programs { screen: find("screen"), tmux: find("tmux"), python: find("python"), python3: find("python3") }
}

/// What bounds the machine's own memory, and whether this is all of a machine.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) limit: MemoryLimit,
    pub(super) in_container: bool,
}

/// Looks for limits, and for the marks that Docker, Podman, systemd-nspawn and
/// Kubernetes leave.
pub(super) fn memory() -> Memory {
    let files = ["/.dockerenv", "/run/.containerenv"];
    let variables = ["container", "KUBERNETES_SERVICE_HOST"];
    let in_container = files.iter().any(|file| Path::new(file).exists())
        || variables.iter().any(|name| env::var_os(name).is_some());
    Memory { limit: machine::memory_limit(), in_container }
}

/// Why the kernel gives no notices about a directory; nothing where it does.
pub(super) fn no_notices(dir: &Path) -> Option<String> {
    machine::gives_notices(dir).err().map(|error| words(&error))
}

/// What kind of file system a directory is on, where others may write to it, or
/// why that can't be told.
pub(super) type Directory = Result<Option<&'static str>, String>;

/// Looks at the file system of a directory.
pub(super) fn directory(dir: &Path) -> Directory {
    machine::shared_file_system(dir).map_err(|error| words(&error))
}
