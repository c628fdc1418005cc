//! A snapshot on its way into the store.
//!
//! Data and sidecar grow in files that no record names, so nothing of them counts, whatever happens. Blocks are
//! written many at a time, each on a blocking thread; a flush waits for all of them, also for those whose caller has
//! been cancelled.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::RwLock;

use super::catalog::Catalog;
use super::collect::collect;
use super::disk::{DiskFile, Lock, SyncPoint};
use super::failed;
use super::layout::{DELTA, ImageDirectory, RAW, TREE, stem};
use super::overlay::Overlay;
use super::prove::prove;
use super::snapshot::FileSnapshot;
use super::store::Shared;
use super::upload::Owned;
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap, Page, PageSink};
use crate::image::blocking::blocking;
use crate::image::presence::{below, zero_grains};
use crate::image::sidecar::{Key, Leafed, SidecarWriter};
use crate::image::{Committed, Durable, ImageError, Sealed, SnapshotImage, StageRequest, StagedImage};

/// See the module's text.
#[derive(Debug)]
pub(super) struct FileStaged {
    pub(super) staging: Arc<Staging>,
    pub(super) base: Option<FileSnapshot>,
}

/// Dropped when the last write has ended; clears what was not committed.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) directory: ImageDirectory,
    pub(super) request: StageRequest,
    pub(super) base: Option<Overlay>,
    pub(super) data_name: String,
    pub(super) tree_name: String,
    pub(super) data: Arc<dyn DiskFile>,
    pub(super) tree: Arc<dyn DiskFile>,
    /// What makes this a transfer that outlives its owner.
    pub(super) owned: Option<Owned>,
    /// Its data is not wanted by anybody any more.
    pub(super) is_discarded: AtomicBool,
    /// Shared by the writes that run, held alone by the flush.
    pub(super) writes: Arc<RwLock<()>>,
    /// Grains of the blocks whose page has not been put yet: as many as the transfer has blocks at work.
    pending: Mutex<HashMap<u64, GrainMap>>,
    sidecar: Arc<tokio::sync::Mutex<SidecarWriter>>,
    pub(super) stored: AtomicU64,
    /// A write failed: what is staged is not what was sent, even if that write's caller no longer listens.
    is_broken: AtomicBool,
    phase: Mutex<Phase>,
}

/// `Open` → `Flushed` → `Ended`, or straight to `Ended` by an abort.
#[derive(Debug)]
pub(super) enum Phase {
    Open(Locks),
    Flushed(Locks),
    Ended,
}

/// What a writer holds. Given back in this order.
#[derive(Debug)]
pub(super) struct Locks {
    /// On the log of a transfer that outlives its owner: who holds this one holds the other.
    pub(super) _log: Option<Lock>,
    pub(super) image: Lock,
}

impl FileStaged {
    /// Takes the image, clears what is left in it, proves the base, and makes the files.
    pub(super) fn open(shared: &Arc<Shared>, request: StageRequest) -> Result<Self, ImageError> {
        let directory = shared.make_image(&request.image)?;
        let lock = directory.lock()?;
        let (catalog, records) = collect(&directory, &shared.readers)?;
        is_owned(&catalog, &request)?;
        let base = find_base(shared, &directory, &catalog, records, &request)?;
        if base.is_none() {
            // Whoever made the image's directory may have died before its name was durable.
            shared.sync_images()?;
        }
        let (overlay, locks) = (base.as_ref().map(FileSnapshot::overlay), Locks { _log: None, image: lock });
        let data = Staging::create_data(&directory, &request)?;
        let staging = Staging::create(directory, request, overlay, data, None, locks)?;
        Ok(Self { staging: Arc::new(staging), base })
    }

    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Staging) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let staging = Arc::clone(&self.staging);
        let result = blocking(move || work(&staging)).await;
        if let Err(ImageError::Full { .. }) = result {
            self.abort().await;
        }
        result
    }
}

pub(super) fn is_owned(catalog: &Catalog, request: &StageRequest) -> Result<(), ImageError> {
    match catalog.owner() {
        Some(owner) if *owner != request.volume => {
            Err(ImageError::NotOwned { image: request.image.clone(), owner: owner.clone() })
        }
        _ => Ok(()),
    }
}

