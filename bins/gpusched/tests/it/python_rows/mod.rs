//! What the Python tool promised, flag by flag and word by word, where no test of
//! another module shows it. `docs/guide/coming-from-python.md` says which promise
//! is which test.

mod edits;
mod flags;
mod jobs;
mod lines;
mod placing;
mod retries;
mod words;

/// A command that uses so many MiB until the board has shown that its job uses
/// `seen`.
fn uses(mib: u32, seen: u32) -> String {
    format!(
        "gpusched simjob --vram {mib} --ramp 0 --hold 600 & \
         until grep -q 'MiB [(]peak {seen}' gpusched_logs/status.txt; do sleep 0.05; done; kill $!; wait $! || true"
    )
}
