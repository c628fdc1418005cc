//! The model of a transfer that outlives its requests: what was marked is a copy, and nothing else counts.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Content, Image, MemoryStore, Snapshot};
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GRAIN_BYTES, GrainMap, NoPages, Page, PageSink, PageSource, Root, TreeBuilder};
use crate::id::{ImageName, SnapshotId, TransferId};
use crate::image::presence::below;
use crate::image::{
    Committed, Durable, ImageError, Ranges, Sealed, SnapshotImage, SnapshotRecord, StageRequest, StagedImage,
    UploadImage, UploadRecord,
};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What outlives an owner.
#[derive(Debug)]
pub(super) struct Unfinished {
    request: StageRequest,
    generation: u64,
    durable: Ranges,
    work: Work,
    touched: SystemTime,
    committed: Option<SnapshotRecord>,
}

/// What an owner has, marked or not.
#[derive(Debug, Clone, Default)]
struct Work {
    content: Content,
    stored: u64,
    /// Grains and page of each block that was written.
    blocks: BTreeMap<u64, (GrainMap, Page)>,
}

impl Unfinished {
    pub(super) fn record(&self) -> UploadRecord {
        let whole = |record: &SnapshotRecord| Ranges::try_from(vec![(0, record.size)]).unwrap_or_default();
        UploadRecord {
            request: self.request.clone(),
            generation: self.generation,
            durable: self.committed.as_ref().map_or_else(|| self.durable.clone(), whole),
            touched: self.touched,
            committed: self.committed.clone(),
        }
    }

    pub(super) fn is_abandoned(&self, before: SystemTime) -> bool {
        self.committed.is_none() && self.touched < before
    }

    /// Whether this snapshot was committed from it.
    pub(super) fn came_to(&self, snapshot: &SnapshotId) -> bool {
        self.committed.as_ref().is_some_and(|record| record.snapshot == *snapshot)
    }
}

/// An owner of an unfinished transfer.
#[derive(Debug)]
pub(super) struct MemoryUpload {
    store: MemoryStore,
    request: StageRequest,
    generation: u64,
    base: Option<Arc<Snapshot>>,
    durable: Ranges,
    work: Mutex<Work>,
}

impl MemoryUpload {
    pub(super) fn create(store: MemoryStore, image: &mut Image, request: StageRequest) -> Result<Self, ImageError> {
        let base = image.base_for(&request)?;
        let content = base.as_ref().map(|base| base.content.resized(request.size)).unwrap_or_default();
        let work = Work { content, ..Work::default() };
        image.writer = Some(request.transfer.clone());
        let unfinished = Unfinished {
            request: request.clone(),
            generation: 1,
            durable: Ranges::default(),
            work: work.clone(),
            touched: SystemTime::now(),
            committed: None,
        };
        image.uploads.insert(request.transfer.clone(), unfinished);
        Ok(Self { store, request, generation: 1, base, durable: Ranges::default(), work: Mutex::new(work) })
    }

    pub(super) fn resume(store: MemoryStore, image: &ImageName, transfer: &TransferId) -> Result<Self, ImageError> {
        let missing = || ImageError::NoUpload { image: image.clone(), transfer: transfer.clone() };
        let mut images = store.images();
        let there = images.get_mut(image).ok_or_else(missing)?;
        if there.writer.as_ref().is_some_and(|writer| writer != transfer) {
            return Err(ImageError::Busy { image: image.clone() });
        }
        let unfinished = there.uploads.get_mut(transfer).filter(|unfinished| unfinished.committed.is_none());
        let unfinished = unfinished.ok_or_else(missing)?;
        unfinished.generation += 1;
        unfinished.touched = SystemTime::now();
        let (request, generation) = (unfinished.request.clone(), unfinished.generation);
        let (durable, work) = (unfinished.durable.clone(), Mutex::new(unfinished.work.clone()));
        let base = there.base_for(&request)?;
        there.writer = Some(transfer.clone());
        drop(images);
        Ok(Self { store, request, generation, base, durable, work })
    }

    /// What the store knows of it; an error where another one owns it.
    fn owned<T>(&self, work: impl FnOnce(&mut Image, &mut Work) -> Result<T, ImageError>) -> Result<T, ImageError> {
        let mut images = self.store.images();
        let image = images.get_mut(&self.request.image).ok_or(ImageError::Fenced)?;
        let unfinished = image.uploads.get(&self.request.transfer);
        if unfinished.is_none_or(|there| there.generation != self.generation || there.committed.is_some()) {
            return Err(ImageError::Fenced);
        }
        work(image, &mut self.work.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&self) {
        let ended = self.owned(|image, _| {
            image.writer = None;
            Ok(())
        });
        // Another owner has the image.
        drop(ended);
    }

    fn write_grains(&self, block: u64, present: GrainMap, from: Option<&[u8]>) -> Result<(), ImageError> {
        let inside = present.intersection(below(block, self.request.size));
        self.owned(|_, work| {
            work.stored += work.content.store(self.request.size, block, inside, from);
            work.blocks.entry(block).or_default().0 = inside;
            Ok(())
        })
    }

    /// Puts the base's bytes back into a part of one block.
    fn restore(&self, work: &mut Work, block: u64, grains: GrainMap) {
        let base = self.base.as_ref().and_then(|base| base.content.blocks.get(&block));
        let none = vec![0; BLOCK_BYTES];
        let from = base.map_or(none.as_slice(), |bytes| bytes.as_slice());
        work.content.store(self.request.size, block, grains, Some(from));
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        self.end();
    }
}

/// The pages of the new snapshot, while its tree is built.
#[derive(Debug, Default)]
struct Tree(Mutex<BTreeMap<(u8, u64), Page>>);

#[async_trait]
impl PageSink for Tree {
    type Error = ImageError;
    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((level, index), *page);
        Ok(())
    }
}

