//! One block on its way to storage: filled by extents, completed from the base, hashed, written.

use std::sync::Arc;

use super::{ImageError, StagedImage, Verified};
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, FAN_OUT, GRAIN_BYTES, GrainMap, LEAF_BYTES, Page, PageSource, hash_leaf};

/// A block of which some bytes have been received.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) block: u64,
    buffer: BlockBuffer,
    base: Option<Arc<Verified>>,
    /// Grains that an extent touched: those that are stored.
    touched: GrainMap,
    /// Grains whose bytes in the buffer are right, including those that came from the base. At least `touched`.
    right: GrainMap,
    /// Where the last bytes ended inside a grain whose rest is still open. A stream is cut anywhere, and the next bytes
    /// usually go on there: only where they do not is the base asked for the rest.
    ragged: Option<usize>,
}

impl Filled {
    pub(super) fn new(block: u64, buffer: BlockBuffer, base: Option<Arc<Verified>>) -> Self {
        Self { block, buffer, base, touched: GrainMap::EMPTY, right: GrainMap::EMPTY, ragged: None }
    }

    /// A block that was written before, up to `end` bytes: `written` are its grains, in `buffer`. What lies behind
    /// `end` in its last grain is not believed.
    pub(super) fn reopened(
        block: u64,
        buffer: BlockBuffer,
        base: Option<Arc<Verified>>,
        written: GrainMap,
        end: usize,
    ) -> Self {
        let right = written.intersection(GrainMap::inside(0, end));
        let open = written.without(right);
        Self { block, buffer, base, touched: written, right, ragged: (!open.is_empty()).then_some(end) }
    }

    /// Takes bytes that begin `start` bytes into the block.
    pub(super) async fn put(&mut self, start: usize, bytes: &[u8]) -> Result<(), ImageError> {
        let end = start + bytes.len();
        self.touch(start, end).await?;
        if let Some(place) = self.buffer.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Zeroes `length` bytes from `start`.
    pub(super) async fn clear(&mut self, start: usize, length: usize) -> Result<(), ImageError> {
        let end = start + length;
        self.touch(start, end).await?;
        if let Some(place) = self.buffer.get_mut(start..end) {
            place.fill(0);
        }
        Ok(())
    }

    /// Before a grain is overwritten in part, its other bytes must be right.
    async fn touch(&mut self, start: usize, end: usize) -> Result<(), ImageError> {
        let goes_on = self.ragged == Some(start);
        if !goes_on {
            self.mend().await?;
            if !start.is_multiple_of(GRAIN_BYTES) {
                self.fill_from_base(grain_at(start).without(self.right)).await?;
            }
        }
        let open = if end.is_multiple_of(GRAIN_BYTES) { GrainMap::EMPTY } else { grain_at(end).without(self.right) };
        self.ragged = (!open.is_empty()).then_some(end);
        let touched = GrainMap::touched(start, end);
        self.touched = self.touched.union(touched);
        self.right = self.right.union(touched.without(open));
        Ok(())
    }

    /// Completes the grain that the last bytes left open.
    async fn mend(&mut self) -> Result<(), ImageError> {
        let Some(end) = self.ragged.take() else { return Ok(()) };
        let received = end - end % GRAIN_BYTES..end;
        let kept = self.buffer.get(received.clone()).unwrap_or_default().to_vec();
        self.fill_from_base(grain_at(end)).await?;
        if let Some(place) = self.buffer.get_mut(received) {
            place.copy_from_slice(&kept);
        }
        Ok(())
    }

    async fn fill_from_base(&mut self, grains: GrainMap) -> Result<(), ImageError> {
        if grains.is_empty() {
            return Ok(());
        }
        match &self.base {
            Some(base) => base.read_grains(self.block, grains, &mut self.buffer).await?,
            None => zero_grains(&mut self.buffer, grains),
        }
        self.right = self.right.union(grains);
        Ok(())
    }

    /// What comes past the end of an image of `size` bytes is zero.
    fn cut(&mut self, size: u64) {
        let start = self.block.saturating_mul(BLOCK_BYTES as u64);
        let inside = usize::try_from(size.saturating_sub(start)).unwrap_or(BLOCK_BYTES);
        if let Some(past) = self.buffer.get_mut(inside..) {
            past.fill(0);
        }
    }

    /// Brings the base's page above this block into memory, while the block is still at work beside others: the tree
    /// asks for it when the block is done, one block after the other.
    async fn warm_parent(&self) -> Result<Page, ImageError> {
        if let Some(base) = &self.base {
            base.page(2, self.block / FAN_OUT as u64).await?;
        }
        Ok(Page::default())
    }

    /// The page of this block as the base has it.
    async fn base_page(&self) -> Result<Page, ImageError> {
        match &self.base {
            Some(base) => base.page(1, self.block).await,
            None => Ok(Page::default()),
        }
    }
}

/// The grain that holds the byte `position` of a block.
fn grain_at(position: usize) -> GrainMap {
    GrainMap::touched(position, position + 1)
}

fn zero_grains(buffer: &mut BlockBuffer, grains: GrainMap) {
    for run in grains.runs() {
        if let Some(bytes) = buffer.get_mut(run) {
            bytes.fill(0);
        }
    }
}

/// Completes the touched leaves, hashes them, hands the touched grains to storage and gives the block's page.
pub(super) async fn seal(staged: Arc<dyn StagedImage>, mut filled: Filled) -> Result<Page, ImageError> {
    let size = staged.size();
    let mut leaves = filled.touched.whole_leaves();
    if let Some(cut) = cut_leaf(filled.block, size) {
        leaves = leaves.union(GrainMap::leaf(cut));
        filled.touched = filled.touched.union(cut_grain(size));
    }
    filled.mend().await?;
    filled.fill_from_base(leaves.without(filled.right)).await?;
    filled.cut(size);
    let page = if leaves.is_full() { filled.warm_parent().await? } else { filled.base_page().await? };
    let (page, filled) = hash(page, leaves, filled).await?;
    if filled.touched.is_empty() {
        return Ok(page);
    }
    staged.write(filled.block, filled.touched, filled.buffer).await.map(|()| page)
}

/// The leaf that the end of the image cuts, when it lies inside this block.
fn cut_leaf(block: u64, size: u64) -> Option<usize> {
    let inside = size.checked_sub(block.checked_mul(BLOCK_BYTES as u64)?)?;
    let inside = usize::try_from(inside).ok().filter(|inside| *inside < BLOCK_BYTES)?;
    (inside % LEAF_BYTES != 0).then_some(inside / LEAF_BYTES)
}

/// The grain that the end of the image cuts: its rest must be zero in storage, should the image grow again.
fn cut_grain(size: u64) -> GrainMap {
    let inside = usize::try_from(size % BLOCK_BYTES as u64).unwrap_or_default();
    if inside % GRAIN_BYTES == 0 { GrainMap::EMPTY } else { GrainMap::touched(inside, inside + 1) }
}

async fn hash(mut page: Page, leaves: GrainMap, filled: Filled) -> Result<(Page, Filled), ImageError> {
    let work = move || {
        for leaf in 0..FAN_OUT {
            let bytes = filled.buffer.get(leaf * LEAF_BYTES..(leaf + 1) * LEAF_BYTES);
            let wanted = leaves.contains(leaf * LEAF_BYTES / GRAIN_BYTES);
            if let (true, Some(bytes), Some(hash)) = (wanted, bytes, page.0.get_mut(leaf)) {
                *hash = hash_leaf(bytes);
            }
        }
        (page, filled)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ImageError::Io { action: "hash a block".to_owned(), source: std::io::Error::other(error) })
}
