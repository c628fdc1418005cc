//! A store under test, and byte arrays to compare it with.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::buffer::BufferPool;
use crate::content::{
    BLOCK_BYTES, GRAIN_BYTES, GRAINS_IN_BLOCK, HEIGHT, LEAF_BYTES, Page, TreeBuilder, hash_leaf, is_zero,
};
use crate::image::file::Dice;
use crate::image::*;

pub(super) const MIB: usize = BLOCK_BYTES;

/// Someone who changes files behind the store's back.
pub(in crate::image) trait Vandal: Debug {
    /// Files of the image that end so, by name.
    fn files(&self, suffix: &str) -> Vec<String>;
    fn flip(&self, file: &str, offset: u64);
    fn remove(&self, file: &str);
    /// Puts the same bytes back with other times.
    fn restore(&self, file: &str);
    /// Makes the storage full, or roomy again.
    fn fill(&self, full: bool) -> bool;
}

/// A store under test.
#[derive(Debug)]
pub(in crate::image) struct Bench {
    pub store: Arc<dyn ImageStore>,
    pub vandal: Option<Box<dyn Vandal>>,
    pub(in crate::image) pool: BufferPool,
    /// The store is in it.
    _folder: Option<tempfile::TempDir>,
}

/// Stands for nothing below.
struct Nothing;

#[async_trait]
impl PageSource for Nothing {
    type Error = ImageError;
    async fn page(&self, _level: u8, _index: u64) -> Result<Page, ImageError> {
        Ok(Page::default())
    }
}

#[async_trait]
impl PageSink for Nothing {
    type Error = ImageError;
    async fn put(&self, _level: u8, _index: u64, _page: &Page) -> Result<(), ImageError> {
        Ok(())
    }
}

pub(in crate::image) fn image() -> ImageName {
    "volume-1".parse().unwrap()
}

pub(in crate::image) fn id(number: usize) -> SnapshotId {
    format!("s{number}").parse().unwrap()
}

pub(in crate::image) fn request(number: usize, base: Option<usize>, size: usize) -> StageRequest {
    StageRequest {
        transfer: format!("t{number}").parse().unwrap(),
        volume: "v1".parse().unwrap(),
        snapshot: id(number),
        image: image(),
        name: format!("snapshot-{number}").parse().unwrap(),
        size: size as u64,
        base: base.map(id),
        upload: None,
    }
}

/// Bytes of which some grains are zero and the others are random.
pub(in crate::image) fn content(dice: &mut Dice, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    for grain in bytes.chunks_mut(GRAIN_BYTES) {
        if dice.chance(8) {
            scribble(dice, grain);
        }
    }
    bytes
}

pub(super) fn scribble(dice: &mut Dice, bytes: &mut [u8]) {
    for word in bytes.chunks_mut(8) {
        word.copy_from_slice(&dice.next().to_le_bytes()[..word.len()]);
    }
}

/// A later state of `bytes`: some extents written, some zeroed, the length perhaps another.
pub(in crate::image) fn changed(dice: &mut Dice, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(size, 0);
    for _ in 0..dice.below(6) {
        let start = dice.below(size as u64) as usize;
        let length = (1 + dice.below(30_000) as usize).min(size - start);
        if dice.chance(3) {
            bytes[start..start + length].fill(0);
        } else {
            scribble(dice, &mut bytes[start..start + length]);
        }
    }
    bytes
}

/// One block of an image, filled up with zeroes.
pub(super) fn block_of(bytes: &[u8], block: usize) -> Vec<u8> {
    let start = (block * MIB).min(bytes.len());
    let mut piece = bytes[start..((block + 1) * MIB).min(bytes.len())].to_vec();
    piece.resize(MIB, 0);
    piece
}

fn leaves(block: &[u8]) -> Page {
    let mut page = Page::default();
    for (hash, leaf) in page.0.iter_mut().zip(block.chunks(LEAF_BYTES)) {
        *hash = hash_leaf(leaf);
    }
    page
}

fn changed_grains(old: &[u8], new: &[u8]) -> GrainMap {
    (0..GRAINS_IN_BLOCK).fold(GrainMap::EMPTY, |map, grain| {
        let range = grain * GRAIN_BYTES..(grain + 1) * GRAIN_BYTES;
        if old[range.clone()] == new[range.clone()] { map } else { map.union(GrainMap::inside(range.start, range.end)) }
    })
}

/// The root of `bytes`, computed from nothing.
pub(in crate::image) async fn root_of(bytes: &[u8]) -> Root {
    let mut builder = TreeBuilder::new(bytes.len() as u64);
    for block in 0..bytes.len().div_ceil(MIB) {
        let piece = block_of(bytes, block);
        if !is_zero(&piece) {
            builder.push(block as u64, leaves(&piece), &Nothing, &Nothing).await.unwrap();
        }
    }
    builder.finish(&Nothing, &Nothing).await.unwrap()
}

impl Bench {
    pub(in crate::image) fn new(store: Arc<dyn ImageStore>, vandal: Option<Box<dyn Vandal>>) -> Self {
        Self { store, vandal, pool: BufferPool::new(8), _folder: None }
    }

    /// Keeps the folder of the store for as long as the bench.
    pub(in crate::image) fn holding(self, folder: tempfile::TempDir) -> Self {
        Self { _folder: Some(folder), ..self }
    }

