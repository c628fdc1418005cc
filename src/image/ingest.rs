//! From extents in ascending order, cut anywhere, to whole blocks, their hashes and the content tree.
//!
//! The sender decides where extents begin and end; storage wants aligned blocks and the tree wants whole leaves. The
//! repair of edges is done here, once for all stores: bytes that an extent leaves open are taken from the base, at
//! grain granularity, and only touched leaves are completed and hashed. Up to `depth` blocks are filled, hashed and
//! written side by side, and more where the storage wants them and nobody else the buffers, while their pages enter the
//! tree in order. Memory is that of the buffers, whatever the size of the image.
//!
//! A transfer that comes in pieces has one of these for each piece. The tree is then built at the end, from the pages
//! that the storage keeps: pieces come in any order, and a piece may end inside a block.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::block::{Filled, seal};
use super::{Durable, ImageError, StagedImage, UploadImage, Verified};
use crate::buffer::{BlockBuffer, BufferPool};
use crate::content::{BLOCK_BYTES, GrainMap, NoPages, Page, PageSource, Root, TreeBuilder, next_data};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Fills a [`StagedImage`] from a stream of extents.
#[derive(Debug)]
pub struct Ingest {
    staged: Arc<dyn StagedImage>,
    base: Option<Arc<Verified>>,
    pool: BufferPool,
    depth: usize,
    /// Blocks at work that the storage would take.
    appetite: usize,
    /// Beyond its own share: for the block that comes next.
    spare: Option<BlockBuffer>,
    tree: Tree,
    /// Where the extents must end, at the latest.
    limit: u64,
    /// End of the last extent, in bytes.
    position: u64,
    current: Option<Filled>,
    at_work: VecDeque<(u64, JoinHandle<Result<Page, ImageError>>)>,
    /// The last block that entered the queue.
    latest: Option<u64>,
}

/// Where finished pages go.
#[derive(Debug)]
enum Tree {
    Growing(TreeBuilder),
    /// Built when all pieces are there.
    Later(Arc<dyn UploadImage>),
}

/// A staged image that is complete and durable, and the root of its content.
#[derive(Debug)]
pub struct Ingested {
    pub staged: Arc<dyn StagedImage>,
    pub durable: Durable,
    pub root: Root,
}

impl Ingest {
    /// Uses at most `depth` buffers (at least two) of `pool` at once, and such as nobody else wants.
    #[must_use]
    pub fn new(staged: Arc<dyn StagedImage>, pool: BufferPool, depth: usize) -> Self {
        let tree = Tree::Growing(TreeBuilder::new(staged.size()));
        let limit = staged.size();
        Self::from(0..limit, staged, tree, pool, depth)
    }

    /// For one piece of an image: what is there of it from the start of `range` on is cleared, the bytes before it stay.
    pub async fn piece(
        upload: Arc<dyn UploadImage>,
        range: Range<u64>,
        pool: BufferPool,
        depth: usize,
    ) -> Result<Self, ImageError> {
        upload.clear(range.clone()).await?;
        let (block, inside) = (range.start / BLOCK, inside_block(range.start));
        let staged: Arc<dyn StagedImage> = Arc::<dyn UploadImage>::clone(&upload);
        let mut ingest = Self::from(range.clone(), staged, Tree::Later(Arc::clone(&upload)), pool, depth);
        if inside > 0 && !range.is_empty() {
            let buffer = ingest.pool.take().await;
            let (written, buffer) = upload.reopen(block, range.start, buffer).await?;
            ingest.current = Some(Filled::reopened(block, buffer, ingest.base.clone(), written, inside));
        }
        Ok(ingest)
    }

    fn from(range: Range<u64>, staged: Arc<dyn StagedImage>, tree: Tree, pool: BufferPool, depth: usize) -> Self {
        let base = staged.base().map(|base| Arc::new(Verified::new(base)));
        let (position, limit, depth) = (range.start, range.end, depth.max(2));
        let (appetite, at_work) = (staged.appetite(), VecDeque::with_capacity(depth));
        let spare = None;
        Self { staged, base, pool, depth, appetite, spare, tree, limit, position, current: None, at_work, latest: None }
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
        let end = offset.checked_add(length).filter(|end| *end <= self.limit);
        let in_order = offset >= self.position;
        match end.filter(|_| in_order) {
            Some(end) => {
                self.position = end;
                Ok(())
            }
            None => Err(ImageError::Extent { offset, length, position: self.position, size: self.limit }),
        }
    }

