//! Writing a line of a CSV jobs file.

use model::GpuSet;

use super::fields::in_quotes;
use super::push_command;
use crate::error::LONGEST_COMMAND;
use crate::words::{self, SplitError};

/// A job as a line of a CSV jobs file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvJob {
    /// The lower, the earlier.
    pub priority: i32,
    /// The Python script it runs.
    pub script: String,
    /// The environment it runs in; an empty name is none.
    pub conda: Option<String>,
    /// The script's arguments, quoted as for a shell.
    pub arguments: String,
    /// The only GPUs it may have; nothing where any will do.
    pub gpus: Option<GpuSet>,
}

/// A job can't be written as a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvWriteError {
    /// It has no script.
    #[error("there is no script")]
    NoScript,
    /// It may have no GPU at all.
    #[error("there is no GPU it may have")]
    NoGpus,
    /// A field has a line break in it, and a job is one line.
    #[error("there is a line break in the {field}")]
    LineBreak {
        /// Which field.
        field: &'static str,
    },
    /// A field has a NUL in it, which can't be passed to a program.
    #[error("there is a NUL byte in the {field}")]
    NulByte {
        /// Which field.
        field: &'static str,
    },
    /// The arguments can't be split into words.
    #[error("cannot split the arguments: {0}")]
    Arguments(#[from] SplitError),
    /// The command that comes of it is longer than the system takes.
    #[error("the command is too long: {length} bytes, and the system takes {LONGEST_COMMAND}")]
    LongCommand {
        /// Its length in bytes.
        length: usize,
    },
}

/// The line of a job, without the line break: read again, it is that job. Fields
/// that say nothing are left out at the end.
///
/// # Errors
/// When no line is that job.
pub fn csv_line(job: &CsvJob) -> Result<String, CsvWriteError> {
    let conda = job.conda.as_deref().unwrap_or_default();
    for (field, text) in
        [("script", &*job.script), ("name of the environment", conda), ("arguments", &*job.arguments)]
    {
        if text.contains(['\n', '\r']) {
            return Err(CsvWriteError::LineBreak { field });
        }
        if text.contains('\0') {
            return Err(CsvWriteError::NulByte { field });
        }
    }
    if job.script.is_empty() {
        return Err(CsvWriteError::NoScript);
    }
    if job.gpus.is_some_and(GpuSet::is_empty) {
        return Err(CsvWriteError::NoGpus);
    }
    let words = words::split(&job.arguments)?;
    let mut command = String::new();
    push_command(&mut command, &job.script, &words);
    if command.len() > LONGEST_COMMAND {
        return Err(CsvWriteError::LongCommand { length: command.len() });
    }
    let arguments = if words.is_empty() { "" } else { &job.arguments };
    let gpus = job.gpus.map(|gpus| gpus.to_string()).unwrap_or_default();
    let line = [job.priority.to_string(), field(&job.script), field(conda), field(arguments), gpus].join(",");
    // A script is there, and where it ends with a comma, a quote follows that.
    Ok(line.trim_end_matches(',').to_owned())
}

/// A text as a field, between quotes where it needs them.
fn field(text: &str) -> String {
    if text.contains([',', '"']) || text != text.trim() { in_quotes(text) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> CsvJob {
        CsvJob { priority: 0, script: "a.py".into(), conda: None, arguments: String::new(), gpus: None }
    }

    #[track_caller]
    fn check(job: &CsvJob, expect: Result<&str, &str>) {
        let line = csv_line(job).map_err(|error| error.to_string());
        assert_eq!(line.as_deref().map_err(String::as_str), expect, "{job:?}");
    }

    #[test]
    fn fields_are_quoted_where_they_need_it() {
        check(&job(), Ok("0,a.py"));
        let conda = |name: &str| CsvJob { conda: Some(name.into()), priority: -1, ..job() };
        check(&conda("llm"), Ok("-1,a.py,llm"));
        check(&conda(""), Ok("-1,a.py"));
        check(&conda(" x"), Ok("-1,a.py,\" x\""));
        let arguments = |text: &str| CsvJob { arguments: text.into(), ..job() };
        check(&arguments("--lr 0.1 # 2"), Ok("0,a.py,,--lr 0.1 # 2"));
        check(&arguments(" \t"), Ok("0,a.py"));
        check(&arguments("--layers 1,2"), Ok("0,a.py,,\"--layers 1,2\""));
        check(&arguments("--say \"a b\""), Ok("0,a.py,,\"--say \"\"a b\"\"\""));
        let gpus = GpuSet::parse("0-3,5").ok();
        check(&CsvJob { gpus, ..job() }, Ok("0,a.py,,,0-3,5"));
        check(&CsvJob { script: "a,b,".into(), ..job() }, Ok("0,\"a,b,\""));
    }

    #[test]
    fn what_no_line_is() {
        check(&CsvJob { script: String::new(), ..job() }, Err("there is no script"));
        check(&CsvJob { script: "a\n.py".into(), ..job() }, Err("there is a line break in the script"));
        let conda = |name: &str| CsvJob { conda: Some(name.into()), ..job() };
        check(&conda("a\rb"), Err("there is a line break in the name of the environment"));
        check(&conda("a\0b"), Err("there is a NUL byte in the name of the environment"));
        let arguments = |text: &str| CsvJob { arguments: text.into(), ..job() };
        check(&arguments("a\nb"), Err("there is a line break in the arguments"));
        check(&arguments("'a"), Err("cannot split the arguments: no closing quotation"));
        check(&arguments("a\\"), Err("cannot split the arguments: nothing follows the backslash at its end"));
        check(&CsvJob { gpus: Some(GpuSet::default()), ..job() }, Err("there is no GPU it may have"));
        let expect = "the command is too long: 131088 bytes, and the system takes 131071";
        check(&arguments(&"x".repeat(131_073)), Err(expect));
    }
}
