//! The model of an image store: in memory, and simple enough to be right by reading it.
//!
//! Each snapshot has a map of all its blocks and pages of its own (a block that did not change is shared by
//! reference). No layers, no merging: what the file store does with those must come out the same as this.

mod upload;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use self::upload::{MemoryUpload, Unfinished};
use super::{
    Chain, Committed, Durable, ImageError, ImageStore, Sealed, SnapshotImage, SnapshotRecord, StageRequest,
    StagedImage, UploadImage, UploadRecord,
};
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap, HEIGHT, LEAF_BYTES, Page, PageSink, PageSource, Root, is_zero};
use crate::id::{ImageName, SnapshotId, TransferId};

/// Images in memory; they end with the process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    images: Arc<Mutex<HashMap<ImageName, Image>>>,
}

#[derive(Debug, Default)]
struct Image {
    /// In the order of commits.
    snapshots: Vec<Arc<Snapshot>>,
    deleted: HashMap<SnapshotId, SystemTime>,
    writer: Option<TransferId>,
    uploads: HashMap<TransferId, Unfinished>,
}

#[derive(Debug)]
struct Snapshot {
    record: SnapshotRecord,
    content: Content,
}

/// Blocks that are not all zero, and pages.
#[derive(Debug, Clone, Default)]
struct Content {
    blocks: HashMap<u64, Arc<Vec<u8>>>,
    pages: BTreeMap<(u8, u64), Page>,
}

impl MemoryStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn images(&self) -> MutexGuard<'_, HashMap<ImageName, Image>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self, image: &ImageName, snapshot: &SnapshotId) -> Option<Arc<Snapshot>> {
        self.images().get(image)?.find(snapshot).cloned()
    }
}

impl Image {
    /// The base of a new snapshot, where the volume is the image's.
    fn base_for(&self, request: &StageRequest) -> Result<Option<Arc<Snapshot>>, ImageError> {
        if let Some(other) = self.snapshots.iter().find(|there| there.record.volume != request.volume) {
            return Err(ImageError::NotOwned { image: request.image.clone(), owner: other.record.volume.clone() });
        }
        let Some(base) = &request.base else { return Ok(None) };
        let missing = || ImageError::BaseMissing { image: request.image.clone(), base: base.clone() };
        self.find(base).cloned().map(Some).ok_or_else(missing)
    }

    /// The snapshot that has the id or the name already; other content is an error.
    fn existing(&self, request: &StageRequest, root: Root) -> Result<Option<SnapshotRecord>, ImageError> {
        let taken = |there: &SnapshotRecord| there.snapshot == request.snapshot || there.name == request.name;
        match self.snapshots.iter().map(|there| &there.record).find(|there| taken(there)) {
            Some(there) if there.root != root || there.snapshot != request.snapshot => {
                Err(ImageError::Exists { snapshot: there.snapshot.clone(), root: there.root })
            }
            there => Ok(there.cloned()),
        }
    }

