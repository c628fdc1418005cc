//! A snapshot on its way into the store, up to its commit.
//!
//! Data and sidecar grow in files that no record names, so nothing of them counts, whatever happens. The commit is
//! one rename that fails if the name is there. Blocks are written many at a time, each on a blocking thread; a flush
//! waits for all of them, also for those whose caller has been cancelled.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::RwLock;

use super::catalog::{Catalog, Entry};
use super::collect::collect;
use super::disk::{DiskFile, Lock, SyncPoint};
use super::layout::{DELTA, ImageDirectory, RAW, TREE, record_file, stem};
use super::merge::zero_grains;
use super::overlay::{Overlay, below};
use super::prove::{is_untouched, prove, stamped};
use super::record::Stored;
use super::sidecar::{Key, Leafed, SidecarWriter};
use super::snapshot::FileSnapshot;
use super::store::{Shared, milliseconds};
use super::{blocking, failed};
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap, Page, PageSink};
use crate::image::{Committed, Durable, ImageError, Sealed, SnapshotImage, SnapshotRecord, StageRequest, StagedImage};

/// See the module's text.
#[derive(Debug)]
pub(super) struct FileStaged {
    staging: Arc<Staging>,
    base: Option<FileSnapshot>,
}

/// Dropped when the last write has ended; clears what was not committed.
#[derive(Debug)]
struct Staging {
    directory: ImageDirectory,
    request: StageRequest,
    base: Option<Overlay>,
    data_name: String,
    tree_name: String,
    data: Arc<dyn DiskFile>,
    tree: Arc<dyn DiskFile>,
    /// Shared by the writes that run, held alone by the flush.
    writes: Arc<RwLock<()>>,
    /// Grains of the blocks whose page has not been put yet: as many as the transfer has blocks at work.
    pending: Mutex<HashMap<u64, GrainMap>>,
    sidecar: Arc<tokio::sync::Mutex<SidecarWriter>>,
    stored: AtomicU64,
    /// A write failed: what is staged is not what was sent, even if that write's caller no longer listens.
    is_broken: AtomicBool,
    phase: Mutex<Phase>,
}

/// `Open` → `Flushed` → `Ended`, or straight to `Ended` by an abort.
#[derive(Debug)]
enum Phase {
    Open(Lock),
    Flushed(Lock),
    Ended,
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
        let staging = Staging::create(directory, request, base.as_ref().map(FileSnapshot::overlay), lock)?;
        Ok(Self { staging: Arc::new(staging), base })
    }

    async fn with<T: Send + 'static>(
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

fn is_owned(catalog: &Catalog, request: &StageRequest) -> Result<(), ImageError> {
    match catalog.owner() {
        Some(owner) if *owner != request.volume => {
            Err(ImageError::NotOwned { image: request.image.clone(), owner: owner.clone() })
        }
        _ => Ok(()),
    }
}

fn find_base(
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
    drop(records);
    let overlay = Overlay::load(directory, catalog, entry).map_err(changed)?;
    let overlay = prove(overlay, catalog).map_err(changed)?;
    Ok(Some(FileSnapshot::new(overlay, entry.stored.clone(), reading)))
}

impl Staging {
    fn create(
        directory: ImageDirectory,
        request: StageRequest,
        base: Option<Overlay>,
        lock: Lock,
    ) -> Result<Self, ImageError> {
        let stem = stem(&request.name, &request.transfer);
        let (data_name, data) = directory.create(&stem, if base.is_some() { DELTA } else { RAW })?;
        let (tree_name, tree) = directory.create(&stem, TREE)?;
        let staging = Self {
            directory,
            base,
            data_name,
            tree_name,
            data,
            tree,
            writes: Arc::default(),
            pending: Mutex::default(),
            sidecar: Arc::default(),
            stored: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            phase: Mutex::new(Phase::Open(lock)),
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

    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<u64, GrainMap>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails unless the transfer may still write.
    fn check_open(&self) -> Result<(), ImageError> {
        match *self.phase() {
            Phase::Open(_) if !self.is_broken.load(Ordering::Acquire) => Ok(()),
            _ => Err(closed()),
        }
    }

    /// Notes the grains of a block that are given, as far as they are inside the image.
    fn announce(&self, block: u64, present: GrainMap) -> Result<GrainMap, ImageError> {
        self.check_open()?;
        let inside = present.intersection(below(block, self.request.size));
        self.pending().insert(block, inside);
        Ok(inside)
    }

    fn write(&self, block: u64, present: GrainMap, bytes: &[u8]) -> Result<(), ImageError> {
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
        let data = || failed(format!("flush {}", self.data_name));
        let tree = || failed(format!("flush {}", self.tree_name));
        sidecar.finish(self.tree.as_ref()).map_err(tree())?;
        // The last grain is written whole.
        self.data.set_length(self.request.size).map_err(data())?;
        self.data.sync(SyncPoint::Data).map_err(data())?;
        self.tree.sync(SyncPoint::Tree).map_err(tree())?;
        self.directory.sync_names(SyncPoint::StagedNames)?;
        if let Phase::Open(lock) = std::mem::replace(&mut *phase, Phase::Ended) {
            *phase = Phase::Flushed(lock);
        }
        Ok(Durable::new())
    }

    fn commit(&self, sealed: &Sealed) -> Result<Committed, ImageError> {
        let mut phase = self.phase();
        let Phase::Flushed(lock) = &*phase else { return Err(closed()) };
        let records = self.directory.lock_records()?;
        self.check_fence(lock)?;
        let catalog = Catalog::load(&self.directory)?;
        is_owned(&catalog, &self.request)?;
        if let Some(there) = self.existing(&catalog) {
            return self.repeated(there, sealed);
        }
        self.check_base(&catalog)?;
        let stored = self.record(&catalog, sealed)?;
        let result = self.publish(&catalog, &stored);
        if matches!(result, Ok(_) | Err(ImageError::Unsure { .. })) {
            *phase = Phase::Ended;
        }
        drop(records);
        result
    }

    /// A writer that was overtaken finds another lock or other files under its names.
    fn check_fence(&self, lock: &Lock) -> Result<(), ImageError> {
        let is_ours =
            self.directory.is_lock(lock) && self.files().into_iter().all(|(name, file)| self.is_ours(name, file));
        if is_ours { Ok(()) } else { Err(ImageError::Fenced) }
    }

    fn files(&self) -> [(&str, &dyn DiskFile); 2] {
        [(&self.data_name, self.data.as_ref()), (&self.tree_name, self.tree.as_ref())]
    }

    fn is_ours(&self, name: &str, file: &dyn DiskFile) -> bool {
        let named = self.directory.disk.stamp(&self.directory.file(name));
        matches!((named, file.stamp()), (Ok(named), Ok(held)) if named.inode == held.inode)
    }

    /// The whole snapshot that has the id or the name already.
    fn existing<'a>(&self, catalog: &'a Catalog) -> Option<&'a Entry> {
        let there = catalog.find(&self.request.snapshot).filter(|entry| catalog.is_whole(entry));
        there.or_else(|| catalog.find_name(&self.request.name).filter(|entry| catalog.is_whole(entry)))
    }