#[async_trait]
impl PageSink for MemoryUpload {
    type Error = ImageError;
    async fn put(&self, _level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        self.owned(|_, work| {
            work.blocks.entry(index).or_default().1 = *page;
            Ok(())
        })
    }
}

#[async_trait]
impl StagedImage for MemoryUpload {
    fn size(&self) -> u64 {
        self.request.size
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        let base = Arc::clone(self.base.as_ref()?);
        Some(base)
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        self.write_grains(block, present, Some(&buffer))
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        self.write_grains(block, present, None)
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        self.owned(|_, _| Ok(Durable::new()))
    }

    async fn commit(&self, _durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        self.owned(|image, work| {
            image.writer = None;
            image.refuse_deleted(&self.request, &sealed)?;
            if let Some(there) = image.existing(&self.request, sealed.root)? {
                image.uploads.remove(&self.request.transfer);
                return Ok(Committed::Already(there));
            }
            let record = image.add(&self.request, sealed, std::mem::take(&mut work.content), work.stored);
            if let Some(unfinished) = image.uploads.get_mut(&self.request.transfer) {
                unfinished.committed = Some(record.clone());
                unfinished.work = Work::default();
            }
            Ok(Committed::New(record))
        })
    }

    async fn abort(&self) {
        let given_up = self.owned(|image, _| {
            image.writer = None;
            image.uploads.remove(&self.request.transfer);
            Ok(())
        });
        // Another owner has it.
        drop(given_up);
    }

    fn upload(self: Arc<Self>) -> Option<Arc<dyn UploadImage>> {
        Some(self)
    }
}

#[async_trait]
impl UploadImage for MemoryUpload {
    fn request(&self) -> &StageRequest {
        &self.request
    }

    fn durable(&self) -> Ranges {
        self.durable.clone()
    }

    async fn clear(&self, range: Range<u64>) -> Result<(), ImageError> {
        self.owned(|_, work| {
            let (first, end) = (range.start.div_ceil(BLOCK), range.end.div_ceil(BLOCK));
            let whole: Vec<u64> = work.content.blocks.keys().copied().filter(|at| (first..end).contains(at)).collect();
            let based = self.base.iter().flat_map(|base| base.content.blocks.keys().copied());
            let based: Vec<u64> = based.filter(|at| (first..end).contains(at)).collect();
            for block in whole.into_iter().chain(based) {
                self.restore(work, block, GrainMap::FULL);
            }
            work.blocks.retain(|at, _| !(first..end).contains(at));
            let inside = usize::try_from(range.start % BLOCK).unwrap_or_default();
            if inside > 0 {
                let kept = GrainMap::touched(0, inside.next_multiple_of(GRAIN_BYTES));
                self.restore(work, range.start / BLOCK, GrainMap::FULL.without(kept));
            }
            Ok(())
        })
    }

    async fn reopen(
        &self,
        block: u64,
        end: u64,
        mut buffer: BlockBuffer,
    ) -> Result<(GrainMap, BlockBuffer), ImageError> {
        self.owned(|_, work| {
            let written = work.blocks.get(&block).map_or(GrainMap::EMPTY, |(present, _)| *present);
            let written = written.intersection(below(block, end));
            for run in written.runs() {
                let place = buffer.get_mut(run.clone()).unwrap_or_default();
                match work.content.blocks.get(&block).and_then(|bytes| bytes.get(run)) {
                    Some(from) => place.copy_from_slice(from),
                    None => place.fill(0),
                }
            }
            Ok((written, buffer))
        })
    }

    async fn checkpoint(&self, durable: Ranges) -> Result<(), ImageError> {
        self.owned(|image, work| {
            let unfinished = image.uploads.get_mut(&self.request.transfer).ok_or(ImageError::Fenced)?;
            unfinished.durable = durable;
            unfinished.work = work.clone();
            unfinished.touched = SystemTime::now();
            Ok(())
        })
    }

    async fn check(&self) -> Result<(), ImageError> {
        self.owned(|_, _| Ok(()))
    }

    async fn close(&self) -> Result<(Root, Durable), ImageError> {
        let blocks = self.owned(|_, work| Ok(work.blocks.clone()))?;
        let below: &dyn PageSource<Error = ImageError> = match &self.base {
            Some(base) => base.as_ref(),
            None => const { &NoPages::new() },
        };
        let (mut tree, pages) = (TreeBuilder::new(self.request.size), Tree::default());
        for (block, (_, page)) in blocks {
            tree.push(block, page, below, &pages).await?;
        }
        let root = tree.finish(below, &pages).await?;
        let pages = std::mem::take(&mut *pages.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.owned(|_, work| {
            work.content.pages.extend(pages);
            Ok((root, Durable::new()))
        })
    }

    async fn suspend(&self) {
        self.end();
    }
}
