//! What an attempt's end means.

use model::Exit;

use crate::gpu_oom;

/// Why we ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The user cancelled its job.
    Cancelled,
    /// It had the time its line gives it.
    TimedOut,
    /// The scheduler was told to end its jobs.
    Shutdown,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it was to do.
    Success,
    /// A GPU ran out of memory, by the rule of this name.
    OutOfMemory(&'static str),
    /// It failed for any other reason.
    Failed,
    /// It had its time.
    TimedOut,
    /// The user did not want it any more.
    Cancelled,
    /// It was ended through no fault of its own.
    Interrupted,
}

/// What came of an attempt that ended with `exit`, after we stopped it for the
/// reason `stopped`, if we did, with `tail` as the end of its output.
///
/// A job that is cancelled or out of time counts as such also when it then ends
/// in good order: it was not left to finish. One that the scheduler's own end
/// finds at its last line has finished, and is not run again.
pub fn classify(exit: Exit, stopped: Option<Stopped>, tail: &str) -> Verdict {
    match (stopped, exit.is_success()) {
        (Some(Stopped::Cancelled), _) => Verdict::Cancelled,
        (Some(Stopped::TimedOut), _) => Verdict::TimedOut,
        (Some(Stopped::Shutdown) | None, true) => Verdict::Success,
        (Some(Stopped::Shutdown), false) => Verdict::Interrupted,
        (None, false) => gpu_oom(tail).map_or(Verdict::Failed, Verdict::OutOfMemory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OOM: &str = "RuntimeError: CUDA error: out of memory";

    /// Checks an end without a reason of ours, and with each of the three.
    #[track_caller]
    fn check(exit: Exit, tail: &str, expect: [Verdict; 4]) {
        let reasons = [None, Some(Stopped::Cancelled), Some(Stopped::TimedOut), Some(Stopped::Shutdown)];
        assert_eq!(reasons.map(|stopped| classify(exit, stopped, tail)), expect);
    }

    #[test]
    fn the_whole_table() {
        use Verdict::{Cancelled, Failed, Interrupted, OutOfMemory, Success, TimedOut};
        check(Exit::Code(0), "", [Success, Cancelled, TimedOut, Success]);
        check(Exit::Code(0), OOM, [Success, Cancelled, TimedOut, Success]);
        check(Exit::Code(1), "", [Failed, Cancelled, TimedOut, Interrupted]);
        check(Exit::Signal(15), "", [Failed, Cancelled, TimedOut, Interrupted]);
        let oom = OutOfMemory("rt-oom-bare");
        check(Exit::Code(1), OOM, [oom, Cancelled, TimedOut, Interrupted]);
        check(Exit::Signal(6), OOM, [oom, Cancelled, TimedOut, Interrupted]);
    }
}
