//! The CSV format: `priority,script,conda,arguments,allowed_gpus`, one job a line.

mod fields;
mod write;

use std::borrow::Cow;
use std::fmt::Write as _;

use model::{GpuSet, Setting};

use crate::LineNo;
use crate::attributes::{Attributes, CudaIds, priority, split_block};
use crate::error::{LONGEST_COMMAND, SyntaxError, SyntaxErrorKind};
use crate::format::{JobLine, is_header, job_lines};
use crate::jobs_file::{Classes, Found, Line, fits};
use crate::words;
use fields::{Bad, Field, Fields, Name, ascends, quoted_arguments};

pub use write::{CsvJob, CsvWriteError, csv_line};

/// How a text came to be read as CSV, which says what to do about a line that
/// is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyCsv {
    /// Its first job looks like it.
    FirstLine,
    /// Somebody said so.
    Chosen,
}

/// Reads a text. The commands of its jobs are in the text that is returned.
pub(crate) fn read(text: &str, reason: WhyCsv, hash: impl Fn(&str) -> u64) -> (Found, String) {
    let mut found = Found::default();
    let mut reader = Reader { reason, hash, commands: String::new(), classes: Classes::default() };
    for line in job_lines(text).filter(|line| !is_header(line.body)) {
        match reader.job(&line) {
            Ok(job) => found.lines.push(job),
            Err((span, kind)) => {
                let span = line.indent + span.start..line.indent + span.end;
                // What precedes the body is white space and perhaps a byte order
                // mark, which no editor counts.
                let before = &text[line.start..line.start + span.start];
                let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
                found.errors.push(SyntaxError { line: line.no, column: Some(fits(column)), span, kind });
            }
        }
    }
    found.classes = reader.classes.into_values();
    (found, reader.commands)
}

struct Reader<H> {
    reason: WhyCsv,
    hash: H,
    /// One behind the other, each with what it goes by before it.
    commands: String,
    classes: Classes,
}

impl<H: Fn(&str) -> u64> Reader<H> {
    /// Reads a line: its block of attributes, where it has one, and its fields.
    fn job(&mut self, line: &JobLine<'_>) -> Result<Line, Bad> {
        let body = line.body;
        if let Some(at) = body.find('\0') {
            return Err((at..at + 1, SyntaxErrorKind::NulByte));
        }
        let (block, fields) = split_block(body).map_err(|kind| (0..body.len(), kind))?;
        let attributes =
            Attributes::parse(block).map_err(|bad| (1 + bad.span.start..1 + bad.span.end, bad.kind))?;
        let from = body.len() - fields.len();
        self.fields(line.no, fields, attributes)
            .map_err(|(span, kind)| (from + span.start..from + span.end, kind))
    }

    /// Reads the fields of a line. What they say counts before its block.
    fn fields(&mut self, no: LineNo, body: &str, block: Attributes) -> Result<Line, Bad> {
        let mut fields = Fields::of(body);
        let priority = self.priority(&mut fields)?;
        let script = fields.take(Name::Script)?;
        if script.text.is_empty() {
            return Err((fields.place(script.span), SyntaxErrorKind::NoScript));
        }
        let conda = fields.take(Name::Conda)?.text;
        let conda = match &block.setting.conda {
            Some(said) if conda.is_empty() => Cow::Borrowed(&**said),
            Some(_) | None => conda,
        };
        let arguments = fields.take(Name::Arguments)?;
        let words = split(body, &arguments)?;
        let on = gpus(body, &arguments, &fields.take(Name::Gpus)?)?;

        let start = self.commands.len();
        let prefix = identity_prefix(&mut self.commands, &conda);
        let command = self.commands.len();
        push_command(&mut self.commands, &script.text, &words);
        let length = self.commands.len() - command;
        if length > LONGEST_COMMAND {
            self.commands.truncate(start);
            return Err((0..body.len(), SyntaxErrorKind::LongCommand { length }));
        }
        let setting = Setting {
            conda: Some(&*conda).filter(|conda| !conda.is_empty()).map(Into::into),
            script: Some(script.text.into()),
            ..block.setting
        };
        let (cuda, on) = (block.cuda.or(Some(CudaIds::Index)), on.or(block.on));
        Ok(Line {
            hash: (self.hash)(&self.commands[start..]),
            start: fits(command),
            len: fits(length),
            prefix: fits(prefix),
            occurrence: 0,
            class: self.classes.class(Attributes { priority, on, cuda, setting, ..block }),
            no,
        })
    }

    fn priority(&self, fields: &mut Fields<'_>) -> Result<i32, Bad> {
        let field = fields.take(Name::Priority)?;
        let text = field.text.trim();
        let number = text.strip_prefix('+').filter(|rest| !rest.starts_with('-')).unwrap_or(text);
        priority(number).map_err(|kind| {
            let place = fields.place(field.span);
            if let SyntaxErrorKind::NotInteger { .. } = kind {
                (place, SyntaxErrorKind::CsvPriority { value: text.to_owned(), reason: self.reason })
            } else {
                (place, kind)
            }
        })
    }
}

/// What tells jobs with the same command apart: the environment they run in.
/// Returns its length in bytes.
fn identity_prefix(text: &mut String, conda: &str) -> usize {
    let from = text.len();
    if !conda.is_empty() {
        let _ = write!(text, "[conda={conda}] ");
    }
    text.len() - from
}

/// The command that runs a script with some words, for `sh -c`.
fn push_command(text: &mut String, script: &str, words: &[String]) {
    text.push_str("python -u");
    for word in std::iter::once(script).chain(words.iter().map(String::as_str)) {
        text.push(' ');
        // It fails on a NUL only, and a line with one is no job.
        text.push_str(&shlex::try_quote(word).unwrap_or_default());
    }
}

fn split(body: &str, arguments: &Field<'_>) -> Result<Vec<String>, Bad> {
    words::split(&arguments.text).map_err(|error| {
        let Field { span, text, is_quoted } = arguments;
        let rest = &body[span.start..];
        let written = (!is_quoted && rest.contains(',')).then(|| quoted_arguments(rest));
        // Inside quotes places are not those of the line.
        let from = if *is_quoted { span.start } else { span.start + error.at() };
        (from..span.end, SyntaxErrorKind::Arguments { value: text.to_string(), why: error, written })
    })
}

/// The GPUs it may have; nothing where any will do.
fn gpus(body: &str, arguments: &Field<'_>, field: &Field<'_>) -> Result<Option<GpuSet>, Bad> {
    let text = field.text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // Unquoted commas behind unquoted arguments may be meant as part of these.
    let may_be_arguments = !arguments.is_quoted && !field.is_quoted && !arguments.text.is_empty();
    let written = || quoted_arguments(&body[arguments.span.start..]);
    let value = text.to_owned();
    let kind = match GpuSet::parse(text) {
        Ok(gpus) if !may_be_arguments || ascends(text) => return Ok(Some(gpus)),
        Ok(_) => SyntaxErrorKind::UnclearGpus { value, written: written() },
        Err(error) => {
            let written = may_be_arguments.then(written);
            SyntaxErrorKind::AllowedGpus { value, why: error.to_string(), written }
        }
    };
    Err((field.span.clone(), kind))
}

#[cfg(test)]
mod tests;
