//! The jobs file: one job a line.

mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use model::JobKey;

use crate::attributes::Attributes;
use crate::csv::{self, WhyCsv};
use crate::error::{LineNo, SyntaxError, SyntaxErrorKind};
use crate::format::{Format, detect_format};
use crate::key::{Identity, Occurrences, digest_of, text_hash};

/// The jobs of a file, in file order.
///
/// It holds the text once, 32 bytes a job and each different set of attributes
/// once; of a CSV file also the commands that its lines stand for. Jobs are told
/// by their index, from 0; an index from [`Self::len`] on panics.
pub struct JobsFile {
    text: Arc<str>,
    /// What the commands are pieces of: the text itself, where they stand in it.
    commands: Arc<str>,
    format: Format,
    lines: Box<[Line]>,
    classes: Box<[Attributes]>,
    duplicates: Box<[Duplicate]>,
}

/// A line of a CSV file that is the same job as one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// The line.
    pub line: LineNo,
    /// The first line of that job.
    pub of: LineNo,
}

/// A job. Its command is a piece of the commands, and before it there may be a
/// prefix that tells it from the same command elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) hash: u64,
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) prefix: u32,
    pub(crate) occurrence: u32,
    pub(crate) class: u32,
    pub(crate) no: LineNo,
}

/// What was found in a text.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) lines: Vec<Line>,
    pub(crate) classes: Vec<Attributes>,
    pub(crate) errors: Vec<SyntaxError>,
}

const _: () = assert!(size_of::<Line>() <= 32, "a million lines shall cost no more than 32 MB");

/// A text of this many bytes or fewer can be addressed by [`Line`].
const MOST_BYTES: usize = u32::MAX as usize;

/// Reads a jobs file of the line format.
///
/// One job a line. White space around a line is dropped; empty lines, and those
/// that start with `#`, are skipped. A line that starts with `[` starts with a
/// block of attributes, which ends at the first `]`; the rest is the command,
/// and everything inside it is kept as it is. A byte order mark at the start of
/// the file is skipped.
///
/// A line with an error is no job, and is in the errors instead.
pub fn parse_jobs_file(text: impl Into<Arc<str>>) -> (JobsFile, Vec<SyntaxError>) {
    parse_jobs_file_as(text, Some(Format::Lines))
}

/// Reads a jobs file of this format, or where none is given, of the one that
/// [`detect_format`] finds; a file without jobs has the line format.
///
/// In a CSV file a line is `priority,script,conda,arguments,allowed_gpus`, of
/// which the first two must be there, and stands for the command that runs the
/// script. Fields may be quoted. Jobs with the same script, arguments and
/// environment are one job, and only the first line of it is.
pub fn parse_jobs_file_as(text: impl Into<Arc<str>>, format: Option<Format>) -> (JobsFile, Vec<SyntaxError>) {
    parse_with(text.into(), format, text_hash)
}

/// The same with another hash, for tests of what happens when hashes clash.
pub(crate) fn parse_with(
    text: Arc<str>,
    format: Option<Format>,
    hash: impl Fn(&str) -> u64,
) -> (JobsFile, Vec<SyntaxError>) {
    if text.len() > MOST_BYTES {
        return too_large();
    }
    let (found, commands, format) = match format.or_else(|| detect_format(&text)) {
        None | Some(Format::Lines) => (lines::read(&text, hash), Arc::clone(&text), Format::Lines),
        Some(Format::Csv) => {
            let why = if format.is_some() { WhyCsv::Chosen } else { WhyCsv::FirstLine };
            let (found, commands) = csv::read(&text, why, hash);
            (found, commands.into(), Format::Csv)
        }
    };
    if commands.len() > MOST_BYTES {
        return too_large();
    }
    let Found { mut lines, classes, errors } = found;
    number_occurrences(&commands, &mut lines);
    let duplicates = match format {
        Format::Lines => Box::default(),
        Format::Csv => take_duplicates(&mut lines),
    };
    let (lines, classes) = (lines.into_boxed_slice(), classes.into_boxed_slice());
    (JobsFile { text, commands, format, lines, classes, duplicates }, errors)
}

fn too_large() -> (JobsFile, Vec<SyntaxError>) {
    let kind = SyntaxErrorKind::FileTooLarge;
    (JobsFile::empty(), vec![SyntaxError { line: LineNo(1), column: None, span: 0..0, kind }])
}

impl JobsFile {
    /// No jobs at all.
    pub fn empty() -> Self {
        parse_jobs_file("").0
    }

