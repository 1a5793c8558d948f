//! The words of a shell command, without running it.
//!
//! It knows quotes, backslashes and what `$(`, `${` and a backtick begin, so that
//! a word is told from the same letters inside another. What the shell would put
//! in place of a word is not known here.

use std::borrow::Cow;
use std::ops::Range;

/// A piece of a command. White space between pieces is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// Where in the command it is, in bytes.
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    /// One character of an operator, such as `|` or the end of a line.
    Operator,
    /// A comment, up to the end of its line.
    Comment,
    /// A word with a quote or bracket that has no end.
    Open,
}

/// An option in a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// Where its word is.
    pub(crate) word: Range<usize>,
    pub(crate) value: Value,
}

/// Where an option has its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// In the next word, which is there.
    Next(Range<usize>),
    /// In its own word, behind a `=`.
    Joined,
    /// It has none: no word follows, or another option.
    Missing,
}

/// Every place where a command has an option of this name, such as `--cuda`.
pub(crate) fn options(command: &str, name: &str) -> Vec<Given> {
    // Most commands have none, and there may be a million of them.
    if !command.contains(name) {
        return Vec::new();
    }
    let tokens = tokens(command);
    let word = |token: &Token| (token.kind == Kind::Word).then(|| unquoted(&command[token.span.clone()]));
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(behind) = word(token).and_then(|text| Some(text.strip_prefix(name)?.to_owned())) else {
            continue;
        };
        let next = tokens.get(at + 1).filter(|next| word(next).is_some_and(|text| !is_option(&text)));
        let value = match next {
            _ if behind.starts_with('=') => Value::Joined,
            _ if !behind.is_empty() => continue,
            Some(next) => Value::Next(next.span.clone()),
            None => Value::Missing,
        };
        found.push(Given { word: token.span.clone(), value });
    }
    found
}

/// The value that a command gives an option the first time, without quotes.
pub(crate) fn first_value<'c>(command: &'c str, name: &str) -> Option<Cow<'c, str>> {
    let given = options(command, name).into_iter().next()?;
    match given.value {
        Value::Next(span) => Some(unquoted(&command[span])),
        Value::Joined => Some(behind(unquoted(&command[given.word]), name.len() + 1)),
        Value::Missing => None,
    }
}

fn behind(text: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[length..]),
        Cow::Owned(text) => Cow::Owned(text[length..].to_owned()),
    }
}

/// Whether a word is an option and no value. A negative number is a value.
fn is_option(word: &str) -> bool {
    word.strip_prefix('-')
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The pieces of a command, in their order.
pub(crate) fn tokens(command: &str) -> Vec<Token> {
    let bytes = command.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (kind, end) = match byte {
            b' ' | b'\t' => {
                at += 1;
                continue;
            }
            b'#' => (Kind::Comment, command[at..].find('\n').map_or(bytes.len(), |length| at + length)),
            byte if is_operator(*byte) => (Kind::Operator, at + 1),
            _ => word_end(bytes, at).map_or((Kind::Open, bytes.len()), |end| (Kind::Word, end)),
        };
        tokens.push(Token { span: at..end, kind });
        at = end;
    }
    tokens
}

