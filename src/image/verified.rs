//! A snapshot's tree, believed only as far as its root proves it.
//!
//! Stores hand out pages by their position, from layers of several ages: a page could be rotten, or be left from
//! before the image shrank. So every page is checked against its parent, up to the root in the record, and a page
//! whose parent says "zero" is zero whatever lies in the store. A few pages of each level are remembered: callers go
//! through the image in ascending order, several blocks at a time, so nearly every check is answered from there.

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
}

/// Pages remembered of each level: as many blocks as a transfer usually has at work. At most 90 KiB.
const REMEMBERED: usize = 16;

impl Verified {
    #[must_use]
    pub fn new(image: Arc<dyn SnapshotImage>) -> Self {
        Self { image, latest: Mutex::default() }
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

    fn damaged(&self, block: u64, leaf: usize, detail: &str) -> ImageError {
        let offset = block.saturating_mul(BLOCK_BYTES as u64).saturating_add((leaf * LEAF_BYTES) as u64);
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

    async fn checked(&self, level: u8, index: u64, expected: Option<Hash>) -> Result<Page, ImageError> {
        if expected == Some(Hash::ZERO) {
            return Ok(Page::default());
        }
        if let Some(page) = self.remembered(level, index) {
            return Ok(page);
        }
        let page = self.image.page(level, index).await?;
        let proven = match expected {
            Some(hash) => page.hash() == hash,
            None => Root::new(self.record().size, page.hash()) == self.record().root,
        };
        if !proven {
            let block = index.checked_shl(4 * u32::from(level.saturating_sub(1))).unwrap_or_default();
            return Err(self.damaged(block, 0, &format!("page {index} of level {level} of the content tree is wrong")));
        }
        self.remember(level, index, page);
        Ok(page)
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
        let mut expected = None;
        let mut page = Page::default();
        for at in (level..=HEIGHT).rev() {
            let below = 4 * u32::from(at - level);
            page = self.checked(at, index.checked_shr(below).unwrap_or_default(), expected).await?;
            let child = below.checked_sub(4).map(|shift| (index >> shift) % FAN_OUT as u64);
            expected = child.and_then(|child| page.0.get(usize::try_from(child).ok()?)).copied();
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
