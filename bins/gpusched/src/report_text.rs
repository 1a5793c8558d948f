//! The words for what the queue reports.
//!
//! Where the Python tool has a text for it, this is that text, so that what
//! was written to look for it goes on finding it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use engine::queue::{Assessment, Ended, Interruption, Report, Status, Summary, Urgency};
use model::{Exit, GpuIndex, JobNo, LaunchError, Mib, Ratio, SignedDuration};

/// What the words need to know of the run besides the report itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// Time between two looks at the GPUs.
    pub poll: SignedDuration,
    /// The status board, as the user may type it.
    pub board: String,
    /// The band around a declaration within which a peak is as declared.
    pub tolerance: Ratio,
    /// Whether the user chose the GPUs.
    pub gpus_chosen: bool,
}

/// A command is cut after so many characters: a log line is no place for more.
const LONGEST_COMMAND: usize = 200;

impl Words {
    /// The lines that tell a report, without the time.
    #[expect(clippy::too_many_lines, reason = "a table: one text for each report")]
    pub fn lines(&self, report: &Report) -> Vec<String> {
        let line = match report {
            Report::Queued { jobs, done } => return self.queued(*jobs, *done),
            Report::Finished(ended) => return self.finished(ended),
            Report::Summary(summary) => return summary_lines(summary),
            Report::Gpus { usable } => {
                let found = if self.gpus_chosen { "using" } else { "discovered" };
                format!("{found} GPUs: [{}]", join(usable, ", "))
            }
            Report::Runs { .. } => return Vec::new(),
            Report::Started { no, gpus, dispatched, total, declared, share, command } => {
                let how = match (share, declared) {
                    (None, Some(vram)) => format!("declared {vram}/gpu"),
                    (None, None) => "undeclared (exclusive idle GPU)".to_owned(),
                    (Some(share), Some(vram)) => format!("{share} of it, declared {vram}"),
                    (Some(share), None) => format!("{share} of it"),
                };
                let (gpus, command) = (join(gpus, ","), shown(command));
                format!(
                    "job {no} started on gpu [{gpus}] ({dispatched}/{total} dispatched, {how}) — {command}"
                )
            }
            Report::Usage { no, now, peak } => format!("job {no} vram now {} (peak {peak})", per_gpu(now)),
            Report::Exceeds { no, gpu, peak, declared } => exceeds(*no, *gpu, *peak, *declared),
            Report::OomRequeued { no, attempt, attempts, old, new, alone, share } => {
                format!(
                    "↻ job {no} hit CUDA OOM (attempt {attempt}/{attempts}) — requeued{}",
                    bump(*old, *new, *alone, share.is_some())
                )
            }
            Report::Infeasible { no, why, command } => {
                format!("WARN  job {no} INFEASIBLE — {why}; marking failed: {}", shown(command))
            }
            Report::TimedOut { no, after, limit } => {
                let (after, limit) = (after.as_secs_f64(), limit.as_secs_f64());
                format!("WARN  job {no} TIMEOUT after {after:.0}s (limit {limit}s) — SIGTERM")
            }
            Report::Cancelling { no } => {
                format!("WARN  job {no} CANCELLED by user — SIGTERM to its process group")
            }
            Report::Killing { no } => format!("WARN  job {no} did not exit after SIGTERM — SIGKILL"),
            Report::CancelledPending { no, command } => {
                format!("job {no} cancelled before start: {}", shown(command))
            }
            Report::AlreadyDone { no, status, command } => already_done(*no, *status, command),
            Report::Adopted { no, elapsed } => {
                let elapsed = elapsed.as_secs_f64();
                format!(
                    "job {no} still runs from an earlier run (for {elapsed:.0}s) — looking after it again"
                )
            }
            Report::Requeued { no, by } => match by {
                Interruption::Shutdown => format!("job {no} was interrupted — it is run again next time"),
                Interruption::EarlierShutdown => {
                    format!("job {no} was ended with the scheduler — re-queuing")
                }
                Interruption::Crash => {
                    format!("job {no} was interrupted by a reboot or a crash — re-queuing")
                }
            },
            Report::NotStarted { no, why } => not_started(*no, why),
            Report::CouldNotStart { no, why, attempts, most, again_in } => {
                could_not_start(*no, why, *attempts, *most, *again_in)
            }
            Report::Paused { gpu } => {
                format!("gpu {gpu} is paused: it takes no new jobs, and those on it run on")
            }
            Report::StateKept { why } => {
                format!("WARN  state file not taken over, keeping what is in force: {}", printable(why))
            }
            Report::StateUnknownGpus { unknown } => {
                let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
                format!("WARN  the state file pauses GPUs that there are not: {}", unknown.join(", "))
            }
            Report::Reserved { no, gpus, overtakings, waited } => {
                let (gpus, waited) = (join(gpus, ","), waited.as_secs_f64());
                format!(
                    "job {no} has waited {waited:.0}s while {overtakings} later jobs were started — \
                     gpu [{gpus}] is kept free for it"
                )
            }
            Report::QueueKept { why } => {
                format!("WARN  jobs file unreadable, keeping previous queue: {}", printable(why))
            }
            Report::SameJob { line, of } => {
                format!("line {line} of the jobs file is the same job as line {of}: it runs once")
            }
            Report::Models { count: Some(1) } => "the need of 1 model is known".to_owned(),
            Report::Models { count: Some(count) } => format!("the needs of {count} models are known"),
            Report::Models { count: None } => "the needs of models are not known any more".to_owned(),
            Report::ModelsKept { why } => {
                format!(
                    "WARN  the needs of models cannot be read, keeping those that are known: {}",
                    printable(why)
                )
            }
            Report::UnknownModel { model, no } => {
                let model = printable(model);
                format!("WARN  job {no} runs the model '{model}', which is not known: it gets the default")
            }
            Report::QueueGood => "jobs file is readable again".to_owned(),
            Report::EditIgnored { no, line, running, command } => edit_ignored(*no, *line, *running, command),
            Report::GpusUnknown { why, attempt } => {
                let why = printable(why);
                format!(
                    "WARN  GPU query failed ({why}); attempt {attempt} — nothing new starts until one succeeds"
                )
            }
            Report::GpusKnown => "GPU query works again".to_owned(),
            Report::GpuOut { gpu, why } => {
                format!("WARN  gpu {gpu} takes no new jobs — {}", printable(why))
            }
            Report::GpuBack { gpu } => format!("gpu {gpu} takes jobs again"),
            Report::Drained => "queue drained — watching jobs file for new lines (Ctrl-C to stop)".to_owned(),
            Report::Interrupted { urgency, running } => interrupted(*urgency, *running),
        };
        vec![line]
    }

