//! Records of fields with a separator between them.
//!
//! Names, comments and command lines are free text: people put separators and
//! line breaks in them, and Slurm prints those as they are (seen). So the columns
//! with free text come last, and a line begins a record only if it has all the
//! others; any other line is the next one of a text.

use backend::MOST_OUTPUT;

/// What separates fields: a control character that is in no sane name. Accepted by
/// `squeue -O` and `sacct --delimiter` from 20.11 to 26.05 (seen).
pub(crate) const SEPARATOR: char = '\u{1f}';

/// The columns that were asked for, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Those without free text; the first one is an id, which begins with a digit.
    pub(crate) fixed: &'a [&'a str],
    /// Those with free text.
    pub(crate) free: &'a [&'a str],
}

/// One record.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    columns: Columns<'a>,
    cells: Vec<&'a str>,
}

/// The answer can't be made out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    /// Text that belongs to no record.
    #[error("the answer has a line that is no record: {0:?}")]
    Stray(String),
    /// A record without some of its fields.
    #[error("the answer has a record that is not whole: {0:?}")]
    Torn(String),
    /// The end is missing.
    #[error("the answer was cut off")]
    Cut,
    /// A field that must be there can't be read.
    #[error("the answer has a record whose {column} is {cell:?}")]
    Cell {
        /// Its column.
        column: &'static str,
        /// What is there.
        cell: String,
    },
}

/// What of a strange text is repeated, in characters.
const MOST_REPEATED: usize = 80;

/// The records of an answer. A record too few would be a job that is taken for
/// gone, so an answer that is not understood as a whole is an error.
pub(crate) fn rows<'a>(text: &'a str, columns: Columns<'a>) -> Result<Vec<Row<'a>>, AnswerError> {
    if text.len() >= MOST_OUTPUT {
        return Err(AnswerError::Cut);
    }
    let Some(text) = text.strip_suffix('\n') else {
        return if text.is_empty() { Ok(Vec::new()) } else { Err(AnswerError::Cut) };
    };
    let (mut begins, mut at) = (Vec::new(), 0);
    for line in text.split('\n') {
        if is_begin(line, columns) {
            begins.push(at);
        } else if begins.is_empty() && !is_heading(line) {
            return Err(AnswerError::Stray(cut(line)));
        }
        at += line.len() + 1;
    }
    let ends = begins.iter().skip(1).map(|next| next - 1).chain([text.len()]);
    begins.iter().zip(ends).map(|(from, to)| row(&text[*from..to], columns)).collect()
}

/// Whether a record begins with this line: it has all fields without free text.
fn is_begin(line: &str, columns: Columns<'_>) -> bool {
    line.starts_with(|c: char| c.is_ascii_digit()) && line.matches(SEPARATOR).count() >= columns.fixed.len()
}

/// What is printed before the records where a cluster is named (squeue(1), `-M`).
fn is_heading(line: &str) -> bool {
    line.is_empty() || line.starts_with("CLUSTER: ")
}

fn row<'a>(text: &'a str, columns: Columns<'a>) -> Result<Row<'a>, AnswerError> {
    let count = columns.fixed.len() + columns.free.len();
    let cells: Vec<_> = text.splitn(count, SEPARATOR).collect();
    if cells.len() < count { Err(AnswerError::Torn(cut(text))) } else { Ok(Row { columns, cells }) }
}

pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MOST_REPEATED).collect()
}

impl<'a> Row<'a> {
    /// What is in a column; nothing where it was not asked for, or where Slurm says
    /// in one of its ways that there is nothing.
    pub(crate) fn cell(&self, column: &str) -> &'a str {
        let cell = self.whole(column);
        if is_nothing(cell) { "" } else { cell }
    }

    /// The free text in a column, which may be `Unknown` in earnest.
    pub(crate) fn text(&self, column: &str) -> &'a str {
        let text = self.whole(column);
        if text == "(null)" { "" } else { text }
    }

    fn whole(&self, column: &str) -> &'a str {
        let mut names = self.columns.fixed.iter().chain(self.columns.free);
        names.position(|name| *name == column).map_or("", |at| self.cells[at])
    }

    /// What is in a column, read; nothing where it can't be.
    pub(crate) fn read<T: std::str::FromStr>(&self, column: &str) -> Option<T> {
        self.cell(column).parse().ok()
    }
}

/// The ways of Slurm to say that there is nothing (seen).
pub(crate) fn is_nothing(text: &str) -> bool {
    matches!(text, "" | "(null)" | "N/A" | "NONE" | "None assigned" | "Unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns<'_> = Columns { fixed: &["Id", "State"], free: &["Comment", "Name"] };

    /// Reads an answer with `~` for the separator; records with `/` between their
    /// fields.
    #[track_caller]
    fn check(text: &str, expect: Result<&[&str], AnswerError>) {
        let text = text.replace('~', "\u{1f}");
        let rows = rows(&text, COLUMNS).map(|rows| {
            let shown = |row: &Row<'_>| {
                [row.cell("Id"), row.cell("State"), row.text("Comment"), row.text("Name")].join("/")
            };
            rows.iter().map(|row| shown(row).replace('\u{1f}', "~")).collect::<Vec<_>>()
        });
        assert_eq!(rows, expect.map(|rows| rows.iter().map(|row| (*row).to_owned()).collect()), "{text:?}");
    }

    #[test]
    fn records() {
        check("", Ok(&[]));
        check("\n", Ok(&[]));
        check("1~R~c~n\n", Ok(&["1/R/c/n"]));
        check("1~R~(null)~N/A\n2~N/A~~m|x\n", Ok(&["1/R//N/A", "2///m|x"]));
        check("CLUSTER: lab\n1~R~c~n\n", Ok(&["1/R/c/n"]));
    }

    #[test]
    fn free_text_with_line_breaks_and_separators() {
        check("1~R~a\nb~n\n2~R~c~m\n", Ok(&["1/R/a\nb/n", "2/R/c/m"]));
        check("1~R~c~n\nm\n\n2~R~c~m\n", Ok(&["1/R/c/n\nm\n", "2/R/c/m"]));
        check("1~R~c~n\n7~x\n", Ok(&["1/R/c/n\n7~x"]));
        check("1~R~c\nState=R~n~o\n", Ok(&["1/R/c\nState=R/n~o"]));
        check("1~R~c~\n", Ok(&["1/R/c/"]));
    }

    #[test]
    fn answers_that_are_not_whole() {
        check("1~R~c~n", Err(AnswerError::Cut));
        let long = "1~R~c~n\n".repeat(MOST_OUTPUT / 8);
        assert_eq!(rows(&long.replace('~', "\u{1f}"), COLUMNS).err(), Some(AnswerError::Cut));
        check("slurm: hello\n1~R~c~n\n", Err(AnswerError::Stray("slurm: hello".to_owned())));
        check("1~R~c\n2~R~c~n\n", Err(AnswerError::Torn("1\u{1f}R\u{1f}c".to_owned())));
    }
}