    /// A permission cannot make again what was deleted since it was issued.
    fn refuse_deleted(&self, request: &StageRequest, sealed: &Sealed) -> Result<(), ImageError> {
        match self.deleted.get(&request.snapshot) {
            Some(deleted) if *deleted >= sealed.issued => {
                Err(ImageError::Deleted { snapshot: request.snapshot.clone() })
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, request: &StageRequest, sealed: Sealed, content: Content, stored: u64) -> SnapshotRecord {
        let record = request.record(&sealed, stored);
        self.snapshots.push(Arc::new(Snapshot { record: record.clone(), content }));
        record
    }

    fn find(&self, snapshot: &SnapshotId) -> Option<&Arc<Snapshot>> {
        self.snapshots.iter().find(|there| there.record.snapshot == *snapshot)
    }
}

impl Content {
    /// The content of a base as an image of `size` bytes starts from it.
    fn resized(&self, size: u64) -> Self {
        let block = BLOCK_BYTES as u64;
        let mut content = self.clone();
        content.blocks.retain(|number, _| number * block < size);
        if let Some(last) = content.blocks.get_mut(&(size / block)) {
            let inside = usize::try_from(size % block).unwrap_or_default();
            Arc::make_mut(last).get_mut(inside..).unwrap_or_default().fill(0);
        }
        let start = |level: u8, index: u64| u128::from(index) * ((LEAF_BYTES as u128) << (4 * level));
        content.pages.retain(|(level, index), _| *level == HEIGHT || start(*level, *index) < u128::from(size));
        content
    }

    /// Puts grains into a block of an image of `size` bytes; `from` is `None` for zeroes. Gives the bytes that are not.
    fn store(&mut self, size: u64, block: u64, present: GrainMap, from: Option<&[u8]>) -> u64 {
        let start = block.saturating_mul(BLOCK_BYTES as u64);
        let inside = usize::try_from(size.saturating_sub(start)).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        let bytes = Arc::make_mut(self.blocks.entry(block).or_insert_with(|| Arc::new(vec![0; BLOCK_BYTES])));
        let mut stored = 0;
        for run in present.runs() {
            let to = bytes.get_mut(run.clone()).unwrap_or_default();
            match from.and_then(|from| from.get(run)) {
                Some(from) => to.copy_from_slice(from),
                None => to.fill(0),
            }
            stored += if is_zero(to) { 0 } else { to.len() as u64 };
        }
        bytes.get_mut(inside..).unwrap_or_default().fill(0);
        if is_zero(bytes) {
            self.blocks.remove(&block);
        }
        stored
    }
}

#[async_trait]
impl ImageStore for MemoryStore {
    async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        let images = self.images();
        let snapshots = images.get(image).map(|image| image.snapshots.as_slice()).unwrap_or_default();
        Ok(Chain { snapshots: snapshots.iter().map(|there| there.record.clone()).collect(), damaged: Vec::new() })
    }

    async fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        Ok(self.snapshot(image, snapshot).is_some())
    }

    async fn stage(&self, request: StageRequest) -> Result<Arc<dyn StagedImage>, ImageError> {
        let mut images = self.images();
        let image = images.entry(request.image.clone()).or_default();
        if image.writer.is_some() {
            return Err(ImageError::Busy { image: request.image });
        }
        if request.upload.is_some() {
            return Ok(Arc::new(MemoryUpload::create(self.clone(), image, request)?));
        }
        let base = image.base_for(&request)?;
        image.writer = Some(request.transfer.clone());
        let content = base.as_ref().map(|base| base.content.resized(request.size)).unwrap_or_default();
        let content = Mutex::new(Some((content, 0)));
        Ok(Arc::new(Staged { store: self.clone(), request, base, content }))
    }

    fn is_resumable(&self) -> bool {
        true
    }

    async fn resume(&self, image: &ImageName, transfer: &TransferId) -> Result<Arc<dyn UploadImage>, ImageError> {
        Ok(Arc::new(MemoryUpload::resume(self.clone(), image, transfer)?))
    }

    async fn uploads(&self, image: &ImageName) -> Result<Vec<UploadRecord>, ImageError> {
        Ok(self
            .images()
            .get(image)
            .map(|image| image.uploads.values().map(Unfinished::record).collect())
            .unwrap_or_default())
    }

    async fn expire(&self, before: SystemTime) -> Result<u64, ImageError> {
        let mut expired = 0;
        for image in self.images().values_mut() {
            let abandoned =
                image.uploads.extract_if(|_, upload| upload.is_abandoned(before)).map(|(transfer, _)| transfer);
            for transfer in abandoned.collect::<Vec<_>>() {
                image.writer.take_if(|writer| *writer == transfer);
                expired += 1;
            }
        }
        Ok(expired)
    }