    /// Writes the difference of `old` and `new`, and gives the root.
    pub(in crate::image) async fn ingest(
        &self,
        staged: &Arc<dyn StagedImage>,
        old: &[u8],
        new: &[u8],
    ) -> Result<Root, ImageError> {
        let base = staged.base();
        let base: &dyn PageSource<Error = ImageError> = match &base {
            Some(base) => base.as_ref(),
            None => &Nothing,
        };
        let mut builder = TreeBuilder::new(new.len() as u64);
        let end = if new.len() < old.len() { new.len() / MIB + 1 } else { new.len().div_ceil(MIB) };
        for block in 0..end {
            let (before, after) = (block_of(old, block), block_of(new, block));
            let present = changed_grains(&before, &after);
            let is_end = new.len() < old.len() && block == new.len() / MIB;
            if present.is_empty() && !is_end {
                continue;
            }
            self.write_block(staged, block as u64, present, &after).await?;
            builder.push(block as u64, leaves(&after), base, staged.as_ref()).await?;
        }
        builder.finish(base, staged.as_ref()).await
    }

    async fn write_block(
        &self,
        staged: &Arc<dyn StagedImage>,
        block: u64,
        present: GrainMap,
        bytes: &[u8],
    ) -> Result<(), ImageError> {
        if present.runs().all(|run| is_zero(&bytes[run])) {
            return staged.zero(block, present).await;
        }
        let mut buffer = self.pool.take().await;
        // What is not present is rubbish, as in a buffer that was used before.
        buffer.fill(0xa5);
        for run in present.runs() {
            buffer[run.clone()].copy_from_slice(&bytes[run]);
        }
        staged.write(block, present, buffer).await
    }

    /// Stages, fills and commits.
    pub(in crate::image) async fn put_as(
        &self,
        request: StageRequest,
        old: &[u8],
        new: &[u8],
    ) -> Result<Committed, ImageError> {
        let staged = self.store.stage(request).await?;
        let root = self.ingest(&staged, old, new).await?;
        let durable = staged.flush().await?;
        staged.commit(durable, sealed(root)).await
    }

    pub(in crate::image) async fn put(
        &self,
        number: usize,
        base: Option<(usize, &[u8])>,
        new: &[u8],
    ) -> Result<Committed, ImageError> {
        let old = base.map(|(_, bytes)| bytes).unwrap_or_default();
        self.put_as(request(number, base.map(|(base, _)| base), new.len()), old, new).await
    }

    /// Reads a snapshot back, bytes and tree, and compares both with `expected`.
    pub(in crate::image) async fn compare(&self, number: usize, expected: &[u8]) -> Result<(), String> {
        let text = |error: ImageError| format!("snapshot {number}: {error}");
        let snapshot = self.store.open(&image(), &id(number)).await.map_err(text)?;
        self.compare_open(&snapshot, expected).await.map_err(|error| format!("snapshot {number}: {error}"))
    }

    pub(in crate::image) async fn compare_open(
        &self,
        snapshot: &Arc<dyn SnapshotImage>,
        expected: &[u8],
    ) -> Result<(), String> {
        let text = |error: ImageError| error.to_string();
        if snapshot.record().size != expected.len() as u64 || snapshot.record().root != root_of(expected).await {
            return Err("size or root differ".to_owned());
        }
        for block in 0..expected.len().div_ceil(MIB) + 1 {
            let wanted = block_of(expected, block);
            let mut buffer = self.pool.take().await;
            buffer.fill(0x5a);
            snapshot.read(block as u64, GrainMap::FULL, &mut buffer).await.map_err(text)?;
            if buffer[..] != wanted {
                let place = (0..MIB).find(|place| buffer[*place] != wanted[*place]);
                return Err(format!("byte {place:?} of block {block} differs"));
            }
            if snapshot.page(1, block as u64).await.map_err(text)? != leaves(&wanted) {
                return Err(format!("the page of block {block} differs"));
            }
            self.compare_path(snapshot, block as u64).await?;
        }
        let top = snapshot.page(HEIGHT, 0).await.map_err(text)?.hash();
        if Root::new(expected.len() as u64, top) == snapshot.record().root {
            Ok(())
        } else {
            Err("top page differs".into())
        }
    }

    /// The pages from a block up to the top must hold each other's hashes.
    async fn compare_path(&self, snapshot: &Arc<dyn SnapshotImage>, block: u64) -> Result<(), String> {
        let mut index = block;
        for level in 1..HEIGHT {
            let page = snapshot.page(level, index).await.map_err(|error| error.to_string())?;
            let parent = snapshot.page(level + 1, index / 16).await.map_err(|error| error.to_string())?;
            if parent.0[(index % 16) as usize] != page.hash() {
                return Err(format!("page {index} of level {level} is not the one its parent names"));
            }
            index /= 16;
        }
        Ok(())
    }

    pub(in crate::image) async fn check(&self, number: usize, expected: &[u8]) {
        self.compare(number, expected).await.unwrap();
    }

    pub(in crate::image) async fn names(&self) -> Vec<String> {
        let chain = self.store.chain(&image()).await.unwrap();
        chain.snapshots.iter().map(|record| record.snapshot.to_string()).collect()
    }
}

pub(in crate::image) fn sealed(root: Root) -> Sealed {
    let identity = Identity {
        source_volume: Some("origin".to_owned()),
        source_snapshot: None,
        source_mark: None,
        marked_by: None,
    };
    let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    Sealed { root, identity, created, issued: SystemTime::now() }
}
