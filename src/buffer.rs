//! The buffers of the data path: one block each, page-aligned, from a pool whose size is the memory budget.
//!
//! Memory is admitted before the first byte is received and given back by `Drop`, so the sum over all transfers can
//! never exceed the pool. Aligned by slicing an over-allocated `Vec`, because an aligned allocation would need
//! `unsafe`. Contents are not cleared between uses: whoever takes a buffer tracks which grains it has filled.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::content::{BLOCK_BYTES, GRAIN_BYTES};

/// A fixed number of block buffers.
#[derive(Clone, Debug)]
pub struct BufferPool {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    free: Mutex<Vec<Vec<u8>>>,
    capacity: usize,
}

impl BufferPool {
    /// A pool of `capacity` buffers, allocated when first needed.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let shared = Arc::new(Shared { free: Mutex::new(Vec::new()), capacity });
        Self { shared, permits: Arc::new(Semaphore::new(capacity)) }
    }

    /// Number of buffers that the pool may hand out at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// Number of buffers handed out now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.shared.capacity.saturating_sub(self.permits.available_permits())
    }

    /// Waits for a buffer. Its content is arbitrary.
    pub async fn take(&self) -> BlockBuffer {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        self.buffer(permit)
    }

    /// A buffer that nobody uses or waits for, if there is one.
    #[must_use]
    pub fn try_take(&self) -> Option<BlockBuffer> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(self.buffer(Some(permit)))
    }

    /// Frees the memory of those that are not handed out. The next ones are allocated anew.
    pub fn give_back(&self) {
        let free = std::mem::take(&mut *self.shared.free.lock().unwrap_or_else(PoisonError::into_inner));
        drop(free);
    }

    fn buffer(&self, permit: Option<OwnedSemaphorePermit>) -> BlockBuffer {
        let recycled = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let memory = recycled.unwrap_or_else(|| vec![0; BLOCK_BYTES + GRAIN_BYTES]);
        let start = memory.as_ptr().align_offset(GRAIN_BYTES).min(GRAIN_BYTES);
        BlockBuffer { memory, start, shared: Arc::clone(&self.shared), _permit: permit }
    }
}

/// [`BLOCK_BYTES`] of memory, aligned to [`GRAIN_BYTES`]; goes back to its pool when dropped.
#[derive(Debug)]
pub struct BlockBuffer {
    memory: Vec<u8>,
    start: usize,
    shared: Arc<Shared>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl std::ops::Deref for BlockBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.memory.get(self.start..self.start + BLOCK_BYTES).unwrap_or_default()
    }
}

impl std::ops::DerefMut for BlockBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + BLOCK_BYTES).unwrap_or_default()
    }
}

impl AsRef<[u8]> for BlockBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for BlockBuffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn buffers_are_aligned_bounded_and_reused() {
        let pool = BufferPool::new(2);
        let first = pool.take().await;
        let mut second = pool.take().await;
        second.fill(1);
        assert_eq!((first.len(), first.as_ptr().align_offset(GRAIN_BYTES)), (BLOCK_BYTES, 0));
        assert_eq!(pool.in_use(), 2);
        assert!(pool.try_take().is_none());
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), pool.take()).await;
        assert!(waiting.is_err(), "a third buffer was handed out");
        let address = second.as_ptr();
        drop(second);
        assert_eq!(pool.take().await.as_ptr(), address);
        pool.give_back();
        let fresh = pool.take().await;
        assert!(fresh.iter().all(|byte| *byte == 0), "the used one is gone");
    }

    #[tokio::test]
    async fn who_waits_comes_before_who_only_asks() {
        let pool = BufferPool::new(1);
        let only = pool.try_take().unwrap();
        let mut waiting = pin!(pool.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(only);
        assert!(pool.try_take().is_none());
        assert!(waiting.now_or_never().is_some());
    }
}
