//! What can be wrong with a line, in the Python tool's words and with advice.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::{SplitError, WhyCsv};

/// The number of a line in its file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineNo(pub u32);

/// A line is not a job.
///
/// Prints as `line 3: gpus must be positive, got '0'`, in a CSV file as
/// `line 3, column 12: ...`, followed by the remedy where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {kind}{}", Column(*.column), Appended(.kind.remedy()))]
pub struct SyntaxError {
    /// The line.
    pub line: LineNo,
    /// In a CSV file, the characters before it in its line, plus 1.
    pub column: Option<u32>,
    /// Where in the line, in bytes from its start as it stands in the file.
    pub span: Range<usize>,
    /// What is wrong.
    pub kind: SyntaxErrorKind,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxErrorKind {
    /// It starts with `[` and has no `]`.
    #[error("unterminated '[...]' attribute block")]
    Unterminated,
    /// Nothing follows the block.
    #[error("attribute block present but command is empty")]
    EmptyCommand,
    /// A word of the block is no attribute at all.
    #[error("malformed attribute {} (expected key=value, or bare 'cancel')", Quoted(.token))]
    Malformed {
        /// The word.
        token: String,
    },
    /// There is no such attribute, or `cancel` was given a value.
    #[error("unknown attribute {} (known: vram, gpus, timeout, retries, cancel, priority, on, cuda, conda, name, cwd, env.NAME)", Quoted(.key))]
    Unknown {
        /// Its name, in lower case.
        key: String,
    },
    /// `vram` is not a decimal number with a known unit.
    #[error("cannot parse vram value {} (use MiB or a G/GiB suffix)", Quoted(.value))]
    VramMalformed {
        /// The value.
        value: String,
    },
    /// `vram` rounds to less than one MiB.
    #[error("vram must be positive, got {}", Quoted(.value))]
    VramNotPositive {
        /// The value.
        value: String,
    },
    /// `vram` is more than any GPU has.
    #[error("vram is too large, got {}", Quoted(.value))]
    VramTooLarge {
        /// The value.
        value: String,
    },
    /// `timeout` is not a decimal number with a known unit.
    #[error("cannot parse duration {} (use s/m/h/d)", Quoted(.value))]
    TimeoutMalformed {
        /// The value.
        value: String,
    },
    /// `timeout` rounds to less than one millisecond.
    #[error("timeout must be positive, got {}", Quoted(.value))]
    TimeoutNotPositive {
        /// The value.
        value: String,
    },
    /// `timeout` is more than a hundred years.
    #[error("timeout is too long, got {} (at most 36525d)", Quoted(.value))]
    TimeoutTooLong {
        /// The value.
        value: String,
    },
    /// `gpus` is not a decimal number.
    #[error("gpus must be a number such as 2 or 0.5, got {}", Quoted(.value))]
    GpusMalformed {
        /// The value.
        value: String,
    },
    /// `gpus` is not more than nothing.
    #[error("gpus must be positive, got {}", Quoted(.value))]
    GpusNotPositive {
        /// The value.
        value: String,
    },
    /// `priority` does not fit into 32 bits.
    #[error("priority is out of range, got {}", Told(.value))]
    PriorityOutOfRange {
        /// The value.
        value: String,
    },
    /// `on` is not a list of GPUs.
    #[error("on must be a list of GPUs, got {} ({why})", Quoted(.value))]
    NotGpus {
        /// The value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// `cuda` has a value that means nothing.
    #[error("cuda must be 'index' or 'visible', got {}", Quoted(.value))]
    CudaMalformed {
        /// The value.
        value: String,
    },
    /// `cuda` is to put the GPUs at the end of a command that is more than one
    /// program and its arguments.
    #[error("cuda: it is unclear where --cuda belongs in a command with {}", Quoted(.piece))]
    CudaUnclear {
        /// What makes it so: an operator, a comment or an open quote.
        piece: String,
    },
    /// An attribute that needs a text has none.
    #[error("{attribute} has no value")]
    NoValue {
        /// Which.
        attribute: &'static str,
    },
    /// What follows `env.` is not the name of a variable.
    #[error("{} is not the name of a variable", Quoted(.name))]
    NotVariable {
        /// What does.
        name: String,
    },
    /// The variable is ours to set.
    #[error("{name} is set by gpusched")]
    ReservedVariable {
        /// Its name.
        name: String,
    },
    /// `retries` or `priority` is not written in decimal digits alone.
    #[error("{attribute} must be an integer, got {}", Quoted(.value))]
    NotInteger {
        /// Which of the two.
        attribute: &'static str,
        /// The value.
        value: String,
    },
    /// `retries` is too small.
    #[error("{attribute} must be >= {least}, got {}", Told(.value))]
    TooSmall {
        /// Which attribute.
        attribute: &'static str,
        /// The least it may be.
        least: u32,
        /// The value.
        value: String,
    },
    /// `gpus` or `retries` is too large.
    #[error("{attribute} must be <= {most}, got {}", Told(.value))]
    TooLarge {
        /// Which of the two.
        attribute: &'static str,
        /// The most it may be.
        most: u32,
        /// The value.
        value: String,
    },
    /// A NUL byte in the command: the system can't pass it to a shell.
    #[error("the command contains a NUL byte")]
    NulByte,
    /// The command is longer than the system takes.
    #[error("the command is too long: {length} bytes, and the system takes {LONGEST_COMMAND}")]
    LongCommand {
        /// Its length in bytes.
        length: usize,
    },
    /// The first field of a CSV line is no integer.
    #[error("priority must be an integer, got {}", Quoted(.value))]
    CsvPriority {
        /// The field.
        value: String,
        /// Why the file is read as CSV.
        reason: WhyCsv,
    },
    /// A CSV line has no second field.
    #[error("there is no script")]
    NoScript,
    /// A quoted field of a CSV line has no end.
    #[error("unterminated quoted field")]
    OpenField,
    /// A quoted field of a CSV line goes on behind its quotes.
    #[error("{} follows a quoted field", Quoted(.text))]
    TextBehindQuote {
        /// What follows it.
        text: String,
        /// How the field may have been meant.
        written: String,
    },
    /// The arguments of a CSV line can't be split into words.
    #[error("cannot split the arguments {}: {why}", Quoted(.value))]
    Arguments {
        /// The arguments.
        value: String,
        /// Why not.
        why: SplitError,
        /// How they may have been meant, where commas in them need quotes.
        written: Option<String>,
    },
    /// The last field of a CSV line is no list of GPUs.
    #[error("allowed_gpus must be a list of GPUs, got {} ({why})", Quoted(.value))]
    AllowedGpus {
        /// The field.
        value: String,
        /// What is wrong with it.
        why: String,
        /// How the arguments before it may have been meant, where commas in them
        /// need quotes.
        written: Option<String>,
    },
    /// The last field of a CSV line is a list of GPUs, but in an order in which
    /// nobody lists them, and the first of them may be meant as arguments.
    #[error("GPUs that do not ascend may be arguments, got {}", Quoted(.value))]
    UnclearGpus {
        /// The field.
        value: String,
        /// How the end of the line may have been meant.
        written: String,
    },
    /// The file, or what it stands for, is larger than 4 GiB; none of it was read. Told of line 1.
    #[error("the file is larger than 4 GiB")]
    FileTooLarge,
}

/// The longest command in bytes: what Linux takes as one argument of a program
/// (`MAX_ARG_STRLEN`), less the byte that ends it.
pub const LONGEST_COMMAND: usize = 128 * 1024 - 1;

/// How to begin a command with the shell's own `[`.
const SHELL_TEST: &str = "to start a command with a shell test, write 'test ...' or put '[]' before it";

/// What a CSV line is.
const CSV_LINE: &str =
    "a line is priority,script,conda,arguments,allowed_gpus, such as 0,train.py,,--lr 0.1,0-3";

impl SyntaxErrorKind {
    /// What the user can do about it, where that is not plain from the error.
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        self.written_out().map(Cow::Owned).or_else(|| self.advice().map(Cow::Borrowed))
    }

    /// The remedy that has the user's own words in it.
    fn written_out(&self) -> Option<String> {
        let (advice, written) = if let Self::TextBehindQuote { written, .. } = self {
            ("put the quotes around the whole field, and write those inside it twice", written)
        } else if let Self::Arguments { written: Some(written), .. } = self {
            ("where a comma belongs to the arguments, put double quotes around them", written)
        } else if let Self::AllowedGpus { written: Some(written), .. } = self {
            ("where the comma before it belongs to the arguments, put double quotes around them", written)
        } else if let Self::UnclearGpus { written, .. } = self {
            return Some(format!(
                "put double quotes around the arguments, {}, or list the GPUs in ascending order",
                Told(written)
            ));
        } else {
            return None;
        };
        Some(format!("{advice}: {}", Told(written)))
    }

    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Malformed { token } => malformed_remedy(token),
            Self::Unknown { key } if key == "cancel" => Some("write 'cancel' without a value"),
            Self::Unknown { key } => is_shell(key).then_some(SHELL_TEST),
            Self::VramMalformed { value }
            | Self::GpusMalformed { value }
            | Self::NotInteger { value, .. } => comma_remedy(value),
            Self::NotGpus { .. } | Self::AllowedGpus { .. } => {
                Some("write indices and ranges with commas between them, such as 0-3,5")
            }
            Self::CudaUnclear { .. } => Some("write --cuda {gpus} where it belongs"),
            Self::NotVariable { .. } => Some("write env.NAME=value"),
            Self::ReservedVariable { .. } => Some("drop it: jobs get it by themselves"),
            Self::TimeoutMalformed { value } => {
                comma_remedy(value).or(Some("write one number with one unit, such as 1.5h"))
            }
            Self::VramTooLarge { .. } => Some("a number without a unit is in MiB"),
            Self::NulByte => Some("remove it: it can't be passed to a shell"),
            Self::LongCommand { .. } => Some("put it into a script and run that"),
            Self::FileTooLarge => Some("split it"),
            Self::CsvPriority { reason: WhyCsv::FirstLine, .. } => {
                Some("the file is CSV by its first job; with --format lines it is read as shell commands")
            }
            Self::CsvPriority { reason: WhyCsv::Chosen, .. } | Self::NoScript => Some(CSV_LINE),
            Self::OpenField => Some("end it with a double quote, and write those inside it twice"),
            Self::Arguments { why: SplitError::Quotation { .. }, .. } => {
                Some("close the quotation, or put a backslash before the quote")
            }
            Self::Arguments { why: SplitError::Backslash { .. }, .. } => Some("write it twice"),
            Self::TextBehindQuote { .. }
            | Self::UnclearGpus { .. }
            | Self::Unterminated
            | Self::EmptyCommand
            | Self::VramNotPositive { .. }
            | Self::TimeoutNotPositive { .. }
            | Self::TimeoutTooLong { .. }
            | Self::GpusNotPositive { .. }
            | Self::PriorityOutOfRange { .. }
            | Self::CudaMalformed { .. }
            | Self::NoValue { .. }
            | Self::TooSmall { .. }
            | Self::TooLarge { .. } => None,
        }
    }
}

