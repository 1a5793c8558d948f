//! Fractions such as a tolerance or a buffer.

use std::fmt;

use crate::Mib;

/// A non-negative, finite fraction: 0.10 is ten per cent.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(f64);

/// It is never NaN.
impl Eq for Ratio {}

/// What the sixth decimal is rounded by.
const HALF_A_MILLIONTH: f64 = 0.000_000_5;

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);

    /// A fraction, or nothing where it is negative or not finite.
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value >= 0.0).then_some(Self(value))
    }

    /// The fraction as a number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// `amount` times one plus this fraction, rounded up to whole MiB.
    ///
    /// A millionth of a MiB too much comes from binary fractions and is not
    /// rounded up, so that 110 MiB and a tenth are 121 MiB, as by the Python
    /// tool: placements of the two can be compared one by one.
    pub fn inflate(self, amount: Mib) -> Mib {
        let exact = f64::from(amount.get()) * (1.0 + self.0);
        let whole = exact.round();
        Self::ceil(if (exact - whole).abs() < HALF_A_MILLIONTH { whole } else { exact })
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and the value is not negative"
    )]
    fn ceil(value: f64) -> Mib {
        Mib::new(value.ceil() as u32)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}%", self.0 * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflating_rounds_up_as_the_python_tool_does() {
        let tenth = Ratio::new(0.10).unwrap();
        assert_eq!(tenth.inflate(Mib::new(110)), Mib::new(121));
        assert_eq!(tenth.inflate(Mib::new(111)), Mib::new(123));
        assert_eq!(tenth.inflate(Mib::new(1000)), Mib::new(1100));
        assert_eq!(tenth.inflate(Mib::ZERO), Mib::ZERO);
    }

    #[test]
    fn nonsense_is_no_ratio() {
        assert_eq!(Ratio::new(-0.1), None);
        assert_eq!(Ratio::new(f64::NAN), None);
        assert_eq!(Ratio::new(f64::INFINITY), None);
    }
}