pub(super) fn find_base(
    shared: &Arc<Shared>,
    directory: &ImageDirectory,
    catalog: &Catalog,
    records: Lock,
    request: &StageRequest,
) -> Result<Option<FileSnapshot>, ImageError> {
    let Some(base) = &request.base else { return Ok(None) };
    let missing = || ImageError::BaseMissing { image: request.image.clone(), base: base.clone() };
    let entry = catalog.find(base).ok_or_else(missing)?;
    let changed = |error| match error {
        ImageError::Damaged { offset, detail, .. } => ImageError::BaseChanged {
            image: request.image.clone(),
            base: base.clone(),
            detail: format!("damaged at byte {offset}: {detail}"),
        },
        other => other,
    };
    let reading = shared.readers.enter(&request.image, base);
    // The lock on the image keeps the data as it is; others may read records while the base is proved.
    drop(records);
    let overlay = Overlay::load(directory, catalog, entry).map_err(changed)?;
    let overlay = prove(overlay, catalog).map_err(changed)?;
    Ok(Some(FileSnapshot::new(overlay, entry.stored.clone(), reading)))
}

impl Staging {
    /// Makes the file of the data.
    pub(super) fn create_data(
        directory: &ImageDirectory,
        request: &StageRequest,
    ) -> Result<(String, Arc<dyn DiskFile>), ImageError> {
        let suffix = if request.base.is_some() { DELTA } else { RAW };
        directory.create(&stem(&request.name, &request.transfer), suffix)
    }

    pub(super) fn create(
        directory: ImageDirectory,
        request: StageRequest,
        base: Option<Overlay>,
        (data_name, data): (String, Arc<dyn DiskFile>),
        owned: Option<Owned>,
        locks: Locks,
    ) -> Result<Self, ImageError> {
        let (tree_name, tree) = directory.create(&stem(&request.name, &request.transfer), TREE)?;
        let staging = Self {
            directory,
            base,
            data_name,
            tree_name,
            data,
            tree,
            owned,
            is_discarded: AtomicBool::new(false),
            writes: Arc::default(),
            pending: Mutex::default(),
            sidecar: Arc::default(),
            stored: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            phase: Mutex::new(Phase::Open(locks)),
            request,
        };
        staging.data.set_length(staging.request.size).map_err(|error| staging.too_large(error))?;
        Ok(staging)
    }

    fn too_large(&self, error: io::Error) -> ImageError {
        match error.kind() {
            io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => ImageError::Size {
                size: self.request.size,
                detail: format!("the file system of the store has no files as large ({error})"),
            },
            _ => failed(format!("size {}", self.data_name))(error),
        }
    }

    pub(super) fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<u64, GrainMap>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails unless the transfer may still write.
    pub(super) fn check_open(&self) -> Result<(), ImageError> {
        match *self.phase() {
            Phase::Open(_) if !self.is_broken.load(Ordering::Acquire) => Ok(()),
            _ => Err(closed()),
        }
    }