    async fn open(&mut self, block: u64) -> Result<&mut Filled, ImageError> {
        if self.current.as_ref().is_some_and(|current| current.block != block) {
            self.close_current().await?;
        }
        if self.current.is_none() {
            self.make_room().await?;
        }
        let (pool, spare, base) = (&self.pool, &mut self.spare, &self.base);
        match &mut self.current {
            Some(current) => Ok(current),
            empty => {
                let buffer = match spare.take() {
                    Some(buffer) => buffer,
                    None => pool.take().await,
                };
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
            if self.spare.is_none() && self.at_work.len() < self.appetite {
                self.spare = self.pool.try_take();
            }
            if self.spare.is_some() && self.at_work.len() < self.appetite {
                return Ok(());
            }
            self.collect_one().await?;
        }
        Ok(())
    }

    async fn collect_one(&mut self) -> Result<(), ImageError> {
        let Some((block, task)) = self.at_work.pop_front() else { return Ok(()) };
        let kept = match ended(block, task).await {
            Ok(page) => self.keep(block, page).await,
            Err(fault) => Err(fault),
        };
        match kept {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.cause_of(fault).await),
        }
    }

    async fn keep(&mut self, block: u64, page: Page) -> Result<(), ImageError> {
        match &mut self.tree {
            Tree::Growing(tree) => tree.push(block, page, pages_of(&self.base), self.staged.as_ref()).await,
            Tree::Later(upload) => upload.put(1, block, &page).await,
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
        self.settle_pieces().await?;
        let tree = Tree::Growing(TreeBuilder::new(self.staged.size()));
        match std::mem::replace(&mut self.tree, tree) {
            Tree::Growing(tree) => {
                let root = tree.finish(pages_of(&self.base), self.staged.as_ref()).await?;
                Ok((root, self.staged.flush().await?))
            }
            Tree::Later(upload) => upload.close().await,
        }
    }

    async fn settle_pieces(&mut self) -> Result<(), ImageError> {
        if self.limit == self.staged.size() {
            self.close_at_shrunk_end().await?;
        }
        self.close_current().await?;
        while !self.at_work.is_empty() {
            self.collect_one().await?;
        }
        Ok(())
    }

    /// How far the storage has taken all that came, without waiting for more. Only a flush makes it durable.
    pub async fn taken(&mut self) -> Result<u64, ImageError> {
        while self.at_work.front().is_some_and(|(_, task)| task.is_finished()) {
            self.collect_one().await?;
        }
        let at_work = self.at_work.front().map(|(block, _)| *block);
        let open = at_work.or(self.current.as_ref().map(|current| current.block));
        Ok(open.map_or(self.position, |block| block * BLOCK))
    }

    /// Whether any block is on its way to the storage.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        !self.at_work.is_empty()
    }

    /// Waits until the storage has taken one block more; at once when none is on its way.
    pub async fn take_one(&mut self) -> Result<(), ImageError> {
        self.collect_one().await
    }

    /// Ends a piece where it is, in the middle of a block if need be, and says where that is.
    pub async fn end_piece(mut self) -> Result<u64, ImageError> {
        let settled = self.settle_pieces().await;
        self.wait_for_work().await;
        settled.map(|()| self.position)
    }

    /// Ends a piece with its last whole block.
    pub async fn end_at_block(mut self) -> Result<u64, ImageError> {
        let whole = self.position / BLOCK;
        if self.current.as_ref().is_some_and(|current| current.block < whole) {
            self.close_current().await?;
        }
        self.current = None;
        let mut settled = Ok(());
        while settled.is_ok() && !self.at_work.is_empty() {
            settled = self.collect_one().await;
        }
        self.wait_for_work().await;
        settled.map(|()| whole * BLOCK)
    }

    /// The result no longer matters, but nothing may be written once the image is gone.
    async fn wait_for_work(&mut self) {
        for (_, task) in self.at_work.drain(..) {
            drop(task.await);
        }
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
        self.wait_for_work().await;
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
