//! The values of attributes: amounts, numbers, times, lists, names.

use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use model::{GpuNeed, GpuSet, Mib, ParseGpuNeedError, ParseMibError, SignedDuration};

use crate::{CudaIds, SyntaxErrorKind};

/// A hundred years, in milliseconds: any more is a slip of the pen.
const TIMEOUT_MOST_MS: u128 = 36_525 * 24 * 3_600_000;

/// Digits of a fraction that are looked at. The next would be worth less than
/// a millionth of a millisecond.
const FRACTION_DIGITS: usize = 18;

/// Variables that are ours to set: how a job finds its GPUs, and how we find it.
const RESERVED: [&str; 5] =
    ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "GPUSCHED_ATTEMPT", "GPUSCHED_JOB", "GPUSCHED_DIR"];

pub(super) fn vram(value: &str) -> Result<Mib, SyntaxErrorKind> {
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
pub(super) fn integer<T: FromStr<Err = ParseIntError>>(
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
pub(super) fn timeout(value: &str) -> Result<SignedDuration, SyntaxErrorKind> {
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

/// Reads a number of GPUs, such as `2` or `0.5`.
pub(super) fn gpus(value: &str) -> Result<GpuNeed, SyntaxErrorKind> {
    let told = || value.to_owned();
    let is_negative = value.strip_prefix('-').is_some_and(|rest| GpuNeed::parse(rest).is_ok());
    GpuNeed::parse(value).map_err(|error| match error {
        ParseGpuNeedError::Malformed if !is_negative => SyntaxErrorKind::GpusMalformed { value: told() },
        ParseGpuNeedError::Malformed | ParseGpuNeedError::NotPositive => {
            SyntaxErrorKind::GpusNotPositive { value: told() }
        }
        ParseGpuNeedError::TooLarge => {
            SyntaxErrorKind::TooLarge { attribute: "gpus", most: u32::from(u16::MAX), value: told() }
        }
    })
}

/// Reads a whole number that may be negative.
pub(crate) fn priority(value: &str) -> Result<i32, SyntaxErrorKind> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SyntaxErrorKind::NotInteger { attribute: "priority", value: value.to_owned() });
    }
    value.parse().map_err(|_| SyntaxErrorKind::PriorityOutOfRange { value: value.to_owned() })
}

/// Reads a list of GPUs, such as `0-3,5`.
pub(super) fn gpu_set(value: &str) -> Result<GpuSet, SyntaxErrorKind> {
    GpuSet::parse(value)
        .map_err(|error| SyntaxErrorKind::NotGpus { value: value.to_owned(), why: error.to_string() })
}

/// Reads which numbers `--cuda` gets.
pub(super) fn cuda(value: &str) -> Result<CudaIds, SyntaxErrorKind> {
    match value.to_ascii_lowercase().as_str() {
        "index" => Ok(CudaIds::Index),
        "visible" => Ok(CudaIds::Visible),
        _ => Err(SyntaxErrorKind::CudaMalformed { value: value.to_owned() }),
    }
}

/// Reads a text of which there must be some.
pub(super) fn text(attribute: &'static str, value: &str) -> Result<Box<str>, SyntaxErrorKind> {
    if value.is_empty() { Err(SyntaxErrorKind::NoValue { attribute }) } else { Ok(value.into()) }
}

/// Checks the name of a variable.
pub(super) fn variable(name: &str) -> Result<Box<str>, SyntaxErrorKind> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts_well || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(SyntaxErrorKind::NotVariable { name: name.to_owned() });
    }
    if RESERVED.contains(&name) {
        return Err(SyntaxErrorKind::ReservedVariable { name: name.to_owned() });
    }
    Ok(name.into())
}
