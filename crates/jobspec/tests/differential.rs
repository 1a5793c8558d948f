//! Jobs files mean what they mean to the Python tool, errors included.
//!
//! What it makes of them is recorded: `tests/data/record_jobs_lines.py` says how,
//! and what the data mean.

use std::collections::BTreeSet;

use jobspec::{JobsFile, SyntaxError, parse_jobs_file};
use serde::Deserialize;

const RECORDED: &str = include_str!("../../../tests/data/jobs_lines.jsonl");

#[derive(Debug, Deserialize)]
struct Recorded {
    text: String,
    jobs: Option<Vec<Job>>,
    error: Option<String>,
    refused: Option<String>,
}

/// Key, command, vram, GPUs, seconds, retries, cancel.
#[derive(Debug, PartialEq, Deserialize)]
struct Job(String, String, Option<u64>, u64, Option<f64>, u64, bool);

/// The jobs of a file, in the tool's terms: by it a line that does not say how
/// many retries it wants has none.
fn jobs(file: &JobsFile) -> Vec<Job> {
    let job = |i| {
        let wants = file.attributes(i);
        Job(
            file.key(i).to_string(),
            file.command(i).to_owned(),
            wants.vram.map(|vram| vram.get().into()),
            wants.gpu_need().count().get().into(),
            wants.timeout.map(|timeout| timeout.as_secs_f64()),
            wants.retries.unwrap_or(0).into(),
            wants.cancel,
        )
    };
    (0..file.len()).map(job).collect()
}

/// An error in the tool's words, without our advice. There are more attributes
/// here, and `gpus` takes parts of a GPU.
fn words(error: &SyntaxError) -> String {
    let ours = format!("jobs file line {}: {}", error.line, error.kind);
    let ours = ours.replace("must be a number such as 2 or 0.5,", "must be an integer,");
    let ours = ours.replace(", priority, on, cuda, conda, name, cwd, env.NAME)", ")");
    match ours.split_once("gpus must be positive, got '") {
        Some((line, value)) => format!("{line}gpus must be >= 1, got {}", value.trim_end_matches('\'')),
        None => ours,
    }
}

/// What is an error there and means something here.
const MORE_HERE: [&str; 2] = ["unknown attribute 'priority'", "gpus must be an integer, got '2.0'"];

/// What is wrong with our reading, if anything is.
fn fault(recorded: &Recorded) -> Option<String> {
    let (file, errors) = parse_jobs_file(recorded.text.as_str());
    let ours = errors.first().map(words);
    if recorded.refused.is_some() {
        return errors.is_empty().then(|| format!("taken: {:?}", jobs(&file)));
    }
    if recorded.error.as_ref().is_some_and(|theirs| MORE_HERE.iter().any(|more| theirs.contains(more))) {
        return (ours == recorded.error).then(|| "an error".to_owned());
    }
    if ours != recorded.error {
        return Some(format!("{ours:?}"));
    }
    let Some(theirs) = &recorded.jobs else { return None };
    let ours = jobs(&file);
    (ours != *theirs).then(|| format!("{ours:?}"))
}

#[test]
fn jobs_files_mean_what_they_mean_to_the_python_tool() {
    let (mut read, mut wrong) = (0, Vec::new());
    let mut refused = BTreeSet::new();
    for (line, text) in (1..).zip(RECORDED.lines()) {
        let recorded: Recorded = serde_json::from_str(text).unwrap();
        if let Some(fault) = fault(&recorded) {
            wrong.push(format!("line {line}: {text}\nours: {fault}"));
        }
        read += 1;
        refused.extend(recorded.refused);
    }
    let shown: Vec<_> = wrong.iter().take(9).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} of them differ, such as\n{}", wrong.len(), shown.join("\n"));
    assert_eq!((read, refused.len()), (3300, 9), "the recording is another one: {refused:?}");
}
