//! What an ended attempt means, and what to ask for the next time. Pure: facts
//! in, a judgement out.

mod backoff;
mod declaration;
mod signatures;
mod verdict;

pub use backoff::Backoff;
pub use declaration::{Assessment, NextVram, after_oom, assess};
pub use signatures::{TAIL_BYTES, gpu_oom};
pub use verdict::{Stopped, Verdict, classify};