    /// How the jobs are written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Lines that are no job of their own, in file order: of equal lines of a CSV
    /// file only the first is. In the line format each is one.
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }

    /// How many jobs there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The command of a job, for `sh -c`.
    pub fn command(&self, i: usize) -> &str {
        self.lines[i].command(&self.commands)
    }

    /// The line a job stands on.
    pub fn line_no(&self, i: usize) -> LineNo {
        self.lines[i].no
    }

    /// What a job asks for.
    pub fn attributes(&self, i: usize) -> &Attributes {
        &self.classes[self.class(i)]
    }

    /// Where in [`Self::classes`] a job's attributes are.
    pub fn class(&self, i: usize) -> usize {
        self.lines[i].class as usize
    }

    /// The different sets of attributes in the file, each once, in order of
    /// their first line.
    pub fn classes(&self) -> &[Attributes] {
        &self.classes
    }

    /// What a job goes by: its command, and in a CSV file the environment before
    /// it. Two lines with the same are the same work.
    pub fn identity(&self, i: usize) -> &str {
        self.lines[i].identity(&self.commands)
    }

    /// A hash of what a job goes by. Two jobs of this file have the same hash
    /// exactly when they go by the same; across files that is only very
    /// probable. It is good for as long as this process runs: store keys.
    pub fn text_hash(&self, i: usize) -> u64 {
        self.lines[i].hash
    }

    /// Which of the jobs that go by the same a job is, from 0, in file order.
    pub fn occurrence(&self, i: usize) -> u32 {
        self.lines[i].occurrence
    }

    /// The first six bytes of the SHA-1 of what a job goes by, computed now.
    pub fn digest(&self, i: usize) -> [u8; 6] {
        digest_of(self.identity(i))
    }

    /// A job's key: its digest and its occurrence.
    pub fn key(&self, i: usize) -> JobKey {
        JobKey::new(self.digest(i), self.occurrence(i))
    }

    /// The whole text, comments and errors included.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether a job of this file goes by the same as one of another.
    pub(crate) fn is_same(&self, i: usize, other: &Self, j: usize) -> bool {
        self.lines[i].hash == other.lines[j].hash && self.identity(i) == other.identity(j)
    }
}

impl fmt::Debug for JobsFile {
    /// Commands are left out: there may be a million, and tokens in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobsFile")
            .field("jobs", &self.lines.len())
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

impl Line {
    fn command<'t>(&self, commands: &'t str) -> &'t str {
        let start = self.start as usize;
        &commands[start..start + self.len as usize]
    }

    fn identity<'t>(&self, commands: &'t str) -> &'t str {
        let start = self.start as usize;
        &commands[start - self.prefix as usize..start + self.len as usize]
    }
}

/// The different sets of attributes, each once.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    by_value: BTreeMap<Attributes, u32>,
    values: Vec<Attributes>,
}

impl Classes {
    /// Where a set is, or will be.
    pub(crate) fn class(&mut self, attributes: Attributes) -> u32 {
        if let Some(class) = self.by_value.get(&attributes) {
            return *class;
        }
        let class = fits(self.values.len());
        self.values.push(attributes.clone());
        self.by_value.insert(attributes, class);
        class
    }

    /// The set that is there.
    pub(crate) fn get(&self, class: u32) -> &Attributes {
        &self.values[class as usize]
    }

    pub(crate) fn into_values(self) -> Vec<Attributes> {
        self.values
    }
}

/// Numbers jobs that go by the same, and makes equal hashes mean that they do.
fn number_occurrences(commands: &str, lines: &mut [Line]) {
    let mut occurrences = Occurrences::with_capacity(lines.len());
    for i in 0..lines.len() {
        let earlier = |j: usize| Identity { hash: lines[j].hash, occurrence: lines[j].occurrence };
        let same = |j: usize| lines[j].identity(commands) == lines[i].identity(commands);
        let identity = occurrences.identify(fits(i), lines[i].hash, earlier, same);
        lines[i].hash = identity.hash;
        lines[i].occurrence = identity.occurrence;
    }
}

/// Leaves of lines that go by the same only the first, and tells the others.
fn take_duplicates(lines: &mut Vec<Line>) -> Box<[Duplicate]> {
    let again: BTreeSet<u64> =
        lines.iter().filter(|line| line.occurrence > 0).map(|line| line.hash).collect();
    if again.is_empty() {
        return Box::default();
    }
    let is_first = |line: &&Line| line.occurrence == 0 && again.contains(&line.hash);
    let firsts: BTreeMap<u64, LineNo> =
        lines.iter().filter(is_first).map(|line| (line.hash, line.no)).collect();
    let others = lines.iter().filter(|line| line.occurrence > 0);
    let duplicates = others.map(|line| Duplicate { line: line.no, of: firsts[&line.hash] }).collect();
    lines.retain(|line| line.occurrence == 0);
    duplicates
}

/// A position in a text that is not too large.
pub(crate) fn fits(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
