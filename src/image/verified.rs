//! A snapshot's tree, believed only as far as its root proves it.
//!
//! Stores hand out pages by their position, from layers of several ages: a page could be rotten, or be left from
//! before the image shrank. So every page is checked against its parent, up to the root in the record, and a page
//! whose parent says "zero" is zero whatever lies in the store. Callers go through the image in ascending order, several
//! blocks at a time, so a page that is missing is read together with the siblings behind it, by one caller for all, and
//! some pages of each level are remembered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{ImageError, SnapshotImage, SnapshotRecord};
use crate::buffer::{BlockBuffer, BufferPool};
use crate::content::{
    BLOCK_BYTES, FAN_OUT, GRAINS_IN_LEAF, GrainMap, HEIGHT, Hash, LEAF_BYTES, Page, PageSource, Root, hash_leaf,
};

/// A committed snapshot whose pages and data are checked as they are read.
#[derive(Debug)]
pub struct Verified {
    image: Arc<dyn SnapshotImage>,
    /// By level, the pages that were proven last.
    latest: Mutex<[VecDeque<(u64, Page)>; HEIGHT as usize + 1]>,
    /// Held by the caller who reads pages.
    reading: tokio::sync::Mutex<()>,
}

/// Pages remembered of each level: those of the blocks at work and the siblings behind them. At most 270 KiB.
const REMEMBERED: usize = 48;

impl Verified {
    #[must_use]
    pub fn new(image: Arc<dyn SnapshotImage>) -> Self {
        Self { image, latest: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    #[must_use]
    pub fn record(&self) -> &SnapshotRecord {
        self.image.record()
    }

    /// Fills the `wanted` grains and no others. The leaves that they are in are read whole, because only a whole leaf
    /// can be checked: a grain that rotted would otherwise go into the next snapshot, with a hash that proves it.
    pub async fn read_grains(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        // Beside the budget, as what the stores themselves read into; only the leaves that are read become real memory.
        let mut whole = BufferPool::new(1).take().await;
        self.read_leaves(block, wanted.whole_leaves(), &mut whole).await?;
        for run in wanted.runs() {
            if let (Some(to), Some(from)) = (buffer.get_mut(run.clone()), whole.get(run)) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// Fills the leaves of `block` that are not zero and checks each; zeroes the others.
    pub async fn read_block(&self, block: u64, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        self.read_leaves(block, GrainMap::FULL, buffer).await
    }

    async fn read_leaves(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        let page = self.page(1, block).await?;
        self.image.read(block, leaves_with_data(&page).intersection(wanted), buffer).await?;
        let leaves = page.0.iter().zip(buffer.chunks_exact_mut(LEAF_BYTES)).enumerate();
        for (leaf, (expected, bytes)) in leaves.filter(|(leaf, _)| wanted.contains(leaf * GRAINS_IN_LEAF)) {
            if expected.is_zero() {
                bytes.fill(0);
            } else if hash_leaf(bytes) != *expected {
                return Err(self.damaged(block, leaf, "the bytes do not have the hash recorded at the commit"));
            }
        }
        Ok(())
    }

    /// The first byte of a leaf.
    pub(super) fn leaf_offset(&self, block: u64, leaf: usize) -> u64 {
        block.saturating_mul(BLOCK_BYTES as u64).saturating_add((leaf * LEAF_BYTES) as u64)
    }

    fn damaged(&self, block: u64, leaf: usize, detail: &str) -> ImageError {
        let offset = self.leaf_offset(block, leaf);
        ImageError::Damaged { snapshot: self.record().snapshot.clone(), offset, detail: detail.to_owned() }
    }

    fn remembered(&self, level: u8, index: u64) -> Option<Page> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = latest.get(usize::from(level))?;
        pages.iter().find(|(at, _)| *at == index).map(|(_, page)| *page)
    }

    fn remember(&self, level: u8, index: u64, page: Page) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pages) = latest.get_mut(usize::from(level)) {
            pages.truncate(REMEMBERED - 1);
            pages.push_front((index, page));
        }
    }

    /// The top page, proven by the root of the record.
    async fn top(&self) -> Result<Page, ImageError> {
        if let Some(page) = self.remembered(HEIGHT, 0) {
            return Ok(page);
        }
        let page = self.image.page(HEIGHT, 0).await?;
        if Root::new(self.record().size, page.hash()) != self.record().root {
            return Err(self.wrong(HEIGHT, 0));
        }
        self.remember(HEIGHT, 0, page);
        Ok(page)
    }

    /// Page `index` of `level`, proven by its parent.
    async fn below(&self, parent: &Page, level: u8, index: u64) -> Result<Page, ImageError> {
        let first = usize::try_from(index % FAN_OUT as u64).unwrap_or_default();
        if parent.0.get(first).is_none_or(Hash::is_zero) {
            return Ok(Page::default());
        }
        if let Some(page) = self.remembered(level, index) {
            return Ok(page);
        }
        let _reading = self.reading.lock().await;
        if let Some(page) = self.remembered(level, index) {
            return Ok(page);
        }
        let siblings = (index..).zip(parent.0.iter().skip(first)).filter(|(_, hash)| !hash.is_zero());
        let (indices, expected): (Vec<u64>, Vec<Hash>) = siblings.unzip();
        let pages = self.image.pages(level, &indices).await?;
        let mut wanted = None;
        for ((index, expected), page) in indices.into_iter().zip(expected).zip(pages).rev() {
            // A sibling that is wrong is told to whoever asks for it.
            if page.hash() == expected {
                self.remember(level, index, page);
                wanted = Some((index, page));
            }
        }
        wanted.filter(|(at, _)| *at == index).map(|(_, page)| page).ok_or_else(|| self.wrong(level, index))
    }

    fn wrong(&self, level: u8, index: u64) -> ImageError {
        let block = index.checked_shl(4 * u32::from(level.saturating_sub(1))).unwrap_or_default();
        self.damaged(block, 0, &format!("page {index} of level {level} of the content tree is wrong"))
    }
}

/// The grains of all leaves of a page of level 1 that are not zero.
fn leaves_with_data(page: &Page) -> GrainMap {
    let with_data = page.0.iter().enumerate().filter(|(_, hash)| !hash.is_zero());
    with_data.fold(GrainMap::EMPTY, |map, (leaf, _)| map.union(GrainMap::leaf(leaf)))
}

#[async_trait]
impl PageSource for Verified {
    type Error = ImageError;