fn is_operator(byte: u8) -> bool {
    matches!(byte, b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' | b'\n')
}

/// Where a word ends that begins at `at`; nothing where a quote or a bracket in
/// it has no end.
fn word_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    // What must close what is open, from the outside in. A list and no recursion:
    // a command may open any number of brackets.
    let mut open: Vec<u8> = Vec::new();
    while let Some(byte) = bytes.get(at) {
        let inner = open.last().copied();
        let next = bytes.get(at + 1);
        match (byte, next) {
            (b'\\', Some(_)) => at += 1,
            // At the very end it stands for itself.
            (b'\\', None) => {}
            (byte, _) if inner == Some(*byte) => drop(open.pop()),
            (b'\'', _) if inner != Some(b'"') => {
                at += 1 + bytes[at + 1..].iter().position(|byte| *byte == b'\'')?;
            }
            (b'"' | b'`', _) => open.push(*byte),
            (b'$', Some(b'(')) => {
                open.push(b')');
                at += 1;
            }
            (b'$', Some(b'{')) => {
                open.push(b'}');
                at += 1;
            }
            (b'(', _) if inner == Some(b')') => open.push(b')'),
            (b' ' | b'\t', _) if inner.is_none() => return Some(at),
            (byte, _) if inner.is_none() && is_operator(*byte) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    open.is_empty().then_some(bytes.len())
}

/// A word as the shell takes it: without quotes, and with what a backslash
/// protects. Nothing is put in the place of what begins with `$`.
pub(crate) fn unquoted(word: &str) -> Cow<'_, str> {
    if !word.contains(['\\', '\'', '"']) {
        return Cow::Borrowed(word);
    }
    let mut text = String::new();
    let mut rest = word.chars();
    let mut quote = None;
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None) => text.extend(rest.next().or(Some(c)).filter(|c| *c != '\n')),
            ('\\', Some('"')) => match rest.next() {
                Some('\n') => {}
                Some(c @ ('$' | '`' | '"' | '\\')) => text.push(c),
                other => text.extend(Some(c).into_iter().chain(other)),
            },
            _ => text.push(c),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens between bars, with a letter before those that are no words.
    #[track_caller]
    fn check(command: &str, expect: &str) {
        let told = |token: &Token| {
            let kind = match token.kind {
                Kind::Word => "",
                Kind::Operator => "op ",
                Kind::Comment => "comment ",
                Kind::Open => "open ",
            };
            format!("{kind}{}", &command[token.span.clone()])
        };
        let found: Vec<String> = tokens(command).iter().map(told).collect();
        assert_eq!(found.join(" ¦ "), expect, "{command:?}");
    }

    #[test]
    fn words_and_operators() {
        check("", "");
        check("  python\ta.py  ", "python ¦ a.py");
        check("a 'b c'\"d e\"f\\ g", "a ¦ 'b c'\"d e\"f\\ g");
        check("a|b&&c;d>e", "a ¦ op | ¦ b ¦ op & ¦ op & ¦ c ¦ op ; ¦ d ¦ op > ¦ e");
        check("(a)\nb", "op ( ¦ a ¦ op ) ¦ op \n ¦ b");
        check("a \\| '|' \"&\" b\\;", "a ¦ \\| ¦ '|' ¦ \"&\" ¦ b\\;");
        check("a#b #c | d\ne", "a#b ¦ comment #c | d ¦ op \n ¦ e");
    }

    #[test]
    fn what_is_put_in_belongs_to_its_word() {
        check("a $(b | c (d) ')' \")\") e", "a ¦ $(b | c (d) ')' \")\") ¦ e");
        check("a ${b:-c d} `e; f` \"$(g \"h\" | i)\"", "a ¦ ${b:-c d} ¦ `e; f` ¦ \"$(g \"h\" | i)\"");
        check("$((1 + 2))x y", "$((1 + 2))x ¦ y");
        check("\"it's\" it\\'s", "\"it's\" ¦ it\\'s");
    }

    #[test]
    fn what_has_no_end() {
        for open in ["'b", "\"b '", "$(b", "${b", "`b", "\"\\\""] {
            check(&format!("a {open} c"), &format!("a ¦ open {open} c"));
        }
        check("a \\", "a ¦ \\");
        let deep = "$(".repeat(100_000);
        check(&deep, &format!("open {deep}"));
    }

    #[test]
    fn unquoted_words() {
        let words = [
            ("ab", "ab"),
            ("'a b'\"c d\"", "a bc d"),
            ("a\\ b\\\\", "a b\\"),
            (r#""\$x \n \" \\""#, r#"$x \n " \"#),
            ("\\", "\\"),
            ("'--cuda'", "--cuda"),
        ];
        for (word, expect) in words {
            assert_eq!(unquoted(word), expect, "{word}");
        }
    }

    #[track_caller]
    fn check_value(command: &str, expect: Option<&str>) {
        assert_eq!(first_value(command, "--llm").as_deref(), expect, "{command:?}");
    }

    #[test]
    fn values_of_options() {
        check_value("python a.py", None);
        check_value("python a.py --llm qwen2.5-7b --llm other", Some("qwen2.5-7b"));
        check_value("python a.py --llm=qwen2.5-7b", Some("qwen2.5-7b"));
        check_value("python a.py '--llm=qwen 7b'", Some("qwen 7b"));
        check_value("python a.py --llm 'qwen 7b'|tee", Some("qwen 7b"));
        check_value("python a.py --llm -1", Some("-1"));
        check_value("python a.py --llm=", Some(""));
        check_value("python a.py --llms x --llm-dir y", None);
        check_value("python a.py --llm --mode x", None);
        check_value("python a.py --llm", None);
        check_value("python a.py --llm | tee x", None);
        check_value("bash -c 'python a.py --llm x'", None);
        check_value("echo # --llm x", None);
    }
}
