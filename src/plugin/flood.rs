//! The plugin's lines in the gateway's log, with a bound on how many.
//!
//! The bound is per plugin and not per instance: instances live for microseconds, and a hostile one would start anew
//! with each.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lines at once after a quiet time.
const BURST: f64 = 20.0;
/// Lines per second for long.
const RATE: f64 = 10.0;

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written; so many were dropped before it.
    Write { dropped: u64 },
    Drop,
}

/// A bucket of lines that fills with time.
#[derive(Debug)]
pub(super) struct Flood(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    lines: f64,
    filled: Instant,
    dropped: u64,
}

impl Flood {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Bucket { lines: BURST, filled: Instant::now(), dropped: 0 }))
    }

    pub(super) fn judge(&self, now: Instant) -> Verdict {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.lines = (bucket.lines + quiet * RATE).min(BURST);
        bucket.filled = now;
        if bucket.lines < 1.0 {
            bucket.dropped += 1;
            return Verdict::Drop;
        }
        bucket.lines -= 1.0;
        Verdict::Write { dropped: std::mem::take(&mut bucket.dropped) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let (flood, now) = (Flood::new(), Instant::now());
        let written = (0..1000).filter(|_| flood.judge(now) != Verdict::Drop).count();
        assert_eq!(written, 20);
        assert_eq!(flood.judge(now + Duration::from_secs(1)), Verdict::Write { dropped: 980 });
        assert_eq!(flood.judge(now + Duration::from_secs(1)), Verdict::Write { dropped: 0 });
    }
}
