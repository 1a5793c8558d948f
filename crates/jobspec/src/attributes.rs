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

#[cfg(test)]
mod tests {
    use super::*;

    /// `expect` lists what differs from a line without a block.
    #[track_caller]
    fn check(block: &str, expect: &str) {
        let found = match Attributes::parse(block) {
            Ok(attributes) => describe(&attributes),
            Err(bad) => format!("{}: {}", &block[bad.span], bad.kind),
        };
        assert_eq!(found, expect, "[{block}]");
    }

    fn describe(attributes: &Attributes) -> String {
        let mut words = Vec::new();
        if let Some(vram) = attributes.vram {
            words.push(vram.to_string());
        }
        if attributes.gpus.get() != 1 {
            words.push(format!("{} GPUs", attributes.gpus));
        }
        if let Some(timeout) = attributes.timeout {
            words.push(format!("{} ms", timeout.as_millis()));
        }
        if let Some(retries) = attributes.retries {
            words.push(format!("{retries} retries"));
        }
        if attributes.cancel {
            words.push("cancel".to_owned());
        }
        words.join(", ")
    }

    #[test]
    fn good_blocks() {
        check("", "");
        check(" \t ", "");
        check("vram=12000", "12000 MiB");
        check("vram=12.5", "12 MiB");
        check("vram=8G", "8192 MiB");
        check("vram=22GiB gpus=2", "22528 MiB, 2 GPUs");
        check("vram=512mb", "512 MiB");
        check("VRAM=1g\tGpus=4", "1024 MiB, 4 GPUs");
        check("vram=1G vram=2G", "2048 MiB");
        check("gpus=1", "");
        check("gpus=008", "8 GPUs");
        check("gpus=65535", "65535 GPUs");
        check("timeout=90", "90000 ms");
        check("timeout=90s", "90000 ms");
        check("timeout=15M", "900000 ms");
        check("timeout=2h", "7200000 ms");
        check("timeout=1.5d", "129600000 ms");
        check("timeout=0.0005", "1 ms");
        check("timeout=1.0005", "1001 ms");
        check("timeout=1.0004999999999999999999999999", "1000 ms");
        check("timeout=0.00000001d", "1 ms");
        check("timeout=36525d", "3155760000000 ms");
        check("retries=0", "0 retries");
        check("retries=4294967295", "4294967295 retries");
        check("cancel", "cancel");
        check("CANCEL vram=8G", "8192 MiB, cancel");
        check("vram=8G\u{3000}gpus=2", "8192 MiB, 2 GPUs");
    }

    #[test]
    fn bad_vram() {
        let malformed = |word: &str| {
            let value = &word["vram=".len()..];
            check(word, &format!("{word}: cannot parse vram value '{value}' (use MiB or a G/GiB suffix)"));
        };
        for word in ["vram=", "vram=-5", "vram=+5", "vram=1e3", "vram=8k", "vram=1T", "vram=.5G", "vram=5.G"]
        {
            malformed(word);
        }
        malformed("vram=\u{ff19}G");
        malformed("vram=8G=9G");
        check("vram=0", "vram=0: vram must be positive, got '0'");
        check("vram=0.4", "vram=0.4: vram must be positive, got '0.4'");
        check("vram=17179869184", "vram=17179869184: vram is too large, got '17179869184'");
    }

    #[test]
    fn bad_timeout() {
        let malformed = |word: &str| {
            let value = &word["timeout=".len()..];
            check(word, &format!("{word}: cannot parse duration '{value}' (use s/m/h/d)"));
        };
        for word in ["timeout=", "timeout=1h30m", "timeout=1w", "timeout=-1", "timeout=1.", "timeout=.5"] {
            malformed(word);
        }
        malformed("timeout=1.2.3");
        malformed("timeout=\u{663}s");
        check("timeout=0", "timeout=0: timeout must be positive, got '0'");
        check("timeout=0.0004", "timeout=0.0004: timeout must be positive, got '0.0004'");
        check("timeout=36526d", "timeout=36526d: timeout is too long, got '36526d' (at most 36525d)");
        let huge = "9".repeat(30);
        let too_long = format!("timeout={huge}: timeout is too long, got '{huge}' (at most 36525d)");
        check(&format!("timeout={huge}"), &too_long);
    }

    #[test]
    fn bad_integers() {
        for value in ["", "two", "+2", "1_0", "2.0", "0x2", "\u{ff12}", "-", "--1"] {
            for key in ["gpus", "retries"] {
                let expect = format!("{key}={value}: {key} must be an integer, got '{value}'");
                check(&format!("{key}={value}"), &expect);
            }
        }
        check("gpus=0", "gpus=0: gpus must be >= 1, got 0");
        check("gpus=-1", "gpus=-1: gpus must be >= 1, got -1");
        check("gpus=65536", "gpus=65536: gpus must be <= 65535, got 65536");
        check("retries=-1", "retries=-1: retries must be >= 0, got -1");
        check("retries=4294967296", "retries=4294967296: retries must be <= 4294967295, got 4294967296");
    }

    #[test]
    fn no_attributes() {
        let unknown = |word: &str, key: &str| {
            let known = "(known: vram, gpus, timeout, retries, cancel)";
            check(word, &format!("{word}: unknown attribute '{key}' {known}"));
        };
        unknown("Mem=8G", "mem");
        unknown("cancel=1", "cancel");
        unknown("=5", "");
        let malformed = |block: &str, word: &str| {
            let expected = "(expected key=value, or bare 'cancel')";
            check(block, &format!("{word}: malformed attribute '{word}' {expected}"));
        };
        malformed("x", "x");
        malformed("vram=8 G", "G");
        malformed("cancel vram = 8G", "vram");
        malformed("cancel, gpus=2", "cancel,");
    }

    #[test]
    fn the_first_wrong_word_is_told() {
        check("gpus=0 vram=x", "gpus=0: gpus must be >= 1, got 0");
        check("vram=8G  vram=x", "vram=x: cannot parse vram value 'x' (use MiB or a G/GiB suffix)");
    }
}
