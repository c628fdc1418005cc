//! What one instance did that its caller must know: limits that it hit, faults of the storage, time that is not its own.
//!
//! Outlives the instance: after a trap or a timeout the instance is gone, and this tells why.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use super::account::{Account, Limit, Sum};
use super::meter::Meter;
use crate::image::ImageError;

/// How long a failed call waits for its image to be cleaned up, so that a retry does not find it busy.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) account: Arc<Account>,
    pub(super) meter: Meter,
    host: Stopwatch,
    pause: Stopwatch,
    limit: Mutex<Option<String>>,
    image_error: Mutex<Option<ImageError>>,
    pub(super) cleanup: TaskTracker,
}

impl Watch {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            meter: Meter::new(Arc::clone(&account)),
            account,
            host: Stopwatch::new(),
            pause: Stopwatch::new(),
            limit: Mutex::new(None),
            image_error: Mutex::new(None),
            cleanup: TaskTracker::new(),
        }
    }

    /// Notes which limit the guest hit. The first one counts: what follows is its consequence.
    pub(super) fn note_limit(&self, limit: Limit, text: String) {
        let mut noted = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_none() {
            self.account.hit(limit);
            *noted = Some(text);
        }
    }

    pub(super) fn limit(&self) -> Option<String> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the storage failed under the guest; the first fault counts.
    pub(super) fn note_image_error(&self, error: ImageError) {
        self.image_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn take_image_error(&self) -> Option<ImageError> {
        self.image_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Marks the beginning of a host call that waits; its end is the drop of the guard.
    pub(super) fn enter_host(&self) -> Running<'_> {
        self.host.run(&self.account.host)
    }

    /// Marks the beginning of a pause; its end is the drop of the guard.
    pub(super) fn pause(&self) -> Running<'_> {
        self.pause.run(&self.account.paused)
    }

    /// Time in host calls so far, including the one that runs.
    pub(super) fn host_time(&self) -> Duration {
        self.host.time()
    }

    /// Time in pauses so far, including the one that runs.
    pub(super) fn pause_time(&self) -> Duration {
        self.pause.time()
    }

    /// Waits until the images that the instance had open are given up.
    pub(super) async fn settle(&self) {
        self.cleanup.close();
        let _ = tokio::time::timeout(SETTLE, self.cleanup.wait()).await;
    }
}

/// The time that a state lasted, which comes and goes.
#[derive(Debug)]
struct Stopwatch {
    made: Instant,
    /// Nanoseconds of what is over.
    total: AtomicU64,
    /// Start of what runs, in nanoseconds after `made`, or [`IDLE`].
    since: AtomicU64,
}

const IDLE: u64 = u64::MAX;

impl Stopwatch {
    fn new() -> Self {
        Self { made: Instant::now(), total: AtomicU64::new(0), since: AtomicU64::new(IDLE) }
    }

    fn run<'a>(&'a self, sum: &'a Sum) -> Running<'a> {
        self.since.store(self.now(), Ordering::Relaxed);
        Running { stopwatch: self, sum }
    }

    fn time(&self) -> Duration {
        let running = match self.since.load(Ordering::Relaxed) {
            IDLE => 0,
            since => self.now().saturating_sub(since),
        };
        Duration::from_nanos(self.total.load(Ordering::Relaxed).saturating_add(running))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(IDLE - 1)
    }
}

/// A state that lasts until this is dropped; then its time is also in the plugin's sum.
pub(super) struct Running<'a> {
    stopwatch: &'a Stopwatch,
    sum: &'a Sum,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let since = self.stopwatch.since.swap(IDLE, Ordering::Relaxed);
        let time = self.stopwatch.now().saturating_sub(since);
        self.stopwatch.total.fetch_add(time, Ordering::Relaxed);
        self.sum.add(Duration::from_nanos(time));
    }
}