    fn repeated(&self, there: &Entry, sealed: &Sealed) -> Result<Committed, ImageError> {
        let record = &there.stored.record;
        if record.root != sealed.root || record.snapshot != self.request.snapshot {
            return Err(ImageError::Exists { snapshot: record.snapshot.clone(), root: record.root });
        }
        // Whoever committed it may have died before its name was durable.
        self.directory.sync_names(SyncPoint::RecordName)?;
        Ok(Committed::Already(record.clone()))
    }

    /// Every layer below must be there and have the stamps that the proof at the start saw.
    fn check_base(&self, catalog: &Catalog) -> Result<(), ImageError> {
        let Some(base) = &self.base else { return Ok(()) };
        for layer in &base.layers {
            let same = catalog.layer(&layer.stored.layer).is_some_and(|entry| entry.stored == layer.stored);
            if !same || !is_untouched(&self.directory, &layer.stored)? {
                return Err(ImageError::BaseChanged {
                    image: self.request.image.clone(),
                    base: layer.stored.record.snapshot.clone(),
                    detail: "it was written to during the transfer; repeat the request".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn record(&self, catalog: &Catalog, sealed: &Sealed) -> Result<Stored, ImageError> {
        let request = &self.request;
        let below = self.base.as_ref().and_then(Overlay::top);
        let record = SnapshotRecord {
            volume: request.volume.clone(),
            snapshot: request.snapshot.clone(),
            name: request.name.clone(),
            size: request.size,
            root: sealed.root,
            identity: sealed.identity.clone(),
            base: request.base.clone(),
            created_ms: milliseconds(sealed.created),
            stored: self.stored.load(Ordering::Relaxed),
        };
        let stored = Stored {
            record,
            layer: String::new(),
            parent: below.map(|below| below.layer.clone()),
            data: self.data_name.clone(),
            tree: self.tree_name.clone(),
            limit: below.map_or(0, |below| below.record.size.min(request.size)),
            sequence: catalog.next_sequence(),
            data_stamp: super::stamp::Stamp::default(),
            tree_stamp: super::stamp::Stamp::default(),
        };
        let stored = stamped(&self.directory, stored)?;
        // A later snapshot may get the same files' names; with the time of its data it cannot be taken for this one.
        let layer = format!("{}.{:x}", stem(&request.name, &request.transfer), stored.data_stamp.changed);
        Ok(Stored { layer, ..stored })
    }

    /// The commit point: the record gets its name.
    fn publish(&self, catalog: &Catalog, stored: &Stored) -> Result<Committed, ImageError> {
        let name = record_file(&self.request.name);
        let temporary = self.directory.prepare(&name, stored, SyncPoint::Record)?;
        let target = self.directory.file(&name);
        let committed = if catalog.files.contains(&name) {
            // What is there cannot be read, or has lost its data: a new snapshot may take its place.
            self.directory.disk.rename(&temporary, &target)
        } else {
            self.directory.disk.publish(&temporary, &target)
        };
        committed.map_err(failed(format!("create {name}")))?;
        match self.directory.sync_names(SyncPoint::RecordName) {
            Ok(()) => Ok(Committed::New(stored.record.clone())),
            Err(error) => Err(ImageError::Unsure { detail: error.to_string() }),
        }
    }

    /// Gives the image back, and removes what was staged unless a record may name it.
    fn end(&self) {
        let mut phase = self.phase();
        if matches!(*phase, Phase::Ended) {
            return;
        }
        for (name, _) in self.files().into_iter().filter(|(name, file)| self.is_ours(name, *file)) {
            if let Err(error) = self.directory.remove(name) {
                tracing::warn!(image = %self.request.image, name, %error, "leave a file to the next transfer");
            }
        }
        // Frees the space now: writes that still run keep the files open.
        self.data.set_length(0).ok();
        *phase = Phase::Ended;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.end();
    }
}

fn closed() -> ImageError {
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
            staging.end();
            Ok(())
        });
        if let Err(error) = ended.await {
            tracing::warn!(%error, "leave what was staged to the next transfer");
        }
    }
}
