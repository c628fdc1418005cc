//! Stopping without cutting: one word says "stop", a tracker says "all gone", a deadline ends the wait.
//!
//! The order is fixed here, so that nobody has to remember it: readiness falls, load balancers get a moment to see
//! it, the listener closes, what runs may finish, and what is left at the deadline is cut. Work that must not die
//! with its request is spawned on the tracker: that is how an entry point shields it. Aborting tasks at the deadline
//! was refused: they are told that it has come, clean up, and answer.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long what was cut may take to clean up.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// Shared by everything that has to stop in order.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    stop: CancellationToken,
    close: CancellationToken,
    cut: CancellationToken,
    tracker: TaskTracker,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All work finished.
    Whole,
    /// The deadline came first: this many tasks were cut and cleaned up.
    Cut(usize),
    /// The deadline came first, and this many tasks did not even clean up.
    Stuck(usize),
}

impl Drain {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `work` to its end, whatever becomes of the one who asked for it; the drain waits for it.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(work)
    }

    /// Whether the gateway is stopping: not ready, and no new transfer begins.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Done when listeners must close and connections must end after the request they are in.
    pub async fn closing(&self) {
        self.close.cancelled().await;
    }

    /// Done when the deadline has passed: what runs must break off and say so.
    pub async fn cutting(&self) {
        self.cut.cancelled().await;
    }

    /// Stops everything: `notice` lies between the fall of readiness and the closing of the listeners, and
    /// `timeout` is what running work has from then on.
    pub async fn run(&self, notice: Duration, timeout: Duration) -> Drained {
        self.run_after(tokio::time::sleep(notice), timeout).await
    }

    /// As [`Drain::run`]; listeners close when `noticed` is done. It begins when nothing new is taken any more, and is
    /// the time to leave every list in which callers find this gateway.
    pub async fn run_after(&self, noticed: impl Future, timeout: Duration) -> Drained {
        self.stop.cancel();
        noticed.await;
        self.close.cancel();
        self.tracker.close();
        if tokio::time::timeout(timeout, self.tracker.wait()).await.is_ok() {
            return Drained::Whole;
        }
        let left = self.tracker.len();
        self.cut.cancel();
        match tokio::time::timeout(CLEAN_UP, self.tracker.wait()).await {
            Ok(()) => Drained::Cut(left),
            Err(_) => Drained::Stuck(self.tracker.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const NOTICE: Duration = Duration::from_secs(2);
    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn readiness_falls_before_the_listener_closes() {
        let drain = Drain::new();
        let running = tokio::spawn({
            let drain = drain.clone();
            async move { drain.run(NOTICE, TIMEOUT).await }
        });
        sleep(NOTICE / 2).await;
        assert!(drain.is_stopping());
        assert!(!drain.close.is_cancelled());
        assert_eq!(running.await.unwrap(), Drained::Whole);
        assert!(drain.close.is_cancelled() && !drain.cut.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn running_work_finishes_and_its_result_arrives() {
        let drain = Drain::new();
        let work = drain.spawn(async {
            sleep(TIMEOUT / 2).await;
            7
        });
        assert_eq!(drain.run(NOTICE, TIMEOUT).await, Drained::Whole);
        assert_eq!(work.await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_not_cancelled_with_the_one_who_asked() {
        let drain = Drain::new();
        let (done, finished) = tokio::sync::oneshot::channel();
        drop(drain.spawn(async move {
            sleep(Duration::from_secs(1)).await;
            done.send(()).unwrap();
        }));
        finished.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_deadline_the_rest_is_cut_and_may_clean_up() {
        let drain = Drain::new();
        let work = drain.spawn({
            let drain = drain.clone();
            async move {
                drain.cutting().await;
                sleep(Duration::from_secs(1)).await;
                "cleaned up"
            }
        });
        let start = Instant::now();
        assert_eq!(drain.run(NOTICE, TIMEOUT).await, Drained::Cut(1));
        assert!(start.elapsed() < NOTICE + TIMEOUT + CLEAN_UP);
        assert_eq!(work.await.unwrap(), "cleaned up");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ignores_everything_does_not_hold_the_stop() {
        let drain = Drain::new();
        drop(drain.spawn(std::future::pending::<()>()));
        assert_eq!(drain.run(NOTICE, TIMEOUT).await, Drained::Stuck(1));
    }
}
