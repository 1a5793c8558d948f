//! Watching GPUs.

use model::{GpuSnapshot, Unavailable};

/// Reads the state of all GPUs of this machine.
pub trait GpuBackend: Send {
    /// All GPUs and the processes on them, now. Bounded in time.
    ///
    /// # Errors
    /// When the state cannot be told; that is no statement about any GPU.
    fn snapshot(&mut self) -> Result<GpuSnapshot, Unavailable>;
}
