//! How fast a guest may go on in one call.
//!
//! A guest is interrupted at every tick of the engine's clock and lets others run. What it has used of a core is
//! counted, and when that is more than an honest call needs, it goes on in the slow lane: one guest at a time, after a
//! sleep many times as long as it ran. So endless loops, however many, cost their neighbours next to nothing until
//! their deadlines end them. Counting ticks instead was refused: on a busy machine a guest sees many ticks in which it
//! did not run.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use wasmtime::UpdateDeadline;

/// How often a running guest is interrupted.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Time on a core at full speed in one call: honest calls take microseconds.
const FAST: Duration = Duration::from_millis(10);
/// Further time at full speed for each MiB that a call is about: what the slowest languages need to look at it.
const FAST_PER_MIB: Duration = Duration::from_millis(25);
/// Sleep after that, in units of what was run: a twentieth of one core is left to all slow guests together.
const SLEEPS: u32 = 19;

/// The slow lane: whoever holds it sleeps before it goes on.
static SLOW_LANE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The pace of one instance.
#[derive(Debug)]
pub(super) struct Pace {
    /// Time on a core that is left at full speed.
    fast: Duration,
    began: Arc<Began>,
}

/// When the running slice began, by the clock of the thread that runs it.
#[derive(Debug, Default)]
struct Began(Mutex<Option<(ThreadId, Duration)>>);

impl Pace {
    pub(super) fn new() -> Self {
        Self { fast: FAST, began: Arc::default() }
    }

    /// A call about so many bytes begins, on this thread.
    pub(super) fn start(&mut self, bytes: usize) {
        let mebibytes = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        self.fast = FAST + FAST_PER_MIB.saturating_mul(mebibytes);
        self.began.now();
    }

    /// A tick has come while the guest ran: it yields, and perhaps sleeps.
    pub(super) fn tick(&mut self) -> UpdateDeadline {
        let slice = self.began.elapsed();
        let pause = if slice > self.fast { slice * SLEEPS } else { Duration::ZERO };
        self.fast = self.fast.saturating_sub(slice);
        UpdateDeadline::YieldCustom(1, self.pause(pause))
    }

    /// Ends on the thread that then goes on with the guest.
    fn pause(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let began = Arc::clone(&self.began);
        Box::pin(async move {
            if pause.is_zero() {
                tokio::task::yield_now().await;
            } else {
                let _turn = SLOW_LANE.lock().await;
                tokio::time::sleep(pause).await;
            }
            began.now();
        })
    }
}

impl Began {
    fn now(&self) {
        let now = thread_time().map(|time| (thread::current().id(), time));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Time on a core since the slice began; a tick where that cannot be told: after the guest waited for the host it
    /// may go on on another thread.
    fn elapsed(&self) -> Duration {
        match (*self.0.lock().unwrap_or_else(PoisonError::into_inner), thread_time()) {
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
    async fn a_long_call_is_slowed_down_and_a_short_one_is_not() {
        let mut pace = Pace::new();
        pace.start(0);
        let busy = Duration::from_millis(8);
        assert!(run(&mut pace, busy).await < busy);
        for _ in 0..2 {
            run(&mut pace, busy).await;
        }
        assert!(run(&mut pace, busy).await >= SLEEPS * busy);
        pace.start(0);
        assert!(run(&mut pace, busy).await < busy);
        pace.start(4 << 20);
        for _ in 0..8 {
            assert!(run(&mut pace, busy).await < busy);
        }
    }

    #[test]
    fn time_on_a_core_does_not_go_on_in_sleep() {
        let before = thread_time().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(thread_time().unwrap() - before < Duration::from_millis(40));
    }
}
