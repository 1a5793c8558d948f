//! A wall clock that cannot go back.

use model::{SignedDuration, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The time of day at the start, carried on by the time since boot.
///
/// `CLOCK_BOOTTIME` never goes back, whoever sets the wall clock, and it goes on
/// while the machine sleeps: a job's `timeout` means hours of the user's life.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    started: Timestamp,
    since_boot: SignedDuration,
}

impl Steady {
    /// A clock that shows the time of day now.
    pub fn start() -> Self {
        Self { started: Timestamp::now(), since_boot: since_boot() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.at(since_boot())
    }

    fn at(&self, since_boot: SignedDuration) -> Timestamp {
        let passed = since_boot.saturating_sub(self.since_boot);
        self.started.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

fn since_boot() -> SignedDuration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    SignedDuration::new(tv_sec, i32::try_from(tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_the_time_of_day_and_never_goes_back() {
        let before = Timestamp::now();
        let clock = Steady::start();
        let mut last = clock.now();
        assert!(last >= before && last.duration_since(before) < SignedDuration::from_secs(60));
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn it_follows_the_time_since_boot_alone() {
        let clock = Steady { started: Timestamp::UNIX_EPOCH, since_boot: SignedDuration::from_secs(100) };
        assert_eq!(clock.at(SignedDuration::from_secs(107)).as_second(), 7);
        assert_eq!(clock.at(SignedDuration::MAX), Timestamp::MAX);
    }
}