    async fn page(&self, level: u8, index: u64) -> Result<Page, ImageError> {
        if let Some(page) = self.remembered(level, index) {
            return Ok(page);
        }
        let mut page = self.top().await?;
        for at in (level..HEIGHT).rev() {
            page = self.below(&page, at, index.checked_shr(4 * u32::from(at - level)).unwrap_or_default()).await?;
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::GRAIN_BYTES;
    use crate::image::MemoryStore;
    use crate::image::cases::{Bench, id, image};

    /// One byte is not what was committed, and nothing tells so.
    #[derive(Debug)]
    struct Rotten(Arc<dyn SnapshotImage>);

    #[async_trait]
    impl PageSource for Rotten {
        type Error = ImageError;
        async fn page(&self, level: u8, index: u64) -> Result<Page, ImageError> {
            self.0.page(level, index).await
        }
    }

    #[async_trait]
    impl SnapshotImage for Rotten {
        fn record(&self) -> &SnapshotRecord {
            self.0.record()
        }

        async fn read(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
            self.0.read(block, wanted, buffer).await?;
            buffer[3 * GRAIN_BYTES] ^= u8::from(wanted.contains(3));
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_grain_that_rotted_is_never_taken_over() {
        let bench = Bench::new(Arc::new(MemoryStore::new()), None);
        bench.put(1, None, &[7; 2 * LEAF_BYTES + 100]).await.unwrap();
        let rotten = Verified::new(Arc::new(Rotten(bench.store.open(&image(), &id(1)).await.unwrap())));
        let mut buffer = BufferPool::new(1).take().await;
        let grain = |number: usize| GrainMap::inside(number * GRAIN_BYTES, (number + 1) * GRAIN_BYTES);
        let refused = rotten.read_grains(0, grain(3), &mut buffer).await;
        assert!(matches!(refused, Err(ImageError::Damaged { offset: 0, .. })), "{refused:?}");
        buffer.fill(9);
        let (first, last) = (GRAINS_IN_LEAF, 2 * GRAINS_IN_LEAF);
        rotten.read_grains(0, grain(first).union(grain(last)), &mut buffer).await.unwrap();
        assert_eq!((buffer[LEAF_BYTES - 1], buffer[LEAF_BYTES], buffer[LEAF_BYTES + GRAIN_BYTES]), (9, 7, 9));
        assert_eq!((buffer[2 * LEAF_BYTES + 99], buffer[2 * LEAF_BYTES + 100]), (7, 0));
    }
}
