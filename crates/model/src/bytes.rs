//! Sizes of GPU memory.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// An amount of GPU memory in whole MiB (2^20 bytes), the unit of `nvidia-smi`.
///
/// Sums saturate: no machine holds four pebibytes of GPU memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mib(u32);

/// The text is not an amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMibError {
    /// Not a decimal number with an optional unit.
    #[error("not an amount of memory")]
    Malformed,
    /// Rounds to less than one MiB.
    #[error("must be positive")]
    NotPositive,
    /// More than fits.
    #[error("too large")]
    TooLarge,
}

impl Mib {
    /// No memory at all.
    pub const ZERO: Self = Self(0);

    /// An amount of whole MiB.
    pub const fn new(mib: u32) -> Self {
        Self(mib)
    }

    /// The amount from bytes, rounded up.
    pub fn from_bytes(bytes: u64) -> Self {
        Self(u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX))
    }

    /// The number of MiB.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The difference, or nothing where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads a decimal number with an optional unit: `18000`, `12.5`, `18G`,
    /// `22GiB`, `512m`. The units are `g`, `gb`, `gib` (1,024 MiB) and `m`,
    /// `mb`, `mib` in any case; a bare number is MiB. Halves round to even, as
    /// in the Python tool.
    ///
    /// # Errors
    /// When the text has another form, or comes to nothing or too much.
    pub fn parse(text: &str) -> Result<Self, ParseMibError> {
        let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, unit) = text.split_at(digits);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "m" | "mb" | "mib" => 1.0,
            "g" | "gb" | "gib" => 1024.0,
            _ => return Err(ParseMibError::Malformed),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(ParseMibError::Malformed);
        }
        let value: f64 = number.parse().map_err(|_| ParseMibError::Malformed)?;
        let rounded = (value * factor).round_ties_even();
        if rounded < 1.0 {
            return Err(ParseMibError::NotPositive);
        }
        if rounded > f64::from(u32::MAX) {
            return Err(ParseMibError::TooLarge);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
        Ok(Self(rounded as u32))
    }
}

impl Add for Mib {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Mib {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<u32, ParseMibError>) {
        assert_eq!(Mib::parse(text), expect.map(Mib::new), "{text:?}");
    }

    #[test]
    fn numbers_and_units() {
        check("18000", Ok(18000));
        check("18G", Ok(18432));
        check("18g", Ok(18432));
        check("22GiB", Ok(22528));
        check("1gb", Ok(1024));
        check("512MB", Ok(512));
        check("512mib", Ok(512));
        check("23.5G", Ok(24064));
    }

    #[test]
    fn halves_round_to_even() {
        check("12.5", Ok(12));
        check("13.5", Ok(14));
    }

    #[test]
    fn what_is_not_an_amount() {
        for text in ["", "-5", "+5", "1e3", "8k", "1T", "G", ".5G", "5.", "1.2.3", "9 G", "\u{ff19}G"] {
            check(text, Err(ParseMibError::Malformed));
        }
        check("0", Err(ParseMibError::NotPositive));
        check("0.4", Err(ParseMibError::NotPositive));
        check("99999999999", Err(ParseMibError::TooLarge));
    }

    #[test]
    fn bytes_round_up() {
        assert_eq!(Mib::from_bytes(1), Mib::new(1));
        assert_eq!(Mib::from_bytes(1 << 20), Mib::new(1));
        assert_eq!(Mib::from_bytes(0), Mib::ZERO);
    }
}
