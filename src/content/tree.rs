//! Building the tree of a snapshot from the tree of its base and the pages that changed.
//!
//! A 64 GiB stream has 32 MiB of leaf hashes, so the builder may not keep them: pages of level 1 arrive in ascending
//! order, and one open page for each level is all that is held. A closed page goes to the [`PageSink`] (which keeps
//! it beside the snapshot) and its hash into its parent. Pages that nothing touched are never read nor written: they
//! are shared with the base. Building the whole tree at the end was refused: it reads every hash of the volume again.

use std::convert::Infallible;
use std::marker::PhantomData;

use async_trait::async_trait;

use super::{FAN_OUT, HEIGHT, Hash, LEAF_BYTES, Root};

/// The hashes of the [`FAN_OUT`] children of one node.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Page(pub [Hash; FAN_OUT]);

impl Page {
    /// Bytes of a page as stored and hashed: the children's hashes, one after the other.
    pub const BYTES: usize = FAN_OUT * 32;

    /// The page's own hash; [`Hash::ZERO`] when all children are zero.
    #[must_use]
    pub fn hash(&self) -> Hash {
        if self.0.iter().all(Hash::is_zero) {
            return Hash::ZERO;
        }
        Hash::page(&self.to_bytes())
    }

    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (to, child) in bytes.chunks_exact_mut(32).zip(self.0) {
            to.copy_from_slice(&child.0);
        }
        bytes
    }

    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let mut page = Self::default();
        for (child, from) in page.0.iter_mut().zip(bytes.as_chunks::<32>().0) {
            *child = Hash(*from);
        }
        page
    }

    fn set(&mut self, child: u64, hash: Hash) {
        let position = usize::try_from(child % FAN_OUT as u64).unwrap_or_default();
        if let Some(place) = self.0.get_mut(position) {
            *place = hash;
        }
    }

    /// Children that start at or after the end of the image are zero, whatever the base had there.
    fn truncate(&mut self, level: u8, index: u64, size: u64) {
        let covered = covered_by_child(level);
        for (child, hash) in (index * FAN_OUT as u64..).zip(self.0.iter_mut()) {
            if u128::from(child) * covered >= u128::from(size) {
                *hash = Hash::ZERO;
            }
        }
    }
}

/// Bytes of the image under one child of a page of `level` (1 for the pages of leaves).
fn covered_by_child(level: u8) -> u128 {
    (LEAF_BYTES as u128) << (4 * u32::from(level.saturating_sub(1)))
}

/// Where the pages of the base are read.
#[async_trait]
pub trait PageSource: Send + Sync {
    type Error: Send;
    /// The page number `index` of `level`; all zero where the base has none.
    async fn page(&self, level: u8, index: u64) -> Result<Page, Self::Error>;
}

/// Where the pages of the new snapshot are kept.
#[async_trait]
pub trait PageSink: Send + Sync {
    type Error: Send;
    /// Keeps one page. Pages of one level come in ascending order, each once.
    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), Self::Error>;
}

/// The base of a full snapshot: nothing but zeroes. As a sink it forgets. `E` is whatever error the other side has.
#[derive(Clone, Copy, Debug)]
pub struct NoPages<E>(pub PhantomData<fn() -> E>);

impl<E> NoPages<E> {
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E> Default for NoPages<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl<E: Send + 'static> PageSource for NoPages<E> {
    type Error = E;
    async fn page(&self, _level: u8, _index: u64) -> Result<Page, E> {
        Ok(Page::default())
    }
}

#[async_trait]
impl<E: Send + 'static> PageSink for NoPages<E> {
    type Error = E;
    async fn put(&self, _level: u8, _index: u64, _page: &Page) -> Result<(), E> {
        Ok(())
    }
}

/// [`NoPages`] for callers that cannot fail, such as a sender that only wants a root.
pub type NoBase = NoPages<Infallible>;

/// A page that may still get children.
#[derive(Clone, Copy, Debug)]
struct Open {
    index: u64,
    page: Page,
}

/// Takes the changed pages of level 1 in ascending order and gives the root.
#[derive(Debug)]
pub struct TreeBuilder {
    size: u64,
    /// By level; levels 0 and 1 stay empty, the last is the top page.
    open: Box<[Option<Open>; HEIGHT as usize + 1]>,
}

