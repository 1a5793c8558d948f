//! The `[key=value ...]` block in front of a command.

use std::num::{IntErrorKind, NonZeroU16, ParseIntError};
use std::ops::Range;
use std::str::FromStr;

use model::{Mib, ParseMibError, SignedDuration};

use crate::SyntaxErrorKind;

/// What a line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes {
    /// `vram=`: the most memory it will use of each GPU, in MiB; nothing where
    /// it needs its GPUs to itself.
    pub vram: Option<Mib>,
    /// `gpus=`: how many GPUs it needs.
    pub gpus: NonZeroU16,
    /// `timeout=`: how long it may run, to the millisecond.
    pub timeout: Option<SignedDuration>,
    /// `retries=`: how often it is run again after it ran out of GPU memory;
    /// nothing where the line does not say.
    pub retries: Option<u32>,
    /// `cancel`: it shall not start, or shall stop.
    pub cancel: bool,
}

/// A hundred years, in milliseconds: any more is a slip of the pen.
const TIMEOUT_MOST_MS: u128 = 36_525 * 24 * 3_600_000;

/// Digits of a fraction that are looked at. The next would be worth less than
/// a millionth of a millisecond.
const FRACTION_DIGITS: usize = 18;

/// One wrong word of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadAttribute {
    /// Where in the block, in bytes.
    pub(crate) span: Range<usize>,
    pub(crate) kind: SyntaxErrorKind,
}

impl Default for Attributes {
    /// What a line without a block asks for: one GPU to itself.
    fn default() -> Self {
        Self { vram: None, gpus: NonZeroU16::MIN, timeout: None, retries: None, cancel: false }
    }
}

impl Attributes {
    /// Reads what stands between the brackets. Of a repeated attribute the last
    /// one counts; an error is of the first wrong word.
    pub(crate) fn parse(block: &str) -> Result<Self, BadAttribute> {
        let mut attributes = Self::default();
        for (at, word) in words(block) {
            attributes.take_word(word).map_err(|kind| BadAttribute { span: at..at + word.len(), kind })?;
        }
        Ok(attributes)
    }

    fn take_word(&mut self, word: &str) -> Result<(), SyntaxErrorKind> {
        let Some((key, value)) = word.split_once('=') else {
            if word.eq_ignore_ascii_case("cancel") {
                self.cancel = true;
                return Ok(());
            }
            return Err(SyntaxErrorKind::Malformed { token: word.to_owned() });
        };
        let key = key.to_lowercase();
        match key.as_str() {
            "vram" => self.vram = Some(parse_vram(value)?),
            "gpus" => self.gpus = parse_integer("gpus", value, 1, u32::from(u16::MAX))?,
            "timeout" => self.timeout = Some(parse_timeout(value)?),
            "retries" => self.retries = Some(parse_integer("retries", value, 0, u32::MAX)?),
            _ => return Err(SyntaxErrorKind::Unknown { key }),
        }
        Ok(())
    }
}

/// The words of a text and where they start.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive(char::is_whitespace)
        .scan(0, |next, piece| {
            let at = *next;
            *next += piece.len();
            Some((at, piece.trim_end()))
        })
        .filter(|(_, word)| !word.is_empty())
}

fn parse_vram(value: &str) -> Result<Mib, SyntaxErrorKind> {
    Mib::parse(value).map_err(|error| {
        let value = value.to_owned();
        match error {
            ParseMibError::Malformed => SyntaxErrorKind::VramMalformed { value },
            ParseMibError::NotPositive => SyntaxErrorKind::VramNotPositive { value },
            ParseMibError::TooLarge => SyntaxErrorKind::VramTooLarge { value },
        }
    })
}

/// Reads a number written in decimal digits alone; `least` and `most` are the
/// bounds of its type.
fn parse_integer<T: FromStr<Err = ParseIntError>>(
    attribute: &'static str,
    value: &str,
    least: u32,
    most: u32,
) -> Result<T, SyntaxErrorKind> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SyntaxErrorKind::NotInteger { attribute, value: value.to_owned() });
    }
    let too_small = || SyntaxErrorKind::TooSmall { attribute, least, value: value.to_owned() };
    if digits.len() < value.len() {
        return Err(too_small());
    }
    digits.parse().map_err(|error: ParseIntError| {
        if *error.kind() == IntErrorKind::Zero {
            too_small()
        } else {
            SyntaxErrorKind::TooLarge { attribute, most, value: value.to_owned() }
        }
    })
}

/// Reads a decimal number with an optional unit, `s` (the default), `m`, `h` or
/// `d` in any case. Half a millisecond rounds up.
fn parse_timeout(value: &str) -> Result<SignedDuration, SyntaxErrorKind> {
    let malformed = || SyntaxErrorKind::TimeoutMalformed { value: value.to_owned() };
    let too_long = || SyntaxErrorKind::TimeoutTooLong { value: value.to_owned() };
    let digits = value.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = value.split_at(digits);
    let unit_ms: u128 = match unit {
        "" | "s" | "S" => 1_000,
        "m" | "M" => 60_000,
        "h" | "H" => 3_600_000,
        "d" | "D" => 86_400_000,
        _ => return Err(malformed()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(malformed());
    }
    let whole: u64 = whole.parse().map_err(|_| too_long())?;
    let (mut part, mut scale) = (0_u128, 1_u128);
    for digit in fraction.bytes().take(FRACTION_DIGITS) {
        part = part * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    let ms = u128::from(whole) * unit_ms + (part * unit_ms + scale / 2) / scale;
    match i64::try_from(ms) {
        Ok(0) => Err(SyntaxErrorKind::TimeoutNotPositive { value: value.to_owned() }),
        Ok(millis) if ms <= TIMEOUT_MOST_MS => Ok(SignedDuration::from_millis(millis)),
        _ => Err(too_long()),
    }
}
