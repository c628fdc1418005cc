//! How long to wait before trying again, and when to give up.
//!
//! A gateway that restarts is met by all its senders at once; waiting times that double and are spread at random keep
//! them from coming back together. Half of each waiting time is fixed and half random: fully random waits were
//! refused, because they sometimes try again at once against a gateway that just said it has no room. Pure, so that
//! it can be tested without a clock: the caller brings the random number.

use std::time::Duration;

/// Longest wait that a peer's `Retry-After` can make us accept.
pub const ASKED_MAX: Duration = Duration::from_secs(300);

/// A policy of waiting times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait before the first retry, without the spread.
    pub first: Duration,
    /// The wait grows no further than this.
    pub ceiling: Duration,
    /// How often is tried again after the first try.
    pub retries: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), ceiling: Duration::from_secs(60), retries: 8 }
    }
}

impl Backoff {
    /// The wait before retry number `retry` (from 1), or `None` when all retries are used.
    ///
    /// `spread` is a random number in 0..1. `asked` is what the peer wants to be left alone for; it counts as the
    /// shortest wait, up to [`ASKED_MAX`].
    #[must_use]
    pub fn wait(&self, retry: u32, spread: f64, asked: Option<Duration>) -> Option<Duration> {
        if retry == 0 || retry > self.retries {
            return None;
        }
        let doubled = self.first.saturating_mul(1_u32.checked_shl(retry - 1).unwrap_or(u32::MAX));
        let half = doubled.min(self.ceiling) / 2;
        let random = half.mul_f64(spread.clamp(0.0, 1.0));
        Some(asked.unwrap_or_default().min(ASKED_MAX).max(half) + random)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling_and_end() {
        let backoff = Backoff { first: Duration::from_secs(1), ceiling: Duration::from_secs(5), retries: 5 };
        let waits: Vec<_> = (1..=6).map(|retry| backoff.wait(retry, 1.0, None)).collect();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(waits, vec![seconds(1), seconds(2), seconds(4), seconds(5), seconds(5), None]);
        assert_eq!(backoff.wait(0, 1.0, None), None);
    }

    #[test]
    fn what_the_peer_asks_for_is_the_shortest_wait_within_reason() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, 0.0, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(backoff.wait(1, 0.0, Some(Duration::MAX)), Some(ASKED_MAX));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_half_nor_longer_than_the_ceiling(
            retry in 1_u32..200, spread in 0.0_f64..1.0, first in 1_u64..10_000, ceiling in 1_u64..10_000,
        ) {
            let backoff = Backoff {
                first: Duration::from_millis(first), ceiling: Duration::from_millis(ceiling), retries: 200,
            };
            let wait = backoff.wait(retry, spread, None).unwrap();
            prop_assert!(wait <= backoff.ceiling);
            prop_assert!(wait >= backoff.first.min(backoff.ceiling) / 2);
        }
    }
}
