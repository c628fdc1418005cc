//! From extents in ascending order, cut anywhere, to whole blocks, their hashes and the content tree.
//!
//! The sender decides where extents begin and end; storage wants aligned blocks and the tree wants whole leaves. The
//! repair of edges is done here, once for all stores: bytes that an extent leaves open are taken from the base, at
//! grain granularity, and only touched leaves are completed and hashed. Up to `depth` blocks are filled, hashed and
//! written side by side, while their pages enter the tree in order. Memory is that of the buffers, whatever the size
//! of the image.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::block::{Filled, seal};
use super::{Durable, ImageError, StagedImage, Verified};
use crate::buffer::BufferPool;
use crate::content::{BLOCK_BYTES, GrainMap, NoPages, Page, PageSource, Root, TreeBuilder, next_data};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Fills a [`StagedImage`] from a stream of extents.
#[derive(Debug)]
pub struct Ingest {
    staged: Arc<dyn StagedImage>,
    base: Option<Arc<Verified>>,
    pool: BufferPool,
    depth: usize,
    tree: TreeBuilder,
    /// End of the last extent, in bytes.
    position: u64,
    current: Option<Filled>,
    at_work: VecDeque<(u64, JoinHandle<Result<Page, ImageError>>)>,
    /// The last block that entered the queue.
    latest: Option<u64>,
}

/// A staged image that is complete and durable, and the root of its content.
#[derive(Debug)]
pub struct Ingested {
    pub staged: Arc<dyn StagedImage>,
    pub durable: Durable,
    pub root: Root,
}

impl Ingest {
    /// Uses at most `depth` buffers (at least two) of `pool` at once.
    #[must_use]
    pub fn new(staged: Arc<dyn StagedImage>, pool: BufferPool, depth: usize) -> Self {
        let base = staged.base().map(|base| Arc::new(Verified::new(base)));
        let tree = TreeBuilder::new(staged.size());
        let at_work = VecDeque::with_capacity(depth);
        Self { staged, base, pool, depth: depth.max(2), tree, position: 0, current: None, at_work, latest: None }
    }

    /// The image that is being filled.
    #[must_use]
    pub fn staged(&self) -> &Arc<dyn StagedImage> {
        &self.staged
    }

    /// Takes bytes at `offset`. Extents come in ascending order, do not overlap and end inside the image.
    pub async fn write(&mut self, offset: u64, mut bytes: &[u8]) -> Result<(), ImageError> {
        self.advance(offset, bytes.len() as u64)?;
        let mut position = offset;
        while !bytes.is_empty() {
            let (block, start) = (position / BLOCK, inside_block(position));
            let length = bytes.len().min(BLOCK_BYTES - start);
            let (now, later) = bytes.split_at(length);
            self.open(block).await?.put(start, now).await?;
            if start + length == BLOCK_BYTES {
                self.close_current().await?;
            }
            bytes = later;
            position += length as u64;
        }
        Ok(())
    }

    /// Takes `length` zeroes at `offset`, under the same rules. Costs what the base has there, not its length.
    pub async fn zero(&mut self, offset: u64, length: u64) -> Result<(), ImageError> {
        self.advance(offset, length)?;
        if self.base.is_none() {
            return Ok(());
        }
        let end = offset + length;
        let mut position = offset;
        while position < end {
            let Some(block) = self.next_block_with_data(position / BLOCK).await? else { break };
            let from = position.max(block * BLOCK);
            let to = end.min((block + 1) * BLOCK);
            if from >= end {
                break;
            }
            self.zero_in_block(block, inside_block(from), to - from).await?;
            position = to;
        }
        Ok(())
    }

    /// The first block from `block` on that has something to clear: data in the base, or received just now.
    async fn next_block_with_data(&self, block: u64) -> Result<Option<u64>, ImageError> {
        if self.current.as_ref().is_some_and(|current| current.block == block) {
            return Ok(Some(block));
        }
        match &self.base {
            Some(base) => next_data(base.as_ref(), block).await,
            None => Ok(None),
        }
    }

    async fn zero_in_block(&mut self, block: u64, start: usize, length: u64) -> Result<(), ImageError> {
        if length == BLOCK {
            self.close_current().await?;
            self.make_room().await?;
            let staged = Arc::clone(&self.staged);
            let task = async move { staged.zero(block, GrainMap::FULL).await.map(|()| Page::default()) };
            self.enqueue(block, tokio::spawn(task));
            return Ok(());
        }
        let length = usize::try_from(length).unwrap_or(BLOCK_BYTES);
        self.open(block).await?.clear(start, length).await?;
        if start + length == BLOCK_BYTES {
            self.close_current().await?;
        }
        Ok(())
    }