    /// After a failed write or sync nothing can be said of what is in the files.
    pub(super) fn break_off(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    /// Notes the grains of a block that are given, as far as they are inside the image.
    pub(super) fn announce(&self, block: u64, present: GrainMap) -> Result<GrainMap, ImageError> {
        self.check_open()?;
        let inside = present.intersection(below(block, self.request.size));
        self.pending().insert(block, inside);
        Ok(inside)
    }

    pub(super) fn write(&self, block: u64, present: GrainMap, bytes: &[u8]) -> Result<(), ImageError> {
        let data = present.without(zero_grains(bytes, present));
        for run in data.runs() {
            let offset = block * BLOCK_BYTES as u64 + run.start as u64;
            let piece = bytes.get(run).unwrap_or_default();
            if let Err(error) = self.data.write_at(piece, offset) {
                self.is_broken.store(true, Ordering::Release);
                return Err(failed(format!("write {}", self.data_name))(error));
            }
            self.stored.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn spill(&self, sidecar: &mut SidecarWriter) -> Result<(), ImageError> {
        sidecar.spill(self.tree.as_ref()).map_err(|error| {
            self.is_broken.store(true, Ordering::Release);
            failed(format!("write {}", self.tree_name))(error)
        })
    }

    /// The caller holds all writes off.
    fn flush(&self, sidecar: &mut SidecarWriter) -> Result<Durable, ImageError> {
        let mut phase = self.phase();
        match &*phase {
            Phase::Flushed(_) => return Ok(Durable::new()),
            Phase::Open(_) if !self.is_broken.load(Ordering::Acquire) => {}
            _ => return Err(closed()),
        }
        // After a sync has failed, the next one may succeed without the lost bytes: there is no second try.
        self.is_broken.store(true, Ordering::Release);
        let data = || failed(format!("flush {}", self.data_name));
        let tree = || failed(format!("flush {}", self.tree_name));
        sidecar.finish(self.tree.as_ref()).map_err(tree())?;
        // The last grain is written whole.
        self.data.set_length(self.request.size).map_err(data())?;
        self.data.sync(SyncPoint::Data).map_err(data())?;
        self.tree.sync(SyncPoint::Tree).map_err(tree())?;
        self.directory.sync_names(SyncPoint::StagedNames)?;
        self.is_broken.store(false, Ordering::Release);
        if let Phase::Open(locks) = std::mem::replace(&mut *phase, Phase::Ended) {
            *phase = Phase::Flushed(locks);
        }
        Ok(Durable::new())
    }

    pub(super) fn files(&self) -> [(&str, &dyn DiskFile); 2] {
        [(&self.data_name, self.data.as_ref()), (&self.tree_name, self.tree.as_ref())]
    }

    pub(super) fn is_ours(&self, name: &str, file: &dyn DiskFile) -> bool {
        let named = self.directory.disk.stamp(&self.directory.file(name));
        matches!((named, file.stamp()), (Ok(named), Ok(held)) if named.inode == held.inode)
    }

    /// Gives the image back, and removes what was staged unless a record may name it.
    pub(super) fn end(&self, stays_open: bool) {
        let mut phase = self.phase();
        if matches!(*phase, Phase::Ended) {
            return;
        }
        let is_kept = self.owned.is_some() && !self.is_discarded.load(Ordering::Acquire);
        let unwanted = self.files().into_iter().skip(usize::from(is_kept));
        for (name, _) in unwanted.filter(|(name, file)| self.is_ours(name, *file)) {
            if let Err(error) = self.directory.remove(name) {
                tracing::warn!(image = %self.request.image, name, %error, "leave a file to the next transfer");
            }
        }
        // Where the file stays open, its space is wanted now; else the close gives it back.
        if stays_open && !is_kept {
            self.data.set_length(0).ok();
        }
        *phase = Phase::Ended;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.end(false);
        // The last one to close a large file waits until its space is free: not on the runtime's own threads.
        let data = Arc::clone(&self.data);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(data));
        }
    }
}

pub(super) fn closed() -> ImageError {
    failed("write to a snapshot that was flushed, given up, or failed before")(io::ErrorKind::InvalidInput.into())
}

#[async_trait]
impl PageSink for FileStaged {
    type Error = ImageError;

    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        self.staging.check_open()?;
        let mut sidecar = Arc::clone(&self.staging.sidecar).lock_owned().await;
        let noted = if level == 1 { self.staging.pending().remove(&index) } else { None };
        let leafed = Leafed { page: *page, present: noted.unwrap_or_default() };
        if !sidecar.add(Key::new(level, index), &leafed) {
            return Ok(());
        }
        self.with(move |staging| staging.spill(&mut sidecar)).await
    }
}

#[async_trait]
impl StagedImage for FileStaged {
    fn size(&self) -> u64 {
        self.staging.request.size
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        let base = self.base.clone()?;
        Some(Arc::new(base))
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        let running = Arc::clone(&self.staging.writes).read_owned().await;
        let inside = self.staging.announce(block, present)?;
        let work = move |staging: &Staging| {
            let _running = running;
            staging.write(block, inside, &buffer)
        };
        self.with(work).await
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        self.staging.announce(block, present).map(|_| ())
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        let alone = Arc::clone(&self.staging.writes).write_owned().await;
        let mut sidecar = Arc::clone(&self.staging.sidecar).lock_owned().await;
        let work = move |staging: &Staging| {
            let _alone = alone;
            staging.flush(&mut sidecar)
        };
        self.with(work).await
    }

    async fn commit(&self, _durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        let committed = self.with(move |staging| staging.commit(&sealed)).await?;
        if matches!(committed, Committed::Already(_)) {
            self.abort().await;
        }
        Ok(committed)
    }

    async fn abort(&self) {
        let staging = Arc::clone(&self.staging);
        let ended = blocking(move || {
            staging.end(true);
            Ok(())
        });
        if let Err(error) = ended.await {
            tracing::warn!(%error, "leave what was staged to the next transfer");
        }
    }
}
