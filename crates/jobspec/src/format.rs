//! The two formats of a jobs file, and how a text tells which one it has.

use crate::LineNo;
use crate::attributes::split_block;

/// How the jobs of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// A shell command a line, with a block of attributes before it where needed.
    Lines,
    /// `priority,script,conda,arguments,allowed_gpus` a line.
    Csv,
}

/// Which format a text has, by its first line that is neither empty nor a
/// comment; nothing where there is no such line.
///
/// It is CSV where an integer, or the word `priority` of a header, is followed by
/// a comma and something else, with or without a block of attributes before: no
/// shell command begins so.
pub fn detect_format(text: &str) -> Option<Format> {
    job_lines(text).next().map(|line| if begins_csv(line.body) { Format::Csv } else { Format::Lines })
}

fn begins_csv(body: &str) -> bool {
    let body = split_block(body).map_or(body, |(_, rest)| rest);
    let Some((_, rest)) = body.split_once(',') else { return false };
    let first = first_field(body);
    let digits = first.strip_prefix(['-', '+']).unwrap_or(first);
    let is_integer = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (is_integer || names_priority(first)) && !rest.trim().is_empty()
}

/// Whether a line is the header of a CSV file and no job.
pub(crate) fn is_header(body: &str) -> bool {
    names_priority(first_field(body))
}

fn names_priority(field: &str) -> bool {
    field.eq_ignore_ascii_case("priority")
}

/// What stands before the first comma, without quotes around it.
fn first_field(body: &str) -> &str {
    let field = body.split(',').next().unwrap_or_default().trim();
    field.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(field)
}

/// A line that is neither empty nor a comment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobLine<'t> {
    pub(crate) no: LineNo,
    /// Where in the text the line starts, in bytes.
    pub(crate) start: usize,
    /// Where in the line its body starts, in bytes.
    pub(crate) indent: usize,
    /// The line without white space around it.
    pub(crate) body: &'t str,
}

/// Those lines of a text. A byte order mark at its start is skipped.
pub(crate) fn job_lines(text: &str) -> impl Iterator<Item = JobLine<'_>> {
    let mut mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut next = 0;
    let mut no = LineNo(0);
    text.split('\n').filter_map(move |line| {
        no.0 += 1;
        let (start, skipped) = (next, std::mem::take(&mut mark));
        next += line.len() + 1;
        let from_mark = &line[skipped..];
        let body = from_mark.trim_start();
        if body.is_empty() || body.starts_with('#') {
            return None;
        }
        let indent = skipped + from_mark.len() - body.len();
        Some(JobLine { no, start, indent, body: body.trim_end() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<Format>) {
        assert_eq!(detect_format(text), expect, "{text:?}");
    }

    #[test]
    fn csv() {
        check("0,train.py", Some(Format::Csv));
        check("\u{feff}# jobs\r\n\r\n -3 , train.py,,\r\necho", Some(Format::Csv));
        check("+1,train.py", Some(Format::Csv));
        check("99999999999,train.py", Some(Format::Csv));
        check("\"0\",\"train.py\"", Some(Format::Csv));
        check("Priority,script,conda,arguments,allowed_gpus", Some(Format::Csv));
        check("0,,", Some(Format::Csv));
    }

    #[test]
    fn commands() {
        check("python train.py\n0,train.py", Some(Format::Lines));
        check("[priority=1] python train.py", Some(Format::Lines));
        check("0", Some(Format::Lines));
        check("0,", Some(Format::Lines));
        check("priority", Some(Format::Lines));
        check("-,train.py", Some(Format::Lines));
        check("1 2,train.py", Some(Format::Lines));
        check("\u{ff11},train.py", Some(Format::Lines));
        check("cat <<< 1,2", Some(Format::Lines));
    }

    #[test]
    fn nothing() {
        check("", None);
        check("\u{feff}\n  # 0,train.py\n", None);
    }
}