impl TreeBuilder {
    /// A builder for an image of `size` bytes (at most [`super::SIZE_MAX`]).
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { size, open: Box::new([None; HEIGHT as usize + 1]) }
    }

    /// Takes the leaf hashes of block number `block`, which must be greater than the block before.
    ///
    /// The hashes are those of the finished snapshot: leaves that did not change are repeated from the base. Where
    /// the image is smaller than its base, the block that holds the new end ([`super::BLOCK_BYTES`]) must be pushed too.
    pub async fn push<E: Send>(
        &mut self,
        block: u64,
        leaves: Page,
        base: &dyn PageSource<Error = E>,
        sink: &dyn PageSink<Error = E>,
    ) -> Result<(), E> {
        self.close(1, Open { index: block, page: leaves }, base, sink).await
    }

    /// Takes page number `index` of level 2, the hashes of blocks whose leaves are not kept; in ascending order too, and
    /// not beside [`TreeBuilder::push`].
    pub async fn push_blocks<E: Send>(
        &mut self,
        index: u64,
        blocks: Page,
        base: &dyn PageSource<Error = E>,
        sink: &dyn PageSink<Error = E>,
    ) -> Result<(), E> {
        self.close(2, Open { index, page: blocks }, base, sink).await
    }

    /// Keeps a finished page of `level` and puts its hash into its parent, closing the parents that are complete.
    async fn close<E: Send>(
        &mut self,
        mut level: u8,
        mut closing: Open,
        base: &dyn PageSource<Error = E>,
        sink: &dyn PageSink<Error = E>,
    ) -> Result<(), E> {
        loop {
            closing.page.truncate(level, closing.index, self.size);
            sink.put(level, closing.index, &closing.page).await?;
            level += 1;
            let index = closing.index / FAN_OUT as u64;
            let Some(slot) = self.open.get_mut(usize::from(level)) else { return Ok(()) };
            let finished = slot.take_if(|open| open.index != index);
            let mut parent = match *slot {
                Some(open) => open,
                None => Open { index, page: base.page(level, index).await? },
            };
            parent.page.set(closing.index, closing.page.hash());
            *slot = Some(parent);
            match finished {
                Some(open) => closing = open,
                None => return Ok(()),
            }
        }
    }

    /// Closes what is open and gives the root of the snapshot. Without any change, the base's top page counts.
    pub async fn finish<E: Send>(
        mut self,
        base: &dyn PageSource<Error = E>,
        sink: &dyn PageSink<Error = E>,
    ) -> Result<Root, E> {
        for level in 2..HEIGHT {
            if let Some(open) = self.open.get_mut(usize::from(level)).and_then(Option::take) {
                self.close(level, open, base, sink).await?;
            }
        }
        let mut top = match self.open.last().copied().flatten() {
            Some(open) => open.page,
            None => base.page(HEIGHT, 0).await?,
        };
        top.truncate(HEIGHT, 0, self.size);
        sink.put(HEIGHT, 0, &top).await?;
        Ok(Root::new(self.size, top.hash()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::super::BLOCK_BYTES;
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<(u8, u64), Page>>);

    #[async_trait]
    impl PageSource for Kept {
        type Error = Infallible;
        async fn page(&self, level: u8, index: u64) -> Result<Page, Infallible> {
            Ok(self.0.lock().unwrap().get(&(level, index)).copied().unwrap_or_default())
        }
    }

    #[async_trait]
    impl PageSink for Kept {
        type Error = Infallible;
        async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), Infallible> {
            self.0.lock().unwrap().insert((level, index), *page);
            Ok(())
        }
    }

    fn leaves(seed: u8) -> Page {
        let mut page = Page::default();
        page.0[0] = Hash([seed; 32]);
        page.0[FAN_OUT - 1] = Hash([seed ^ 0xff; 32]);
        page
    }

    async fn build(size: u64, base: &Kept, blocks: &[(u64, Page)]) -> (Root, Kept) {
        let sink = Kept(Mutex::new(base.0.lock().unwrap().clone()));
        let mut builder = TreeBuilder::new(size);
        for (block, page) in blocks {
            builder.push(*block, *page, base, &sink).await.unwrap();
        }
        let root = builder.finish(base, &sink).await.unwrap();
        (root, sink)
    }

    const MIB: u64 = BLOCK_BYTES as u64;

    #[tokio::test]
    async fn an_incremental_and_a_full_build_agree() {
        let size = 70_000 * MIB;
        let first = [(0, leaves(1)), (5, leaves(2)), (300, leaves(3)), (69_999, leaves(4))];
        let second = [(5, leaves(7)), (17, leaves(8)), (69_999, Page::default())];
        let (_, base) = build(size, &Kept::default(), &first).await;
        let (incremental, _) = build(size, &base, &second).await;
        let all = [(0, leaves(1)), (5, leaves(7)), (17, leaves(8)), (300, leaves(3))];
        let (full, _) = build(size, &Kept::default(), &all).await;
        assert_eq!(incremental, full);
        let (unchanged, _) = build(size, &base, &[]).await;
        let (again, _) = build(size, &Kept::default(), &first).await;
        assert_eq!(unchanged, again);
    }

    #[tokio::test]
    async fn a_shrunk_image_has_the_root_of_its_remaining_content() {
        let (_, base) =
            build(5_000 * MIB, &Kept::default(), &[(1, leaves(1)), (40, leaves(2)), (4_999, leaves(3))]).await;
        for end in [2, 16, 40, 41, 256, 4_096] {
            let boundary = base.page(1, end).await.unwrap();
            let (shrunk, kept) = build(end * MIB, &base, &[(end, boundary)]).await;
            let remaining: Vec<_> =
                [(1, leaves(1)), (40, leaves(2))].into_iter().filter(|(block, _)| *block < end).collect();
            let (full, _) = build(end * MIB, &Kept::default(), &remaining).await;
            assert_eq!(shrunk, full, "shrunk to {end} MiB");
            let (grown, _) = build(5_000 * MIB, &kept, &[]).await;
            let (full, _) = build(5_000 * MIB, &Kept::default(), &remaining).await;
            assert_eq!(grown, full, "shrunk to {end} MiB and grown again");
        }
    }

    #[tokio::test]
    async fn nothing_costs_nothing() {
        let (_, kept) = build(super::super::SIZE_MAX, &Kept::default(), &[]).await;
        assert_eq!(kept.0.lock().unwrap().len(), 1);
    }
}
