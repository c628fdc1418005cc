//! The content root of an image whose bytes pass by in ascending order.
//!
//! Sender and restorer need the same number that the gateway records at commit, without a second pass over the data.
//! One leaf is held, and only where it comes in parts; what is not written is zero. Whole blocks were held once: for
//! changes that lie scattered, clearing and looking through them cost more than everything else that a sender does.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::content::{
    BLOCK_BYTES, FAN_OUT, Hash, LEAF_BYTES, NoBase, NoPages, Page, PageSink, Root, TreeBuilder, hash_leaf, hash_leaves,
};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Takes bytes in ascending order and gives the root of the whole image. The pages of its tree go to `S`, which must
/// not make anybody wait.
#[derive(Debug)]
pub struct RootMeter<S = NoBase> {
    tree: TreeBuilder,
    /// Where the blocks go instead, when they are those of a piece.
    blocks: Option<Arc<BlockHashes>>,
    /// The block that was written last, and the hashes of its leaves as far as they are known.
    open: Option<(u64, Page)>,
    /// The leaf of that block of which `leaf` holds what was written.
    part: Option<usize>,
    leaf: Vec<u8>,
    sink: S,
}

impl RootMeter {
    /// For an image of `size` bytes, of which nothing but the root is wanted.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self::with(size, NoBase::new())
    }

    /// For whole blocks of an image whose other blocks pass by elsewhere.
    pub(crate) fn of_piece(blocks: Arc<BlockHashes>) -> Self {
        Self { blocks: Some(blocks), ..Self::new(0) }
    }

    /// All bytes of the piece were taken.
    pub(crate) fn finish_piece(mut self) {
        let Ok(()) = self.close();
    }

    /// Takes `bytes` at `offset`, which must not lie before the end of what was taken before.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let Ok(()) = self.take(offset, bytes);
    }

    /// The root, when all bytes were taken.
    #[must_use]
    pub fn finish(self) -> Root {
        let Ok((root, _)) = self.end();
        root
    }
}

