//! From extents in ascending order, cut anywhere, to whole blocks, their hashes and the content tree.

use std::sync::Arc;

use super::{Durable, ImageError, StagedImage};
use crate::buffer::BufferPool;
use crate::content::Root;

/// Fills a [`StagedImage`] from a stream of extents.
#[derive(Debug)]
pub struct Ingest {
    staged: Arc<dyn StagedImage>,
}

/// A staged image that is complete and durable, and the root of its content.
#[derive(Debug)]
pub struct Ingested {
    pub staged: Arc<dyn StagedImage>,
    pub durable: Durable,
    pub root: Root,
}

impl Ingest {
    /// `depth` blocks are at work at once.
    #[must_use]
    pub fn new(staged: Arc<dyn StagedImage>, _pool: BufferPool, _depth: usize) -> Self {
        Self { staged }
    }

    /// Takes bytes at `offset`. Extents come in ascending order and do not overlap.
    pub async fn write(&mut self, _offset: u64, _bytes: &[u8]) -> Result<(), ImageError> {
        todo!()
    }

    pub async fn zero(&mut self, _offset: u64, _length: u64) -> Result<(), ImageError> {
        todo!()
    }

    /// Waits for all that was written, closes the tree and flushes.
    pub async fn finish(self) -> Result<Ingested, ImageError> {
        todo!()
    }

    pub async fn abort(self) {
        self.staged.abort().await;
    }
}
