//! How fast a guest may go on in one call.
//!
//! A guest is interrupted at every tick of the engine's clock and lets others run. What it has used of a core is
//! counted, and when that is more than any honest call needs, it is made to sleep nine times as long as it runs: an
//! endless loop costs its neighbours next to nothing until its deadline ends it. Counting ticks instead was refused:
//! on a busy machine a guest of lower priority sees many ticks in which it did not run.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use wasmtime::UpdateDeadline;

/// How often a running guest is interrupted.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Time on a core at full speed in one call.
const FAST: Duration = Duration::from_millis(30);
/// Sleep after that, in units of what was run: a tenth of one core is left.
const SLEEPS: u32 = 9;
/// Longest sleep; the deadline of a call is seconds away.
const SLEEP_MAX: Duration = Duration::from_millis(200);

/// The pace of one instance.
#[derive(Debug, Default)]
pub(super) struct Pace {
    used: Duration,
    began: Arc<Began>,
}

/// When the running slice began, by the clock of the thread that runs it.
#[derive(Debug, Default)]
struct Began(Mutex<Option<(ThreadId, Duration)>>);

impl Pace {
    /// A new call begins.
    pub(super) fn reset(&mut self) {
        self.used = Duration::ZERO;
        self.began.set(None);
    }

    /// A tick has come while the guest ran: it yields, and perhaps sleeps.
    pub(super) fn tick(&mut self) -> UpdateDeadline {
        let slice = self.began.elapsed();
        self.used += slice;
        let pause = if self.used > FAST { (slice * SLEEPS).min(SLEEP_MAX) } else { Duration::ZERO };
        UpdateDeadline::YieldCustom(1, self.pause(pause))
    }

    /// Ends on the thread that then goes on with the guest.
    fn pause(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let began = Arc::clone(&self.began);
        Box::pin(async move {
            if pause.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(pause).await;
            }
            began.set(thread_time().map(|time| (thread::current().id(), time)));
        })
    }
}

impl Began {
    fn set(&self, value: Option<(ThreadId, Duration)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// Time on a core since the slice began; a tick where that cannot be told. The first slice of a call is free.
    fn elapsed(&self) -> Duration {
        match (*self.0.lock().unwrap_or_else(PoisonError::into_inner), thread_time()) {
            (None, Some(_)) => Duration::ZERO,
            (Some((id, began)), Some(now)) if id == thread::current().id() => now.saturating_sub(began).min(2 * TICK),
            _ => TICK,
        }
    }
}

/// What this thread has used of a core, from the kernel: the first number is nanoseconds.
fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn run(pace: &mut Pace, busy: Duration) -> Duration {
        let UpdateDeadline::YieldCustom(1, pause) = pace.tick() else { panic!("it does not yield") };
        let start = Instant::now();
        pause.await;
        let slept = start.elapsed();
        let end = thread_time().unwrap() + busy;
        while thread_time().unwrap() < end {
            std::hint::spin_loop();
        }
        slept
    }

    #[tokio::test]
    async fn a_long_call_is_slowed_down_and_a_new_one_starts_fresh() {
        let mut pace = Pace::default();
        let busy = Duration::from_millis(8);
        for _ in 0..8 {
            run(&mut pace, busy).await;
        }
        assert!(run(&mut pace, busy).await >= SLEEPS * busy);
        pace.reset();
        run(&mut pace, Duration::ZERO).await;
        assert!(pace.used.is_zero());
    }

    #[test]
    fn time_on_a_core_does_not_go_on_in_sleep() {
        let before = thread_time().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(thread_time().unwrap() - before < Duration::from_millis(40));
    }
}