    fn queued(&self, jobs: usize, done: usize) -> Vec<String> {
        let (poll, board) = (self.poll.as_secs_f64(), printable(&self.board));
        let mut lines = vec![format!(
            "{jobs} jobs queued [live queue (file re-read when it changes)] \
             (poll every {poll}s; status board: {board})"
        )];
        if done > 0 {
            lines.push(format!("{done} of them ended in an earlier run and are not run again"));
        }
        lines
    }

    fn finished(&self, ended: &Ended) -> Vec<String> {
        let no = ended.no;
        let mut line = format!(
            "job {no} finished [{}] in {:.0}s — peak vram {}",
            verdict(ended.status, ended.exit),
            ended.elapsed.as_secs_f64(),
            if ended.peak.is_empty() {
                "n/a (never seen on its GPU — see README caveats)".to_owned()
            } else {
                per_gpu(&ended.peak)
            }
        );
        if let (Some(declared), Some(assessment)) = (ended.declared, ended.assessment) {
            let verdict = match assessment {
                Assessment::Within => format!("within ±{:.0}%", self.tolerance.get() * 100.0),
                Assessment::Under(percent) => format!("UNDER-DECLARED ({percent:+}%); raise it"),
                Assessment::Over(percent) => {
                    format!("over-declared ({percent:+}%); lowering it frees packing headroom")
                }
            };
            let _ = write!(line, " | declared {declared} → {verdict}");
        }
        if let Some(utilization) = ended.utilization {
            let _ = write!(line, " | avg gpu util {utilization:.0}%");
        }
        let mut lines = vec![line];
        if ended.status == Status::Lost {
            let why = printable(ended.lost.as_deref().unwrap_or("nobody saw it end"));
            lines.push(format!("WARN  job {no} is LOST — {why}; it is not run again (--retry-failed does)"));
        }
        if ended.survivors {
            lines.push(format!(
                "WARN  job {no} left processes behind — their memory counts as used until they end"
            ));
        }
        lines
    }
}

/// `[OK]`, `[EXIT 3]` and so on, without the brackets.
fn verdict(status: Status, exit: Option<Exit>) -> String {
    match status {
        Status::Ok => "OK".to_owned(),
        Status::Failed => format!("EXIT {}", returncode(exit)),
        Status::FailedOom => format!("OOM (exit {}, retries exhausted)", returncode(exit)),
        Status::Timeout => "TIMEOUT".to_owned(),
        Status::Cancelled => "CANCELLED".to_owned(),
        Status::Infeasible => "INFEASIBLE".to_owned(),
        Status::Lost => "LOST".to_owned(),
    }
}

fn bump(old: Option<Mib>, new: Option<Mib>, alone: bool, had_part: bool) -> String {
    let Some(new) = new else {
        return if alone && had_part { " with a whole GPU to itself".to_owned() } else { String::new() };
    };
    let old = old.map_or("n/a".to_owned(), |old| old.get().to_string());
    format!(" with vram {old} → {new}{}", if alone { ", alone on its GPU" } else { "" })
}

/// How to run a job again that failed.
const RETRY: &str = "; --retry-failed runs it again";

