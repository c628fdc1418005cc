//! What guests use of the processors, measured where they run.
//!
//! A guest's future is polled on the guests' threads, and the kernel counts for each thread how long it was on a core.
//! So a poll is a slice of one thread's time, and the sum of the slices is the guest's. Wall time was refused: on a busy
//! machine most of it belongs to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::account::Account;

/// The meter of one instance.
#[derive(Debug)]
pub(super) struct Meter {
    account: Arc<Account>,
    /// The running thread's time on a core at the last look, in nanoseconds.
    looked: AtomicU64,
}

impl Meter {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self { account, looked: AtomicU64::new(0) }
    }

    /// What was used since the last look in this poll; counted for the plugin.
    pub(super) fn lap(&self) -> Duration {
        let now = thread_time();
        let lap = Duration::from_nanos(now.saturating_sub(self.looked.swap(now, Ordering::Relaxed)));
        self.account.guest.add(lap);
        lap
    }

    /// `work` with each of its polls measured.
    pub(super) async fn measure<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(move |context| {
            self.looked.store(thread_time(), Ordering::Relaxed);
            let polled = work.as_mut().poll(context);
            self.lap();
            polled
        })
        .await
    }
}

/// How long this thread has been on a core, in nanoseconds.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Keeps this thread's core busy.
    pub(in crate::plugin) fn be_busy(time: Duration) {
        let end = thread_time() + u64::try_from(time.as_nanos()).unwrap();
        while thread_time() < end {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn work_counts_and_sleep_does_not() {
        let account = Arc::new(Account::default());
        let meter = Meter::new(Arc::clone(&account));
        let work = async {
            be_busy(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(200)).await;
            be_busy(Duration::from_millis(20));
        };
        meter.measure(work).await;
        let used = account.guest.get();
        assert!(used >= Duration::from_millis(40) && used < Duration::from_millis(150), "{used:?}");
    }
}
