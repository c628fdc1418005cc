//! What one plugin may use of the processors beyond what each of its calls has for nothing.
//!
//! A plugin has savings: a second on a core. Calls that need more than most, as those of interpreted languages do, are
//! paid from them and run at full speed, and a call that ends well gets back what it paid. What does not end well is
//! lost: endless loops use up the savings, then run into debt and pause until it is earned back. However many they are,
//! they cost their neighbours a twentieth of a core until their deadlines end them, and savings are gathered slowly
//! enough that this holds for the next ones too.
//!
//! A purse belongs to a plugin, so one that loops does not slow down another. One queue for all slow guests was refused
//! for that reason, and because an honest guest waited in it even on an idle machine.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time on a core that a plugin can save, in seconds.
const SAVED: f64 = 1.0;
/// Seconds in which one second of debt is earned back.
const EARNING: f64 = 20.0;
/// Seconds in which one second of savings is gathered.
const SAVING: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Purse(Mutex<Balance>);

#[derive(Debug)]
struct Balance {
    /// Seconds on a core; below zero: debt.
    seconds: f64,
    at: Instant,
}

impl Purse {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Balance { seconds: SAVED, at: Instant::now() }))
    }

    /// Pays for `used`; the answer is how long to pause until all debt, of this guest and of those before it, is earned.
    pub(super) fn pay(&self, used: Duration, now: Instant) -> Duration {
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        balance.earn(now);
        balance.seconds -= used.as_secs_f64();
        Duration::from_secs_f64((-balance.seconds).max(0.0) * EARNING)
    }

    /// Gives back what a call has paid that ended well.
    pub(super) fn give_back(&self, paid: Duration) {
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        balance.seconds = (balance.seconds + paid.as_secs_f64()).min(SAVED);
    }
}

impl Balance {
    fn earn(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let in_debt = time.min((-self.seconds).max(0.0) * EARNING);
        self.seconds = (self.seconds + in_debt / EARNING + (time - in_debt) / SAVING).min(SAVED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_millis(10);

    fn near(found: Duration, expected: Duration) -> bool {
        found.abs_diff(expected) < Duration::from_millis(1)
    }

    fn empty() -> (Purse, Instant) {
        let (purse, now) = (Purse::new(), Instant::now() + Duration::from_secs(1000));
        for _ in 0..100 {
            assert!(near(purse.pay(SLICE, now), Duration::ZERO));
        }
        (purse, now)
    }

    #[test]
    fn debt_is_earned_back_in_the_order_in_which_it_was_made() {
        let (purse, now) = empty();
        assert!(near(purse.pay(SLICE, now), 20 * SLICE));
        assert!(near(purse.pay(SLICE, now), 40 * SLICE), "the second one queues behind the first");
        assert!(near(purse.pay(SLICE, now + 40 * SLICE), 20 * SLICE));
    }

    #[test]
    fn savings_are_gathered_slowly_and_not_without_end() {
        let (purse, now) = empty();
        purse.pay(SLICE, now);
        let later = now + 20 * SLICE + Duration::from_secs(1);
        assert!(near(purse.pay(SLICE, later), Duration::ZERO), "a hundredth of a second is there");
        assert!(near(purse.pay(SLICE, later), 20 * SLICE));
        let much_later = later + Duration::from_secs(1_000_000);
        assert!(near(purse.pay(Duration::from_secs(1), much_later), Duration::ZERO));
        assert!(near(purse.pay(SLICE, much_later), 20 * SLICE));
    }

    #[test]
    fn what_ends_well_costs_nothing() {
        let (purse, now) = (Purse::new(), Instant::now());
        for _ in 0..1000 {
            assert_eq!(purse.pay(SLICE, now), Duration::ZERO);
            purse.give_back(SLICE);
        }
        purse.give_back(Duration::from_secs(60));
        assert!(near(purse.pay(Duration::from_secs(2), now), Duration::from_secs(20)), "more than ever was saved");
    }
}
