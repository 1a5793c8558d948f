//! Reads GPU state by NVML, the driver's own library, or from `nvidia-smi`.
//!
//! NVML is loaded at run time, so the same program runs where there is no
//! driver. It answers in well under a millisecond and starts no process;
//! `nvidia-smi` takes 10 to 20 ms, and seconds where persistence mode is off,
//! but it is there in places where NVML can't be loaded, as from a static
//! executable.
//!
//! A cell the driver does not fill (`[N/A]` and its many spellings) is unknown,
//! never 0. An answer that can't be made out as a whole is
//! [`Unavailable`], never a GPU fewer.
//!
//! **Invariant:** programs are run through [`Runner`] alone, and nothing here
//! reads the environment, a file or a clock.

mod nvml;
mod parse;
mod query;
mod refusal;
#[cfg(test)]
mod shown;

use backend::{GpuBackend, Runner};
use model::{GpuSnapshot, Mib, Unavailable};

pub use nvml::{NvmlError, NvmlGpus};
pub use query::NvidiaSmi;

/// Which way to read the GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// NVML where it works, else `nvidia-smi`.
    Auto,
    /// NVML or nothing.
    Nvml,
    /// `nvidia-smi`.
    NvidiaSmi,
}

/// The GPUs of this machine, read the way that [`open`] found.
pub struct Gpus {
    backend: Box<dyn GpuBackend>,
    description: String,
}

/// Finds a way to read the GPUs. With [`Choice::Auto`] and
/// [`Choice::NvidiaSmi`] this always succeeds; whether `nvidia-smi` is there
/// shows at the first snapshot.
///
/// NVML is tried out with one snapshot, which takes seconds where the driver
/// has to wake up first, and can hang with a broken GPU: whoever must not hang
/// calls this on a thread of its own, as the later snapshots.
///
/// # Errors
/// With [`Choice::Nvml`], when NVML can't be used.
pub fn open<R: Runner + 'static>(runner: R, choice: Choice) -> Result<Gpus, NvmlError> {
    let nvml = match choice {
        Choice::NvidiaSmi => return Ok(Gpus::new(NvidiaSmi::new(runner), "nvidia-smi".to_owned())),
        Choice::Auto | Choice::Nvml => NvmlGpus::open(),
    };
    match nvml {
        Ok(gpus) => {
            let description = format!("NVML, driver {}", gpus.driver_version());
            Ok(Gpus::new(gpus, description))
        }
        Err(error) if choice == Choice::Nvml => Err(error),
        Err(error) => Ok(Gpus::new(NvidiaSmi::new(runner), format!("nvidia-smi ({error})"))),
    }
}

impl Gpus {
    fn new(backend: impl GpuBackend + 'static, description: String) -> Self {
        Self { backend: Box::new(backend), description }
    }

    /// Where the numbers come from, in words: `NVML, driver 570.124` or
    /// `nvidia-smi (NVML cannot be used)`.
    pub fn describe(&self) -> &str {
        &self.description
    }
}

impl GpuBackend for Gpus {
    fn snapshot(&mut self) -> Result<GpuSnapshot, Unavailable> {
        self.backend.snapshot()
    }
}

/// The most memory an idle GPU reports as used. A process that computes holds
/// more: its CUDA context alone takes a hundred MiB or more.
const IDLE: Mib = Mib::new(16);

/// Whether a GPU is known to be idle, so that nobody needs to ask for the
/// processes on it, which is the dearest question of all.
fn is_idle(used: Option<Mib>) -> bool {
    used.is_some_and(|used| used <= IDLE)
}

/// Whether a process can hold `used` on a GPU of `total`. Some drivers answer
/// with records of another layout, whose numbers are noise.
fn is_plausible(used: Mib, total: Option<Mib>) -> bool {
    total.is_none_or(|total| used <= total)
}
