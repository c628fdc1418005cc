//! Rate and remaining time of one stage.

use std::time::{Duration, Instant};

use crate::client::Stage;

/// Follows the stages of an operation; each is measured from its own beginning, and a retry is a new beginning.
#[derive(Debug, Default)]
pub(super) struct Pace {
    current: Option<Started>,
}

#[derive(Debug)]
struct Started {
    stage: Stage,
    snapshot: String,
    at: Instant,
    position: u64,
    moved: u64,
}

/// How fast it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Speed {
    /// Bytes a second over the network.
    pub(super) rate: f64,
    /// Until the end of the image is reached; `None` while nothing can be said.
    pub(super) eta: Option<Duration>,
}

impl Pace {
    /// Forgets the running stage: what comes next begins anew.
    pub(super) fn reset(&mut self) {
        self.current = None;
    }

    /// Whether this is a stage that has not been seen before.
    pub(super) fn begins(&mut self, stage: Stage, snapshot: &str, position: u64, moved: u64, now: Instant) -> bool {
        let same = self.current.as_ref().is_some_and(|known| known.stage == stage && known.snapshot == snapshot);
        if !same {
            self.current = Some(Started { stage, snapshot: snapshot.to_owned(), at: now, position, moved });
        }
        !same
    }

    /// The speed at `position` of `size` bytes, `moved` over the network.
    pub(super) fn speed(&self, position: u64, size: u64, moved: u64, now: Instant) -> Speed {
        let Some(started) = &self.current else { return Speed { rate: 0.0, eta: None } };
        let seconds = now.duration_since(started.at).as_secs_f64();
        let done = position.saturating_sub(started.position) as f64;
        if seconds <= 0.0 || done <= 0.0 {
            return Speed { rate: 0.0, eta: None };
        }
        let left = size.saturating_sub(position) as f64 * seconds / done;
        let rate = moved.saturating_sub(started.moved) as f64 / seconds;
        Speed { rate, eta: Duration::try_from_secs_f64(left).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_measured_from_the_beginning_of_the_stage() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(pace.begins(Stage::Sending, "s", 100, 10, start));
        assert!(!pace.begins(Stage::Sending, "s", 200, 20, after(1)));
        let speed = pace.speed(300, 900, 30, after(2));
        assert_eq!(speed, Speed { rate: 10.0, eta: Some(Duration::from_secs(6)) });
        assert_eq!(pace.speed(100, 900, 10, after(2)).eta, None);
        assert!(pace.begins(Stage::Restoring, "s", 0, 0, after(3)));
        pace.reset();
        assert!(pace.begins(Stage::Restoring, "s", 0, 0, after(4)));
    }
}
