//! The fields of a CSV line.

use std::borrow::Cow;
use std::ops::Range;

use model::GpuSet;

use crate::SyntaxErrorKind;

/// What is wrong with a line, and where in it.
pub(super) type Bad = (Range<usize>, SyntaxErrorKind);

/// The fields of a line, in their order. The last two can hold commas that need
/// no quotes: the arguments may not, the GPUs may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Priority,
    Script,
    Conda,
    Arguments,
    Gpus,
}

/// One field.
#[derive(Debug, Clone)]
pub(super) struct Field<'t> {
    /// Where in the line it is, its quotes included, in bytes.
    pub(super) span: Range<usize>,
    /// What it says.
    pub(super) text: Cow<'t, str>,
    /// Whether there are quotes around it.
    pub(super) is_quoted: bool,
}

/// Takes one field of a line after the other, so that of several errors the
/// first is told.
pub(super) struct Fields<'t> {
    body: &'t str,
    next: usize,
}

impl<'t> Fields<'t> {
    pub(super) fn of(body: &'t str) -> Self {
        Self { body, next: 0 }
    }

    /// The next field, which has this name. Where the line has no more, it is
    /// empty.
    pub(super) fn take(&mut self, name: Name) -> Result<Field<'t>, Bad> {
        let rest = &self.body[self.next..];
        let from = self.next + rest.len() - rest.trim_start().len();
        if self.body[from..].starts_with('"') { self.quoted(name, from) } else { Ok(self.bare(name)) }
    }

    fn bare(&mut self, name: Name) -> Field<'t> {
        let (start, end) = (self.next, self.comma(name, self.next));
        let raw = &self.body[start..end];
        let text = raw.trim();
        let from = start + raw.len() - raw.trim_start().len();
        self.next = self.body.len().min(end + 1);
        Field { span: from..from + text.len(), text: text.into(), is_quoted: false }
    }

    fn quoted(&mut self, name: Name, from: usize) -> Result<Field<'t>, Bad> {
        let inside = &self.body[from + 1..];
        let Some(length) = closing(inside) else {
            return Err((from..self.body.len(), SyntaxErrorKind::OpenField));
        };
        let end = from + 1 + length + 1;
        let comma = self.comma(name, end);
        let behind = &self.body[end..comma];
        if !behind.trim().is_empty() {
            let at = end + behind.len() - behind.trim_start().len();
            let written = match name {
                Name::Arguments => quoted_arguments(&self.body[from..]),
                Name::Priority | Name::Script | Name::Conda | Name::Gpus => {
                    in_quotes(self.body[from..comma].trim_end())
                }
            };
            let kind = SyntaxErrorKind::TextBehindQuote { text: behind.trim().to_owned(), written };
            return Err((at..at + behind.trim().len(), kind));
        }
        self.next = self.body.len().min(comma + 1);
        let inside = &inside[..length];
        let text = if inside.contains('"') { inside.replace("\"\"", "\"").into() } else { inside.into() };
        Ok(Field { span: from..end, text, is_quoted: true })
    }

    /// Where a field ends that goes on at `from`. The last one has the rest.
    fn comma(&self, name: Name, from: usize) -> usize {
        let end = self.body.len();
        if name == Name::Gpus { end } else { self.body[from..].find(',').map_or(end, |at| from + at) }
    }

    /// A place to show for what is missing at the end of a field, since an empty
    /// one can't be shown: the character there, or else the last one.
    pub(super) fn place(&self, span: Range<usize>) -> Range<usize> {
        if !span.is_empty() {
            return span;
        }
        let (before, behind) = self.body.split_at(span.start);
        match behind.chars().next() {
            Some(c) => span.start..span.start + c.len_utf8(),
            None => before.char_indices().next_back().map_or(span, |(at, _)| at..before.len()),
        }
    }
}

/// Where the quote is that ends a quoted field, of which this is the inside and
/// what follows. Two together stand for one inside it.
fn closing(inside: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + inside[from..].find('"')?;
        if !inside[at + 1..].starts_with('"') {
            return Some(at);
        }
        from = at + 2;
    }
}

/// A text as a quoted field.
pub(super) fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The end of a line, from its arguments on, as it was probably meant: the
/// commas belong to the arguments, but for those of a list of GPUs at the end.
pub(super) fn quoted_arguments(rest: &str) -> String {
    let items: Vec<&str> = rest.split(',').collect();
    let (arguments, gpus) = items.split_at(1 + before_gpus(&items[1..]));
    // A comma at the end is the one before an empty list.
    let gpus = gpus.join(",");
    let arguments = in_quotes(arguments.join(",").trim());
    if gpus.trim().is_empty() { arguments } else { format!("{arguments},{}", gpus.trim()) }
}

/// Whether a list of GPUs ascends, as one does that nobody wrote as arguments.
pub(super) fn ascends(list: &str) -> bool {
    before_gpus(&list.split(',').collect::<Vec<_>>()) == 0
}

/// How many of these come before the GPUs at their end, which ascend.
fn before_gpus(items: &[&str]) -> usize {
    let mut items_left = items.len();
    if items.last().is_some_and(|item| item.trim().is_empty()) {
        return items_left - 1;
    }
    let mut lowest = None;
    while let Some(at) = items_left.checked_sub(1)
        && let Ok(gpus) = GpuSet::parse(items[at])
        && lowest.is_none_or(|lowest| gpus.iter().all(|gpu| gpu < lowest))
    {
        (items_left, lowest) = (at, gpus.iter().next());
    }
    items_left
}
