//! `gpusched status`: the GPUs and the queue, as the scheduler has published them
//! last.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use driver::lock::Holder;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::StatusArgs;
use crate::failure::Failure;
use crate::place::Place;
use crate::report_text::{printable, shown};

/// Jobs of each kind that are shown; of the others only the number is told.
const MOST_SHOWN: usize = 20;

/// Shows the state of a scheduler, also of one that has ended.
///
/// # Errors
/// When there is none, or what it published can't be read.
pub fn run(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let place = Place::find(&args.place)?;
    let scheduler = place.scheduler();
    let Some(mut status) = place.status()? else {
        return Err(Failure::usage(format!("nothing is known of a queue in {}", place.dir().display()))
            .hint("gpusched start begins one"));
    };
    let text = if args.json {
        status["scheduler"] = match &scheduler {
            Some(holder) => {
                json!({ "pid": holder.pid.0, "host": holder.host, "since": holder.since.to_string() })
            }
            None => Value::Null,
        };
        format!("{status:#}\n")
    } else {
        page(&status, scheduler.as_ref())
    };
    // Nobody may be listening.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// A time of the document as the clock on the wall shows it.
fn local_time(text: &str) -> String {
    let at = text.parse::<Timestamp>().map(|at| TimeZone::system().to_datetime(at));
    at.map_or(text.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// All of it for a person.
fn page(status: &Value, scheduler: Option<&Holder>) -> String {
    let mut out = String::new();
    let at = local_time(status["at"].as_str().unwrap_or("?"));
    let _ = match scheduler {
        Some(Holder { pid, host, .. }) => writeln!(out, "gpusched works (pid {pid} on {host}); as of {at}"),
        None => writeln!(out, "no gpusched works here; this is what the last one knew at {at}"),
    };
    for (key, what) in [("jobs_file_error", "the jobs file"), ("gpus_error", "the GPUs")] {
        if let Some(why) = status[key].as_str() {
            let _ = writeln!(out, "! {what} cannot be read: {}", printable(why));
        }
    }
    gpus(&mut out, status);
    jobs(&mut out, status);
    out
}

fn gpus(out: &mut String, status: &Value) {
    let _ = writeln!(
        out,
        "\n{:<6} {:<12} {:>10} {:>11} {:>9}",
        "GPU ID", "State", "Allocation", "Memory Util", "Load Util"
    );
    for gpu in list(status, "gpus") {
        let allocation = gpu["allocation"].as_f64().unwrap_or_default();
        let state = match gpu["state"].as_str().unwrap_or("?") {
            "BUSY" => format!("BUSY ({:.0}%)", allocation * 100.0),
            other => other.to_owned(),
        };
        let memory = gpu["memory_used_mib"].as_f64().zip(gpu["memory_usable_mib"].as_f64());
        let memory = memory.filter(|(_, usable)| *usable > 0.0);
        let memory =
            memory.map_or("n/a".to_owned(), |(used, usable)| format!("{:.0}%", used / usable * 100.0));
        let load = gpu["utilization_percent"].as_u64().map_or("n/a".to_owned(), |load| format!("{load}%"));
        let _ = writeln!(
            out,
            "{:<6} {state:<12} {allocation:>10.2} {memory:>11} {load:>9}",
            gpu["index"].to_string()
        );
        if let Some(why) = gpu["trouble"].as_str() {
            let _ = writeln!(out, "       takes no jobs: {}", printable(why));
        }
    }
}

fn jobs(out: &mut String, status: &Value) {
    let running = list(status, "running");
    let _ = writeln!(out, "\n{} running", running.len());
    for job in running.iter().take(MOST_SHOWN) {
        let gpus: Vec<String> = list(job, "gpus").iter().map(ToString::to_string).collect();
        let part = job["share"].as_f64().map(|share| format!(" ({share})")).unwrap_or_default();
        let _ = writeln!(
            out,
            "  job {} on gpu [{}]{part} for {} s — {}",
            job["no"],
            gpus.join(","),
            job["elapsed_s"],
            command(job)
        );
    }
    more(out, running.len());
    let pending = status["pending_count"].as_u64().unwrap_or_default();
    let _ = writeln!(out, "{pending} pending");
    for job in list(status, "pending").iter().take(MOST_SHOWN) {
        let why = job["why"].as_str().map(|why| format!(" ({})", printable(why))).unwrap_or_default();
        let _ = writeln!(out, "  job {}{why} — {}", job["no"], command(job));
    }
    more(out, usize::try_from(pending).unwrap_or(usize::MAX));
    let done = list(status, "done");
    let _ = writeln!(out, "{} done", status["done_count"]);
    for job in done.iter().rev().take(MOST_SHOWN) {
        let exit = job["exit"].as_i64().map(|exit| format!(", exit {exit}")).unwrap_or_default();
        let why = job["why"].as_str().map(|why| format!(", could not start: {}", printable(why)));
        let (status, why) = (job["status"].as_str().unwrap_or("?"), why.unwrap_or_default());
        let _ = writeln!(out, "  job {} {status}{exit}{why} — {}", job["no"], command(job));
    }
    more(out, done.len());
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn command(job: &Value) -> String {
    shown(job["command"].as_str().unwrap_or("?"))
}

fn more(out: &mut String, all: usize) {
    if let Some(more @ 1..) = all.checked_sub(MOST_SHOWN) {
        let _ = writeln!(out, "  … and {more} more");
    }
}
