//! How long to wait before something that failed is tried again.

use model::SignedDuration;

/// A pause that doubles each time, up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub base: SignedDuration,
    /// No pause is longer.
    pub cap: SignedDuration,
}

impl Backoff {
    /// The pause after so many failures in a row, counted from 1.
    pub fn delay(&self, failures: u32) -> SignedDuration {
        let doublings = failures.saturating_sub(1).min(30);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_limit() {
        let secs = SignedDuration::from_secs;
        let backoff = Backoff { base: secs(5), cap: secs(60) };
        let pauses: Vec<i64> = (0..7).map(|failures| backoff.delay(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 5, 10, 20, 40, 60, 60]);
        assert_eq!(backoff.delay(u32::MAX), secs(60));
        assert_eq!(Backoff { base: SignedDuration::MAX, cap: secs(60) }.delay(9), secs(60));
    }
}
