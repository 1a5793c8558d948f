//! The words of a text, quoted as for a POSIX shell but without its operators.
//!
//! As Python's `shlex.split` has it, which existing CSV files were written for:
//! a `#` is a character like any other, and between double quotes a backslash
//! stands for itself, except before a double quote and another backslash.

use std::str::CharIndices;

/// Why a text cannot be split into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quotation begins and does not end.
    #[error("no closing quotation")]
    Quotation {
        /// Where it begins, in bytes.
        at: usize,
    },
    /// A backslash is the last character.
    #[error("nothing follows the backslash at its end")]
    Backslash {
        /// Where it stands, in bytes.
        at: usize,
    },
}

impl SplitError {
    /// Where in the text it is, in bytes.
    pub fn at(self) -> usize {
        match self {
            Self::Quotation { at } | Self::Backslash { at } => at,
        }
    }
}

/// The words of a text without their quotes.
pub(crate) fn split(text: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    // Nothing between words. An empty word is one where it has quotes.
    let mut word: Option<String> = None;
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' | '"' => quotation(&mut rest, (at, c), word.get_or_insert_default())?,
            '\\' => {
                let (_, escaped) = rest.next().ok_or(SplitError::Backslash { at })?;
                word.get_or_insert_default().push(escaped);
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Takes what follows a quote up to the one that ends it.
fn quotation(
    rest: &mut CharIndices<'_>,
    (at, quote): (usize, char),
    word: &mut String,
) -> Result<(), SplitError> {
    let unclosed = SplitError::Quotation { at };
    loop {
        let (_, c) = rest.next().ok_or(unclosed)?;
        if c == quote {
            return Ok(());
        }
        if c == '\\' && quote == '"' {
            let (_, escaped) = rest.next().ok_or(unclosed)?;
            if escaped != '"' && escaped != '\\' {
                word.push('\\');
            }
            word.push(escaped);
        } else {
            word.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        assert_eq!(split(text).unwrap(), expect, "{text:?}");
    }

    #[test]
    fn words() {
        check("", &[]);
        check(" \t\r\n", &[]);
        check("--llm  qwen2.5-7b --lr\t1e-3 ", &["--llm", "qwen2.5-7b", "--lr", "1e-3"]);
        check("'a b'\"c d\"e\\ f", &["a bc de f"]);
        check("'' \"\"", &["", ""]);
        check("a;b | c # d #e", &["a;b", "|", "c", "#", "d", "#e"]);
        check("--tag=#1 \u{a0}ä", &["--tag=#1", "\u{a0}ä"]);
        check(r#""\$x \" \\ \n" '\' \'"#, &[r#"\$x " \ \n"#, r"\", "'"]);
    }

    #[test]
    fn what_has_no_end() {
        assert_eq!(split("a 'b"), Err(SplitError::Quotation { at: 2 }));
        assert_eq!(split("ä\"b\\\""), Err(SplitError::Quotation { at: 2 }));
        assert_eq!(split("\"\\"), Err(SplitError::Quotation { at: 0 }));
        assert_eq!(split("a\\"), Err(SplitError::Backslash { at: 1 }));
    }
}