    async fn discard(&self, image: &ImageName, transfer: &TransferId) -> Result<(), ImageError> {
        if let Some(image) = self.images().get_mut(image) {
            image.uploads.remove(transfer);
            if image.writer.as_ref() == Some(transfer) {
                image.writer = None;
            }
        }
        Ok(())
    }

    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError> {
        match self.snapshot(image, snapshot) {
            Some(found) => Ok(found),
            None => Err(ImageError::NotFound { image: image.clone(), snapshot: snapshot.clone() }),
        }
    }

    async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        let missing = || ImageError::NotFound { image: image.clone(), snapshot: snapshot.clone() };
        let mut images = self.images();
        let there = images.get_mut(image).ok_or_else(missing)?;
        there.find(snapshot).ok_or_else(missing)?;
        there.snapshots.retain(|other| other.record.snapshot != *snapshot);
        there.uploads.retain(|_, upload| !upload.came_to(snapshot));
        there.deleted.insert(snapshot.clone(), SystemTime::now());
        Ok(())
    }

    async fn deleted(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        Ok(self.images().get(image).and_then(|image| image.deleted.get(snapshot).copied()))
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        Ok(None)
    }
}

#[async_trait]
impl PageSource for Snapshot {
    type Error = ImageError;
    async fn page(&self, level: u8, index: u64) -> Result<Page, ImageError> {
        Ok(self.content.pages.get(&(level, index)).copied().unwrap_or_default())
    }
}

#[async_trait]
impl SnapshotImage for Snapshot {
    fn record(&self) -> &SnapshotRecord {
        &self.record
    }

    async fn read(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        for run in wanted.runs() {
            let to = buffer.get_mut(run.clone()).unwrap_or_default();
            match self.content.blocks.get(&block).and_then(|bytes| bytes.get(run)) {
                Some(from) => to.copy_from_slice(from),
                None => to.fill(0),
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Staged {
    store: MemoryStore,
    request: StageRequest,
    base: Option<Arc<Snapshot>>,
    /// With the bytes stored; `None` once it was committed or given up.
    content: Mutex<Option<(Content, u64)>>,
}

impl Staged {
    fn with<T>(&self, work: impl FnOnce(&mut Content, &mut u64) -> T) -> Result<T, ImageError> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let (content, stored) = content.as_mut().ok_or(ImageError::Fenced)?;
        Ok(work(content, stored))
    }

    fn store(&self, block: u64, present: GrainMap, from: Option<&[u8]>) -> Result<(), ImageError> {
        let size = self.request.size;
        self.with(|content, stored| *stored += content.store(size, block, present, from))
    }

    fn end(&self) {
        let ended = self.content.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(_), Some(image)) = (ended, self.store.images().get_mut(&self.request.image)) {
            image.writer = None;
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.end();
    }
}

#[async_trait]
impl PageSink for Staged {
    type Error = ImageError;
    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        self.with(|content, _| content.pages.insert((level, index), *page)).map(|_| ())
    }
}

#[async_trait]
impl StagedImage for Staged {
    fn size(&self) -> u64 {
        self.request.size
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        let base = Arc::clone(self.base.as_ref()?);
        Some(base)
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        self.store(block, present, Some(&buffer))
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        self.store(block, present, None)
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        self.with(|_, _| Durable::new())
    }

    async fn commit(&self, _durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        let committed = {
            let mut images = self.store.images();
            let image = images.entry(self.request.image.clone()).or_default();
            image.refuse_deleted(&self.request, &sealed)?;
            match image.existing(&self.request, sealed.root)? {
                Some(there) => Committed::Already(there),
                None => {
                    let (content, stored) = self.with(|content, stored| (std::mem::take(content), *stored))?;
                    Committed::New(image.add(&self.request, sealed, content, stored))
                }
            }
        };
        self.end();
        Ok(committed)
    }

    async fn abort(&self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::cases::{Bench, run_cases, run_upload_cases};

    run_cases!(Bench::new(Arc::new(MemoryStore::new()), None));
    run_upload_cases!(Bench::new(Arc::new(MemoryStore::new()), None));
}