impl<S: PageSink<Error: 'static>> RootMeter<S> {
    pub(super) fn with(size: u64, sink: S) -> Self {
        Self { tree: TreeBuilder::new(size), blocks: None, open: None, part: None, leaf: Vec::new(), sink }
    }

    /// As [`RootMeter::write`], where a page may not be kept.
    pub(super) fn take(&mut self, offset: u64, bytes: &[u8]) -> Result<(), S::Error> {
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let (number, inside) = (offset / BLOCK, usize::try_from(offset % BLOCK).unwrap_or_default());
            let (leaf, start) = (inside / LEAF_BYTES, inside % LEAF_BYTES);
            let (now, later) = rest.split_at(rest.len().min(LEAF_BYTES - start));
            self.enter(number)?;
            if now.len() == LEAF_BYTES {
                self.know(leaf, hash_leaf(now));
            } else {
                self.fill(leaf, start, now);
            }
            offset += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Turns to a block.
    fn enter(&mut self, number: u64) -> Result<(), S::Error> {
        if self.open.is_none_or(|(open, _)| open != number) {
            self.close()?;
            self.open = Some((number, Page::default()));
        }
        Ok(())
    }

    fn fill(&mut self, leaf: usize, start: usize, bytes: &[u8]) {
        if self.part != Some(leaf) {
            self.close_leaf();
            self.leaf.clear();
            self.leaf.resize(LEAF_BYTES, 0);
            self.part = Some(leaf);
        }
        if let Some(place) = self.leaf.get_mut(start..start + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn close_leaf(&mut self) {
        if let Some(leaf) = self.part.take() {
            self.know(leaf, hash_leaf(&self.leaf));
        }
    }

    fn know(&mut self, leaf: usize, hash: Hash) {
        let page = self.open.as_mut().map(|(_, page)| page);
        if let Some(place) = page.and_then(|page| page.0.get_mut(leaf)) {
            *place = hash;
        }
    }

    fn close(&mut self) -> Result<(), S::Error> {
        self.close_leaf();
        match self.open.take() {
            Some((number, page)) => self.push(number, page),
            None => Ok(()),
        }
    }

    fn push(&mut self, number: u64, page: Page) -> Result<(), S::Error> {
        if let Some(blocks) = &self.blocks {
            blocks.take(number, &page);
            return Ok(());
        }
        at_once(self.tree.push(number, page, &NoPages::new(), &self.sink))
    }

    /// The root, when all bytes were taken, and what has kept the pages.
    pub(super) fn end(mut self) -> Result<(Root, S), S::Error> {
        self.close()?;
        let root = at_once(self.tree.finish(&NoPages::new(), &self.sink))?;
        Ok((root, self.sink))
    }
}

/// The page of a whole block, zero past the end of the image.
pub(crate) fn leaves_of(block: &[u8]) -> Page {
    let mut page = Page::default();
    page.0.iter_mut().zip(hash_leaves(block)).for_each(|(place, hash): (&mut Hash, _)| *place = hash);
    page
}

/// The hashes of an image's blocks, taken in any order: 32 bytes for each that is not zero.
#[derive(Debug, Default)]
pub(crate) struct BlockHashes(Mutex<BTreeMap<u64, Hash>>);

impl BlockHashes {
    /// Takes the page of a block. The last time counts.
    pub(crate) fn take(&self, number: u64, page: &Page) {
        let hash = page.hash();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, hash);
    }

    /// The root of an image of `size` bytes; what was not taken is zero.
    pub(crate) fn root(&self, size: u64) -> Root {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pages: BTreeMap<u64, Page> = BTreeMap::new();
        for (number, hash) in blocks.iter().filter(|(_, hash)| !hash.is_zero()) {
            let page = pages.entry(number / FAN_OUT as u64).or_default();
            let place = usize::try_from(number % FAN_OUT as u64).unwrap_or_default();
            page.0.iter_mut().skip(place).take(1).for_each(|child| *child = *hash);
        }
        let mut tree = TreeBuilder::new(size);
        for (index, page) in pages {
            let Ok(()) = at_once(tree.push_blocks(index, page, &NoBase::new(), &NoBase::new()));
        }
        let Ok(root) = at_once(tree.finish(&NoBase::new(), &NoBase::new()));
        root
    }
}

/// The value of a future that has nothing to wait for, as those over [`NoPages`] and plain files have.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The root of `image`, the plain way: all blocks, one after the other.
    pub(crate) fn root_of(image: &[u8]) -> Root {
        let mut meter = RootMeter::new(image.len() as u64);
        for (number, chunk) in (0..).zip(image.chunks(BLOCK_BYTES)) {
            let mut block = chunk.to_vec();
            block.resize(BLOCK_BYTES, 0);
            let Ok(()) = meter.push(number, leaves_of(&block));
        }
        meter.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_cut_gives_the_same_root(
            cuts in proptest::collection::vec(prop_oneof![1_usize..9_000, 1_usize..700_000], 1..20),
            seed in any::<u8>(), length in 0_usize..3_500_000,
        ) {
            let image: Vec<u8> = (0..length).map(|at| (at / 4096) as u8 ^ seed).collect();
            let mut meter = RootMeter::new(length as u64);
            let mut rest = &image[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at(rest.len().min(*cut));
                meter.write((length - rest.len()) as u64, now);
                rest = later;
            }
            prop_assert_eq!(meter.finish(), root_of(&image));
        }
    }

    #[test]
    fn blocks_in_any_order_give_the_same_root() {
        let mut image = vec![0; 40 * BLOCK_BYTES + 77];
        for number in [0, 3, 15, 16, 39, 40] {
            image[number * BLOCK_BYTES + 5] = number as u8 + 1;
        }
        let hashes = BlockHashes::default();
        for number in (0..=40).rev() {
            let mut block = image[number * BLOCK_BYTES..image.len().min((number + 1) * BLOCK_BYTES)].to_vec();
            block.resize(BLOCK_BYTES, 0);
            hashes.take(number as u64, &leaves_of(&vec![1; BLOCK_BYTES]));
            hashes.take(number as u64, &leaves_of(&block));
        }
        assert_eq!(hashes.root(image.len() as u64), root_of(&image));
        assert_eq!(BlockHashes::default().root(9), root_of(&[0; 9]));
    }

    #[test]
    fn places_that_lie_scattered_count_with_what_lies_between() {
        let mut image = vec![0; 3 * BLOCK_BYTES];
        let mut meter = RootMeter::new(image.len() as u64);
        for at in [7, 4096, LEAF_BYTES - 1, LEAF_BYTES, 5 * LEAF_BYTES + 9, BLOCK_BYTES - 3, 2 * BLOCK_BYTES + 70_000] {
            image[at..at + 2].copy_from_slice(&[at as u8, 1]);
            meter.write(at as u64, &image[at..at + 2]);
        }
        assert_eq!(meter.finish(), root_of(&image));
    }

    #[test]
    fn what_is_not_written_is_zero() {
        let mut image = vec![0; 5 * BLOCK_BYTES + 77];
        image[3 * BLOCK_BYTES + 5] = 1;
        let mut meter = RootMeter::new(image.len() as u64);
        meter.write(3 * BLOCK_BYTES as u64 + 5, &[1]);
        assert_eq!(meter.finish(), root_of(&image));
        assert_eq!(RootMeter::new(9).finish(), root_of(&[0; 9]));
    }
}