fn already_done(no: JobNo, status: Status, command: &str) -> String {
    let command = shown(command);
    let (what, again) = match status {
        Status::Ok => return format!("job {no} already completed ok — skipping (journal): {command}"),
        Status::Cancelled => ("was cancelled", ""),
        Status::Failed => ("already failed", RETRY),
        Status::FailedOom => ("already failed (out of GPU memory)", RETRY),
        Status::Timeout => ("already timed out", RETRY),
        Status::Infeasible => ("was infeasible", RETRY),
        Status::Lost => ("was lost", RETRY),
    };
    format!("job {no} {what} in an earlier run — skipping (journal{again}): {command}")
}

fn not_started(no: JobNo, why: &LaunchError) -> String {
    let why = printable(&match why {
        LaunchError::Spawn(words) => words.clone(),
        LaunchError::NoKeeper(_) => format!("{why}; trying again"),
        LaunchError::Used => "it may have been started before; asking the keeper".to_owned(),
    });
    format!("WARN  job {no} was not started — {why}")
}

fn exceeds(no: JobNo, gpu: GpuIndex, peak: Mib, declared: Mib) -> String {
    let percent = (f64::from(peak.get()) / f64::from(declared.get().max(1)) - 1.0) * 100.0;
    format!(
        "WARN  job {no} EXCEEDS declared VRAM: {peak} observed on gpu {gpu} vs {declared} declared \
         ({percent:+.0}%) — neighbors may OOM"
    )
}

fn edit_ignored(no: JobNo, line: u32, running: bool, command: &str) -> String {
    let state = if running { "still runs" } else { "has ended" };
    let command = shown(command);
    format!(
        "WARN  line {line} was job {no}, which {state}: its new text is not run \
         (put it on a line of its own to run it): {command}"
    )
}

fn could_not_start(
    no: JobNo,
    why: &str,
    attempts: u32,
    most: u32,
    again_in: Option<SignedDuration>,
) -> String {
    let why = printable(why);
    match (again_in, attempts) {
        (Some(pause), _) => {
            let pause = pause.as_secs_f64();
            format!(
                "WARN  job {no} could not start (attempt {attempts}/{most}): {why} — trying again in {pause}s"
            )
        }
        (None, 1) => format!("WARN  job {no} was not started — {why}; marking failed"),
        (None, _) => format!(
            "WARN  job {no} was not started, {attempts} times — {why}; marking failed (gpusched retry {no} tries again)"
        ),
    }
}

fn interrupted(urgency: Urgency, running: usize) -> String {
    match urgency {
        Urgency::Leave if running == 0 => "told to end — no job runs".to_owned(),
        Urgency::Leave => format!(
            "WARN  told to end — leaving {running} running jobs to the keeper; \
             the same command looks after them again"
        ),
        Urgency::Stop => "WARN  interrupted — terminating running jobs".to_owned(),
        Urgency::Kill => format!("WARN  interrupted again — killing {running} running jobs"),
    }
}

fn summary_lines(summary: &Summary) -> Vec<String> {
    let Summary { jobs, ok, failed, cancelled, under, over, earlier, failures, unread } = summary;
    let mut line = format!("all {jobs} jobs done — {ok} ok, {failed} failed, ");
    if *cancelled > 0 {
        let _ = write!(line, "{cancelled} cancelled, ");
    }
    let _ = write!(line, "{under} under-declared vram, {over} over-declared vram");
    if *earlier > 0 {
        let _ = write!(line, "; {earlier} more ended in an earlier run");
    }
    let mut lines = vec![line];
    lines.extend(failures.iter().map(|(no, status, exit, command)| {
        let exit = exit.map_or(String::new(), |exit| format!(", exit {exit}"));
        format!("  failed: job {no} ({}{exit}) — {}", word(*status), shown(command))
    }));
    lines.extend(unread.iter().map(|why| {
        let why = printable(why);
        format!("WARN  the jobs file could not be used at the end ({why}): its last changes were not run")
    }));
    lines
}

/// One word for what came of a job, as it stands in the journal.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::FailedOom => "failed_oom",
        Status::Timeout => "timeout",
        Status::Cancelled => "cancelled",
        Status::Infeasible => "infeasible",
        Status::Lost => "lost",
    }
}

/// A command for one line: printable, and not longer than fits.
pub fn shown(command: &str) -> String {
    let text = printable(command);
    match text.char_indices().nth(LONGEST_COMMAND) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The text with control characters written out, so that no command can drive
/// the terminal or forge a line, and without invisible changes of direction.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.extend(c.escape_unicode()),
            _ if c.is_control() => out.extend(c.escape_default()),
            _ => out.push(c),
        }
    }
    out
}

/// `gpu0:500 MiB, gpu1:7 MiB`.
fn per_gpu(amounts: &BTreeMap<GpuIndex, Mib>) -> String {
    let parts: Vec<String> = amounts.iter().map(|(gpu, amount)| format!("gpu{gpu}:{amount}")).collect();
    parts.join(", ")
}

/// The indices with something between them.
pub fn join(gpus: &[GpuIndex], between: &str) -> String {
    let parts: Vec<String> = gpus.iter().map(GpuIndex::to_string).collect();
    parts.join(between)
}

fn returncode(exit: Option<Exit>) -> String {
    exit.map_or("unknown".to_owned(), |exit| exit.to_string())
}

#[cfg(test)]
mod tests;