    fn advance(&mut self, offset: u64, length: u64) -> Result<(), ImageError> {
        let end = offset.checked_add(length).filter(|end| *end <= self.staged.size());
        let in_order = offset >= self.position;
        match end.filter(|_| in_order) {
            Some(end) => {
                self.position = end;
                Ok(())
            }
            None => Err(ImageError::Extent { offset, length, position: self.position, size: self.staged.size() }),
        }
    }

    async fn open(&mut self, block: u64) -> Result<&mut Filled, ImageError> {
        if self.current.as_ref().is_some_and(|current| current.block != block) {
            self.close_current().await?;
        }
        if self.current.is_none() {
            self.make_room().await?;
        }
        let (pool, base) = (&self.pool, &self.base);
        match &mut self.current {
            Some(current) => Ok(current),
            empty => {
                let buffer = pool.take().await;
                Ok(empty.insert(Filled::new(block, buffer, base.clone())))
            }
        }
    }

    async fn close_current(&mut self) -> Result<(), ImageError> {
        let Some(filled) = self.current.take() else { return Ok(()) };
        let block = filled.block;
        let task = tokio::spawn(seal(Arc::clone(&self.staged), filled));
        self.enqueue(block, task);
        Ok(())
    }

    fn enqueue(&mut self, block: u64, task: JoinHandle<Result<Page, ImageError>>) {
        self.latest = Some(block);
        self.at_work.push_back((block, task));
    }

    /// Waits until another block may start: one buffer of `depth` is for the block that is being received.
    async fn make_room(&mut self) -> Result<(), ImageError> {
        while self.at_work.len() + 1 >= self.depth {
            self.collect_one().await?;
        }
        Ok(())
    }

    async fn collect_one(&mut self) -> Result<(), ImageError> {
        let Some((block, task)) = self.at_work.pop_front() else { return Ok(()) };
        let kept = match ended(block, task).await {
            Ok(page) => self.tree.push(block, page, pages_of(&self.base), self.staged.as_ref()).await,
            Err(fault) => Err(fault),
        };
        match kept {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.cause_of(fault).await),
        }
    }

    /// A store that is full fails the blocks beside the one that filled it too, in any order: the cause is told.
    async fn cause_of(&mut self, fault: ImageError) -> ImageError {
        let mut cause = fault;
        for (block, task) in std::mem::take(&mut self.at_work) {
            if let Err(full @ ImageError::Full { .. }) = ended(block, task).await {
                cause = full;
            }
        }
        cause
    }

    /// Waits for all that was written, closes the tree and flushes. After an error everything staged is freed: whoever
    /// hears of it and tries again must not find the image taken by blocks that are still being written.
    pub async fn finish(mut self) -> Result<Ingested, ImageError> {
        match self.settle().await {
            Ok((root, durable)) => Ok(Ingested { staged: self.staged, durable, root }),
            Err(fault) => {
                self.abort().await;
                Err(fault)
            }
        }
    }

    async fn settle(&mut self) -> Result<(Root, Durable), ImageError> {
        self.close_at_shrunk_end().await?;
        self.close_current().await?;
        while !self.at_work.is_empty() {
            self.collect_one().await?;
        }
        let tree = std::mem::replace(&mut self.tree, TreeBuilder::new(self.staged.size()));
        let root = tree.finish(pages_of(&self.base), self.staged.as_ref()).await?;
        Ok((root, self.staged.flush().await?))
    }

    /// Where the image is smaller than its base, the block of the new end is rehashed even if no extent touched it.
    async fn close_at_shrunk_end(&mut self) -> Result<(), ImageError> {
        let size = self.staged.size();
        let end = size / BLOCK;
        let shrunk = self.base.as_ref().is_some_and(|base| base.record().size > size);
        if shrunk && self.latest.is_none_or(|latest| latest < end) {
            self.open(end).await?;
        }
        Ok(())
    }

    /// Gives up and frees what was staged.
    pub async fn abort(mut self) {
        self.current = None;
        for (_, task) in self.at_work.drain(..) {
            // The result no longer matters, but nothing may be written once the staged image is gone.
            drop(task.await);
        }
        self.staged.abort().await;
    }
}

async fn ended(block: u64, task: JoinHandle<Result<Page, ImageError>>) -> Result<Page, ImageError> {
    let crashed =
        |error| ImageError::Io { action: format!("store block {block}"), source: std::io::Error::other(error) };
    task.await.map_err(crashed)?
}

fn inside_block(position: u64) -> usize {
    usize::try_from(position % BLOCK).unwrap_or_default()
}

fn pages_of(base: &Option<Arc<Verified>>) -> &dyn PageSource<Error = ImageError> {
    match base {
        Some(base) => base.as_ref(),
        None => const { &NoPages::new() },
    }
}
