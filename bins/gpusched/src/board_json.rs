//! The status board for programs: one JSON object.

use engine::queue::{Board, BoardDone, BoardGpu, BoardPending, BoardRunning};
use model::{GpuIndex, Mib};
use serde_json::{Value, json};

use crate::report_text::word;

/// The board as JSON. Memory is in MiB, times in seconds; what is not known is
/// `null`.
pub fn document(board: &Board) -> Value {
    json!({
        "at": board.at.to_string(),
        "pid": std::process::id(),
        "gpus": board.gpus.iter().map(gpu).collect::<Vec<_>>(),
        "paused_gpus": indices(&board.paused),
        "running": board.running.iter().map(running).collect::<Vec<_>>(),
        "pending": board.pending.iter().map(pending).collect::<Vec<_>>(),
        "pending_count": board.pending.len() + board.more_pending,
        "done": board.done.iter().map(done).collect::<Vec<_>>(),
        "done_count": board.done_count,
        "jobs_file_error": board.queue_kept,
        "gpus_error": board.gpus_unknown,
    })
}

fn gpu(gpu: &BoardGpu) -> Value {
    json!({
        "index": gpu.index.0,
        "state": state(gpu),
        "allocation": gpu.allocated.get(),
        "paused": gpu.paused,
        "memory_used_mib": gpu.used.map(Mib::get),
        "memory_usable_mib": gpu.usable.map(Mib::get),
        "utilization_percent": gpu.utilization.map(|percent| percent.0),
        "trouble": gpu.trouble,
    })
}

/// The state of a GPU in one word: `PAUSED`, `OUT`, `BUSY` or `AVAILABLE`.
fn state(gpu: &BoardGpu) -> &'static str {
    match (gpu.paused, &gpu.trouble, gpu.allocated.get() > 0.0) {
        (true, ..) => "PAUSED",
        (false, Some(_), _) => "OUT",
        (false, None, true) => "BUSY",
        (false, None, false) => "AVAILABLE",
    }
}

fn running(job: &BoardRunning) -> Value {
    json!({
        "no": job.no.0,
        "command": job.command,
        "gpus": indices(&job.gpus),
        "share": job.share.map(model::Share::get),
        "log": job.log,
        "elapsed_s": job.elapsed.as_secs(),
        "memory_mib": job.now,
        "peak_mib": job.peak.map(Mib::get),
        "stopping": job.stopping.is_some(),
    })
}

fn pending(job: &BoardPending) -> Value {
    json!({
        "no": job.no.0,
        "command": job.command,
        "vram_mib": job.vram.map(Mib::get),
        "gpus": job.gpus.part().map_or_else(|| json!(job.gpus.count()), |share| json!(share.get())),
        "on": job.on.map(|on| on.iter().map(|gpu| gpu.0).collect::<Vec<_>>()),
        "priority": job.priority,
        "why": job.why,
    })
}

fn done(job: &BoardDone) -> Value {
    json!({
        "no": job.no.0,
        "command": job.command,
        "status": word(job.status),
        "exit": job.exit.map(model::Exit::returncode),
        "why": job.why,
        "peak_mib": job.peak.map(Mib::get),
    })
}

fn indices(gpus: &[GpuIndex]) -> Vec<u16> {
    gpus.iter().map(|gpu| gpu.0).collect()
}
