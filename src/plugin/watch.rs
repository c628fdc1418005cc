//! What one instance did that its caller must know: limits that it hit, faults of the storage, time spent in the host.
//!
//! Outlives the instance: after a trap or a timeout the instance is gone, and this tells why.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use crate::image::ImageError;

/// How long a failed call waits for its image to be cleaned up, so that a retry does not find it busy.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Watch {
    start: Instant,
    /// Nanoseconds of finished host calls.
    host_total: AtomicU64,
    /// Start of the running host call in nanoseconds after `start`, or [`IDLE`].
    host_since: AtomicU64,
    limit: Mutex<Option<String>>,
    image_error: Mutex<Option<ImageError>>,
    pub(super) cleanup: TaskTracker,
}

const IDLE: u64 = u64::MAX;

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            host_total: AtomicU64::new(0),
            host_since: AtomicU64::new(IDLE),
            limit: Mutex::new(None),
            image_error: Mutex::new(None),
            cleanup: TaskTracker::new(),
        }
    }

    /// Notes which limit the guest hit. The first one counts: what follows is its consequence.
    pub(super) fn note_limit(&self, text: String) {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
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
    pub(super) fn enter_host(&self) -> InHost<'_> {
        self.host_since.store(self.nanos(), Ordering::Relaxed);
        InHost(self)
    }

    /// Time in host calls so far, including the one that runs.
    pub(super) fn host_time(&self) -> Duration {
        let running = match self.host_since.load(Ordering::Relaxed) {
            IDLE => 0,
            since => self.nanos().saturating_sub(since),
        };
        Duration::from_nanos(self.host_total.load(Ordering::Relaxed).saturating_add(running))
    }

    /// Waits until the images that the instance had open are given up.
    pub(super) async fn settle(&self) {
        self.cleanup.close();
        let _ = tokio::time::timeout(SETTLE, self.cleanup.wait()).await;
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(IDLE - 1)
    }
}

/// A host call that waits.
pub(super) struct InHost<'a>(&'a Watch);

impl Drop for InHost<'_> {
    fn drop(&mut self) {
        let since = self.0.host_since.swap(IDLE, Ordering::Relaxed);
        self.0.host_total.fetch_add(self.0.nanos().saturating_sub(since), Ordering::Relaxed);
    }
}
