//! How long to wait after failures in a row: a number of failures comes in, a delay goes out. Nothing waits here.

use std::time::Duration;

/// Delays that double with each failure in a row, up to a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// The delay after the first failure, and the one that is never exceeded.
    pub const fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest }
    }

    /// The same delay after every failure.
    pub const fn constant(delay: Duration) -> Backoff {
        Backoff::new(delay, delay)
    }

    /// The delay that is never exceeded.
    pub const fn longest(self) -> Duration {
        self.longest
    }

    /// The delay after the `failures`th failure in a row, from 1.
    pub fn delay(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_doubles_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        for (failures, millis) in [(0, 500), (1, 500), (2, 1000), (7, 32_000), (8, 60_000), (u32::MAX, 60_000)] {
            assert_eq!(backoff.delay(failures), Duration::from_millis(millis), "after {failures} failures");
        }
        assert_eq!(Backoff::constant(Duration::from_secs(5)).delay(9), Duration::from_secs(5));
    }
}
