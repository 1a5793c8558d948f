//! The line format: a shell command a line, behind a block of attributes where
//! it needs one.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::attributes::{Attributes, BadAttribute, split_block};
use crate::command::hides_end;
use crate::error::{LONGEST_COMMAND, SyntaxError, SyntaxErrorKind};
use crate::format::{JobLine, job_lines};

use super::{Classes, Found, Line, fits};

/// Reads a text. The commands of its jobs are pieces of it.
pub(super) fn read(text: &str, hash: impl Fn(&str) -> u64) -> Found {
    let mut reader = Reader::new(text, hash);
    for line in job_lines(text) {
        reader.read_job(&line);
    }
    let Reader { lines, blocks, errors, .. } = reader;
    Found { lines, classes: blocks.classes.into_values(), errors }
}

/// One pass over a text.
struct Reader<'t, H> {
    hash: H,
    /// Whether to look for NULs at all: hardly any file has one.
    has_nul: bool,
    lines: Vec<Line>,
    blocks: Blocks<'t>,
    errors: Vec<SyntaxError>,
}

impl<'t, H: Fn(&str) -> u64> Reader<'t, H> {
    fn new(text: &str, hash: H) -> Self {
        let has_nul = text.contains('\0');
        Self { hash, has_nul, lines: Vec::new(), blocks: Blocks::default(), errors: Vec::new() }
    }

    fn read_job(&mut self, line: &JobLine<'t>) {
        match self.split(line.body) {
            Ok((class, command)) => {
                let at = line.start + line.indent + line.body.len() - command.len();
                self.lines.push(Line {
                    hash: (self.hash)(command),
                    start: fits(at),
                    len: fits(command.len()),
                    prefix: 0,
                    occurrence: 0,
                    class,
                    no: line.no,
                });
            }
            Err((span, kind)) => {
                let span = line.indent + span.start..line.indent + span.end;
                self.errors.push(SyntaxError { line: line.no, column: None, span, kind });
            }
        }
    }

    /// Splits a line into its attributes' class and its command, the end of it.
    fn split(&mut self, body: &'t str) -> Result<(u32, &'t str), (Range<usize>, SyntaxErrorKind)> {
        let (block, command) = split_block(body).map_err(|kind| (0..body.len(), kind))?;
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
        if self.blocks.classes.get(class).cuda.is_some()
            && let Some(piece) = hides_end(command)
        {
            let from = body.len() - command.len();
            let kind = SyntaxErrorKind::CudaUnclear { piece: command[piece.clone()].to_owned() };
            return Err((from + piece.start..from + piece.end, kind));
        }
        Ok((class, command))
    }
}

/// The blocks read so far, so that each is read once.
#[derive(Default)]
struct Blocks<'t> {
    /// The last one: mostly the next is the same.
    last: Option<(&'t str, u32)>,
    by_text: BTreeMap<&'t str, u32>,
    classes: Classes,
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
        let class = self.classes.class(attributes);
        self.by_text.insert(block, class);
        Ok(class)
    }
}