fn malformed_remedy(token: &str) -> Option<&'static str> {
    let word = token.to_ascii_lowercase();
    match word.as_str() {
        "vram" | "gpus" | "timeout" | "retries" | "priority" | "on" | "conda" | "name" | "cwd" => {
            Some("write key=value without spaces around the '='")
        }
        "g" | "gb" | "gib" | "m" | "mb" | "mib" | "s" | "h" | "d" => {
            Some("write a number and its unit without a space")
        }
        _ if is_shell(&word) => Some(SHELL_TEST),
        _ => comma_remedy(&word),
    }
}

fn comma_remedy(text: &str) -> Option<&'static str> {
    text.contains(',').then_some("separate attributes by spaces, not commas")
}

/// Whether a word can only come from a shell's test, such as `-f`, `"$x"`, or
/// the second bracket of `[[`.
fn is_shell(word: &str) -> bool {
    word.starts_with(['-', '!', '[', '(', '"', '\'']) || word.contains(['$', '`'])
}

impl fmt::Display for LineNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Of a user's text so many characters are told.
const MOST_TOLD: usize = 200;

/// A user's text, with its control characters made harmless and cut where it is
/// endless.
struct Told<'a>(&'a str);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().nth(MOST_TOLD).map(|(at, _)| at);
        for c in self.0[..end.unwrap_or(self.0.len())].chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        f.write_str(if end.is_some() { "…" } else { "" })
    }
}

/// The same between quotes.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", Told(self.0))
    }
}

/// A column behind its line.
struct Column(Option<u32>);

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |column| write!(f, ", column {column}"))
    }
}

/// A remedy behind what it remedies.
struct Appended(Option<Cow<'static, str>>);

impl fmt::Display for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}
