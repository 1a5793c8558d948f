//! The tables of what other tools promise: each promise has a test that there is,
//! and none of the names their users know is missing.

use std::collections::BTreeSet;

use crate::tables::{checked_rows, code_names};

/// What users of the Python tool type, read and see, as its rows name it.
const PYTHON_TOOL: &[&str] = &[
    // Its command line.
    "JOBS_FILE",
    "--gpus",
    "--idle-threshold",
    "--margin",
    "--tolerance",
    "--poll",
    "--spike-buffer",
    "--exclusive",
    "--log-dir",
    "--watch",
    "--oom-retries",
    "--fresh",
    "--verbose",
    "-v",
    "--sim",
    "--version",
    "--help",
    "-h",
    // Its jobs file.
    "vram",
    "gpus",
    "timeout",
    "retries",
    "cancel",
    "[]",
    // Its files.
    "journal.jsonl",
    "status.txt",
    "job007_gpu0.log",
    "job007_gpu0-1.log",
    // What it sets or reads in the environment.
    "CUDA_VISIBLE_DEVICES",
    "GPUSCHED_SIM_DIR",
    // How jobs stand on its board.
    "▶",
    "·",
    "↻",
    "✓",
    "✗",
    "⊘",
    // What it tells.
    "queued",
    "discovered",
    "started",
    "vram now",
    "EXCEEDS",
    "finished",
    "hit CUDA OOM",
    "INFEASIBLE",
    "TIMEOUT",
    "did not exit after SIGTERM",
    "CANCELLED",
    "cancelled before start",
    "ORPHAN",
    "was interrupted mid-run",
    "jobs file unreadable",
    "already completed ok",
    "queue drained",
    "jobs done",
    "failed:",
    "interrupted",
    "GPU query failed",
    // How it ends.
    "0",
    "1",
    "2",
    "130",
    "SIGINT",
    "SIGTERM",
    "SIGHUP",
    "SIGKILL",
];

/// What users of the GPU job scheduler type, write and read, as its rows name it.
const SCHEDULER: &[&str] = &[
    // Its commands.
    "start",
    "add SCRIPT",
    "status",
    "pause <gpu_id>",
    "resume <gpu_id>",
    "screens",
    // The flags of `start`.
    "--gpus",
    "--jobs-file",
    "--llm-config",
    "--state-file",
    "--screen",
    "--mem-threshold",
    "--load-threshold",
    "--monitor-interval",
    "--state-interval",
    "--max-assign-attempts",
    "--assign-retry-wait",
    // The flags of `add`.
    "add --conda",
    "--args",
    "--priority",
    "add --output-file",
    // The columns of its jobs file.
    "priority",
    "script_path",
    "conda_env",
    "arguments",
    "allowed_gpus",
    // What it reads and writes.
    "--llm",
    "--cuda",
    "default_requirement",
    "models",
    "gpu_scheduler.log",
    "job_<job_id>_<timestamp>.log",
    "gpujob_<gpu_ids>_<mode>_<job_id>",
    "screen -r NAME",
];

/// Each promise in a document has a test, and each of these names a row.
#[track_caller]
fn check(document: &str, heading: &str, names: &[&str]) {
    let rows = checked_rows(document, heading);
    let told: BTreeSet<&str> = rows.iter().flat_map(|row| code_names(&row.cells[0])).collect();
    let missing: Vec<_> = names.iter().filter(|name| !told.contains(*name)).collect();
    assert!(missing.is_empty(), "{document} has no row for {missing:?}");
}

#[test]
fn every_promise_of_the_python_tool_has_a_test_that_is_there() {
    check("docs/guide/coming-from-python.md", "| the Python tool | here | tests |", PYTHON_TOOL);
}

#[test]
fn every_promise_of_the_job_scheduler_has_a_test_that_is_there() {
    check("docs/guide/coming-from-scheduler.md", "| the README | here | tests |", SCHEDULER);
}
