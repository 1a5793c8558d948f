//! Helpers for the tests.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where a program that is not ours lies. `tests/run` looks for what the tests
/// need and writes it down; without it there is none, and a test that needs it
/// says that it was skipped.
pub fn program(name: &str) -> Option<PathBuf> {
    let list = std::fs::read_to_string(std::env::var_os("GPUSCHED_TEST_PROGRAMS")?).ok()?;
    list.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(PathBuf::from)
}

/// Waits until something is so.
///
/// # Panics
/// When it is not so after `within`; `what` says what was waited for.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < deadline, "waited {within:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
