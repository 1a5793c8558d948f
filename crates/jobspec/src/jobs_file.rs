//! The jobs file: one job a line.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use model::JobKey;

use crate::attributes::{Attributes, BadAttribute};
use crate::error::{LONGEST_COMMAND, LineNo, SyntaxError, SyntaxErrorKind};
use crate::key::{Identity, Occurrences, digest_of, text_hash};

/// The jobs of a file, in file order.
///
/// It holds the text once, 32 bytes a job and each different set of attributes
/// once. Jobs are told by their index, from 0; an index from [`Self::len`] on
/// panics.
pub struct JobsFile {
    text: Arc<str>,
    lines: Box<[Line]>,
    classes: Box<[Attributes]>,
}

/// A job. Its command is a piece of the text.
#[derive(Debug, Clone, Copy)]
struct Line {
    hash: u64,
    start: u32,
    len: u32,
    occurrence: u32,
    class: u32,
    no: LineNo,
}

const _: () = assert!(size_of::<Line>() <= 32, "a million lines shall cost no more than 32 MB");

/// A text of this many bytes or fewer can be addressed by [`Line`].
const MOST_BYTES: usize = u32::MAX as usize;

/// Reads a jobs file.
///
/// One job a line. White space around a line is dropped; empty lines, and those
/// that start with `#`, are skipped. A line that starts with `[` starts with a
/// block of attributes, which ends at the first `]`; the rest is the command,
/// and everything inside it is kept as it is. A byte order mark at the start of
/// the file is skipped.
///
/// A line with an error is no job, and is in the errors instead.
pub fn parse_jobs_file(text: impl Into<Arc<str>>) -> (JobsFile, Vec<SyntaxError>) {
    parse_with(text.into(), text_hash)
}

/// The same with another hash, for tests of what happens when hashes clash.
pub(crate) fn parse_with(text: Arc<str>, hash: impl Fn(&str) -> u64) -> (JobsFile, Vec<SyntaxError>) {
    if text.len() > MOST_BYTES {
        let error = SyntaxError { line: LineNo(1), span: 0..0, kind: SyntaxErrorKind::FileTooLarge };
        return (JobsFile::empty(), vec![error]);
    }
    let mut reader = Reader::new(&text, hash);
    reader.read();
    let Reader { mut lines, blocks, errors, .. } = reader;
    number_occurrences(&text, &mut lines);
    let classes = blocks.classes.into_boxed_slice();
    (JobsFile { lines: lines.into_boxed_slice(), classes, text }, errors)
}

impl JobsFile {
    /// No jobs at all.
    pub fn empty() -> Self {
        Self { text: Arc::from(""), lines: Box::default(), classes: Box::default() }
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
        self.lines[i].command(&self.text)
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

    /// A hash of a job's command. Two jobs of this file have the same hash
    /// exactly when they have the same command; across files that is only very
    /// probable. It is good for as long as this process runs: store keys.
    pub fn text_hash(&self, i: usize) -> u64 {
        self.lines[i].hash
    }

    /// Which of the jobs with the same command a job is, from 0, in file order.
    pub fn occurrence(&self, i: usize) -> u32 {
        self.lines[i].occurrence
    }

    /// The first six bytes of the SHA-1 of a job's command, computed now.
    pub fn digest(&self, i: usize) -> [u8; 6] {
        digest_of(self.command(i))
    }

    /// A job's key: its digest and its occurrence.
    pub fn key(&self, i: usize) -> JobKey {
        JobKey::new(self.digest(i), self.occurrence(i))
    }

    /// The whole text, comments and errors included.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether a job of this file has the same command as one of another.
    pub(crate) fn same_command(&self, i: usize, other: &Self, j: usize) -> bool {
        self.lines[i].hash == other.lines[j].hash && self.command(i) == other.command(j)
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
    fn command<'t>(&self, text: &'t str) -> &'t str {
        let start = self.start as usize;
        &text[start..start + self.len as usize]
    }
}

/// One pass over a text.
struct Reader<'t, H> {
    text: &'t str,
    hash: H,
    /// Whether to look for NULs at all: hardly any file has one.
    has_nul: bool,
    lines: Vec<Line>,
    blocks: Blocks<'t>,
    errors: Vec<SyntaxError>,
}

impl<'t, H: Fn(&str) -> u64> Reader<'t, H> {
    fn new(text: &'t str, hash: H) -> Self {
        let has_nul = text.contains('\0');
        Self { text, hash, has_nul, lines: Vec::new(), blocks: Blocks::default(), errors: Vec::new() }
    }

