//! How much of the GPUs a job needs: some whole ones, or a part of one.

use std::fmt;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::Mib;

/// A part of a GPU in ten-thousandths, from nothing to all of it: 0.5 is half.
///
/// Whole numbers, so that parts that add up to one GPU do so exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u16);

/// How many GPUs a job needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuNeed {
    /// Less than one: it shares one GPU with others that need a part.
    Part(Share),
    /// So many, whole.
    Whole(NonZeroU16),
}

/// The text is not a number of GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseGpuNeedError {
    /// Not a decimal number.
    #[error("not a number of GPUs")]
    Malformed,
    /// Rounds to nothing.
    #[error("must be positive")]
    NotPositive,
    /// More than any machine has.
    #[error("too large")]
    TooLarge,
}

impl Share {
    /// No part at all.
    pub const ZERO: Self = Self(0);

    /// All of one GPU.
    pub const FULL: Self = Self(10_000);

    /// A fraction of one GPU, rounded to ten-thousandths; nothing where it is
    /// not between 0 and 1.
    pub fn new(fraction: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&fraction) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10,000")]
        Some(Self((fraction * f64::from(Self::FULL.0)).round() as u16))
    }

    /// The fraction as a number from 0 to 1.
    pub fn get(self) -> f64 {
        f64::from(self.0) / f64::from(Self::FULL.0)
    }

    /// What is left of this part without another.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Both parts together, at most one GPU.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(Self::FULL.0))
    }

    /// This part of an amount of memory, rounded down: parts that add up to one
    /// never come to more than the whole.
    pub fn of(self, amount: Mib) -> Mib {
        let part = u64::from(amount.get()) * u64::from(self.0) / u64::from(Self::FULL.0);
        Mib::new(u32::try_from(part).unwrap_or(u32::MAX))
    }
}

impl GpuNeed {
    /// One whole GPU: what a job needs that says nothing.
    pub const ONE: Self = Self::Whole(NonZeroU16::MIN);

    /// On how many GPUs the job runs.
    pub const fn count(self) -> NonZeroU16 {
        match self {
            Self::Part(_) => NonZeroU16::MIN,
            Self::Whole(count) => count,
        }
    }

    /// The part of its one GPU, where it needs no more than a part.
    pub const fn part(self) -> Option<Share> {
        match self {
            Self::Part(share) => Some(share),
            Self::Whole(_) => None,
        }
    }

    /// A need in GPUs. Below 1 it is a part, rounded to ten-thousandths; above,
    /// whole GPUs, rounded up, since a part of a second GPU can't be shared
    /// sensibly (so the scheduler of the CSV files had it).
    ///
    /// # Errors
    /// When it comes to nothing or to more than 65,535.
    pub fn from_gpus(gpus: f64) -> Result<Self, ParseGpuNeedError> {
        if gpus.is_nan() {
            return Err(ParseGpuNeedError::Malformed);
        }
        if let Some(share) = Share::new(gpus).filter(|share| *share < Share::FULL) {
            return if share == Share::ZERO {
                Err(ParseGpuNeedError::NotPositive)
            } else {
                Ok(Self::Part(share))
            };
        }
        if gpus < 0.0 {
            return Err(ParseGpuNeedError::NotPositive);
        }
        // Binary fractions: 2.00000001 is 2.
        let whole = (gpus - 1.0e-6).ceil().max(1.0);
        if whole > f64::from(u16::MAX) {
            return Err(ParseGpuNeedError::TooLarge);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
        NonZeroU16::new(whole as u16).map(Self::Whole).ok_or(ParseGpuNeedError::NotPositive)
    }

    /// Reads a decimal number such as `2`, `0.5` or `1.5`.
    ///
    /// # Errors
    /// When the text has another form, or comes to nothing or too much.
    pub fn parse(text: &str) -> Result<Self, ParseGpuNeedError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(ParseGpuNeedError::Malformed);
        }
        Self::from_gpus(text.parse().map_err(|_| ParseGpuNeedError::Malformed)?)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl fmt::Display for GpuNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(share) => share.fmt(f),
            Self::Whole(count) => count.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<&str, ParseGpuNeedError>) {
        let need = GpuNeed::parse(text);
        assert_eq!(need.map(|need| need.to_string()).as_deref(), expect.as_ref().copied(), "{text:?}");
        assert_eq!(need.is_ok_and(|need| need.part().is_some()), expect.is_ok_and(|e| e.starts_with("0.")));
    }

    #[test]
    fn parts_and_whole_gpus() {
        check("1", Ok("1"));
        check("008", Ok("8"));
        check("65535", Ok("65535"));
        check("0.5", Ok("0.5"));
        check("0.3333", Ok("0.3333"));
        check("0.33333333", Ok("0.3333"));
        check("0.99999", Ok("1"));
        check("1.0", Ok("1"));
        check("1.5", Ok("2"));
        check("2.0", Ok("2"));
    }

    #[test]
    fn what_is_no_number_of_gpus() {
        for text in ["", "two", "+2", "-1", "1_0", "0x2", ".5", "5.", "1.2.3", "1e1", "\u{ff12}", "nan"] {
            check(text, Err(ParseGpuNeedError::Malformed));
        }
        check("0", Err(ParseGpuNeedError::NotPositive));
        check("0.00001", Err(ParseGpuNeedError::NotPositive));
        check("65536", Err(ParseGpuNeedError::TooLarge));
        check(&"9".repeat(400), Err(ParseGpuNeedError::TooLarge));
        assert_eq!(GpuNeed::from_gpus(-0.5), Err(ParseGpuNeedError::NotPositive));
        assert_eq!(GpuNeed::from_gpus(f64::NAN), Err(ParseGpuNeedError::Malformed));
    }

    #[test]
    fn three_thirds_fit_and_parts_of_memory_add_up() {
        let third = Share::new(1.0 / 3.0).unwrap();
        let left = Share::FULL.saturating_sub(third).saturating_sub(third);
        assert!(left >= third);
        let half = Share::new(0.5).unwrap();
        let room = Mib::new(24_575);
        assert!(half.of(room) + half.of(room) <= room);
        assert_eq!(Share::FULL.of(room), room);
        assert_eq!(half.saturating_add(half), Share::FULL);
    }
}