    fn read(&mut self) {
        let mut mark = if self.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut start = 0;
        let mut no = LineNo(0);
        for line in self.text.split('\n') {
            no.0 += 1;
            let from_mark = &line[mark..];
            let body = from_mark.trim_start();
            if !body.is_empty() && !body.starts_with('#') {
                let indent = mark + from_mark.len() - body.len();
                self.read_job(no, start, indent, body.trim_end());
            }
            start += line.len() + 1;
            mark = 0;
        }
    }

    /// Reads a line that is neither empty nor a comment. It starts at `start`
    /// of the text and its `body` at `indent` of the line.
    fn read_job(&mut self, no: LineNo, start: usize, indent: usize, body: &'t str) {
        match self.split(body) {
            Ok((class, command)) => {
                let at = start + indent + body.len() - command.len();
                self.lines.push(Line {
                    hash: (self.hash)(command),
                    start: fits(at),
                    len: fits(command.len()),
                    occurrence: 0,
                    class,
                    no,
                });
            }
            Err((span, kind)) => {
                let span = indent + span.start..indent + span.end;
                self.errors.push(SyntaxError { line: no, span, kind });
            }
        }
    }

    /// Splits a line into its attributes' class and its command, the end of it.
    fn split(&mut self, body: &'t str) -> Result<(u32, &'t str), (Range<usize>, SyntaxErrorKind)> {
        let (block, command) = match body.strip_prefix('[') {
            // An empty piece of the text, not "": that points nowhere, and some
            // processors take their time to compare nothing with nowhere.
            None => body.split_at(0),
            Some(rest) => {
                let (block, rest) =
                    rest.split_once(']').ok_or((0..body.len(), SyntaxErrorKind::Unterminated))?;
                (block, rest.trim_start())
            }
        };
        if command.is_empty() {
            return Err((0..body.len(), SyntaxErrorKind::EmptyCommand));
        }
        if self.has_nul
            && let Some(at) = command.find('\0')
        {
            let at = body.len() - command.len() + at;
            return Err((at..at + 1, SyntaxErrorKind::NulByte));
        }
        if command.len() > LONGEST_COMMAND {
            let from = body.len() - command.len();
            return Err((from..body.len(), SyntaxErrorKind::LongCommand { length: command.len() }));
        }
        let behind_bracket = |bad: BadAttribute| (1 + bad.span.start..1 + bad.span.end, bad.kind);
        let class = self.blocks.class(block).map_err(behind_bracket)?;
        Ok((class, command))
    }
}

/// The blocks read so far, so that each is read once.
#[derive(Default)]
struct Blocks<'t> {
    /// The last one: mostly the next is the same.
    last: Option<(&'t str, u32)>,
    by_text: BTreeMap<&'t str, u32>,
    by_value: BTreeMap<Attributes, u32>,
    classes: Vec<Attributes>,
}

impl<'t> Blocks<'t> {
    fn class(&mut self, block: &'t str) -> Result<u32, BadAttribute> {
        if let Some((last, class)) = self.last
            && last == block
        {
            return Ok(class);
        }
        let class = match self.by_text.get(block) {
            Some(class) => *class,
            None => self.add(block)?,
        };
        self.last = Some((block, class));
        Ok(class)
    }

    fn add(&mut self, block: &'t str) -> Result<u32, BadAttribute> {
        let attributes = Attributes::parse(block)?;
        let class = if let Some(class) = self.by_value.get(&attributes) {
            *class
        } else {
            let class = fits(self.classes.len());
            self.classes.push(attributes.clone());
            self.by_value.insert(attributes, class);
            class
        };
        self.by_text.insert(block, class);
        Ok(class)
    }
}

/// Numbers equal commands, and makes equal hashes mean equal commands.
fn number_occurrences(text: &str, lines: &mut [Line]) {
    let mut occurrences = Occurrences::with_capacity(lines.len());
    for i in 0..lines.len() {
        let earlier = |j: usize| Identity { hash: lines[j].hash, occurrence: lines[j].occurrence };
        let same = |j: usize| lines[j].command(text) == lines[i].command(text);
        let identity = occurrences.identify(fits(i), lines[i].hash, earlier, same);
        lines[i].hash = identity.hash;
        lines[i].occurrence = identity.occurrence;
    }
}

/// A position in a text that is not too large.
fn fits(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
