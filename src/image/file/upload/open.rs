//! Beginning an unfinished transfer, and taking one over.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::record::Owned;
use super::{FileUpload, LogFile};
use crate::content::{BLOCK_BYTES, GrainMap};
use crate::id::{ImageName, TransferId};
use crate::image::file::catalog::Catalog;
use crate::image::file::collect::collect;
use crate::image::file::disk::{DiskFile, Lock, LockMode, SyncPoint};
use crate::image::file::failed;
use crate::image::file::layout::{ImageDirectory, LOG, stem};
use crate::image::file::snapshot::FileSnapshot;
use crate::image::file::staged::{FileStaged, Locks, Staging, find_base, is_owned};
use crate::image::file::store::Shared;
use crate::image::page_log::{Found, Mark, PageLog};
use crate::image::presence::below;
use crate::image::{ImageError, Ranges, StageRequest};

/// How long an owner has to let go, once the storage says that it is none any more.
const GRACE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 5_000 });
const LOOK: Duration = Duration::from_millis(20);

/// Data and log, as their owner goes on with them.
struct Files {
    data: Arc<dyn DiskFile>,
    log: PageLog,
    mark: Mark,
}

impl FileUpload {
    /// Begins a transfer.
    pub(in crate::image::file) fn create(shared: &Arc<Shared>, request: StageRequest) -> Result<Self, ImageError> {
        let directory = shared.make_image(&request.image)?;
        let image = directory.lock()?;
        let (catalog, records) = collect(&directory, &shared.readers)?;
        is_owned(&catalog, &request)?;
        let base = find_base(shared, &directory, &catalog, records, &request)?;
        shared.sync_images()?;
        let (data, file) = Staging::create_data(&directory, &request)?;
        let (log, lock, pages) = create_log(&directory, &request, &Mark::default(), |_| Ok(()))?;
        let owned = Owned { request, generation: 1, data, log };
        let files = Files { data: file, log: pages, mark: Mark::default() };
        let upload = Self::assemble(&directory, base, owned, files, Locks { _log: Some(lock), image })?;
        let _records = directory.lock_records()?;
        upload.owned.write(&directory)?;
        Ok(upload)
    }

    /// Becomes the owner of a transfer.
    pub(in crate::image::file) fn resume(
        shared: &Arc<Shared>,
        image: &ImageName,
        transfer: &TransferId,
    ) -> Result<Self, ImageError> {
        let directory = shared.directory(image);
        let owned = claim(&directory, transfer)?;
        let (owned, files, locks) = match wait_for(&directory, &owned)? {
            Some(locks) => {
                let files = adopt(&directory, &owned)?;
                (owned, files, locks)
            }
            None => copy(&directory, owned)?,
        };
        let (catalog, records) = collect(&directory, &shared.readers)?;
        is_owned(&catalog, &owned.request)?;
        let base = find_base(shared, &directory, &catalog, records, &owned.request)?;
        Self::assemble(&directory, base, owned, files, locks)
    }

    fn assemble(
        directory: &ImageDirectory,
        base: Option<FileSnapshot>,
        owned: Owned,
        files: Files,
        locks: Locks,
    ) -> Result<Self, ImageError> {
        let Files { data, log, mark: Mark { durable, stored } } = files;
        let overlay = base.as_ref().map(FileSnapshot::overlay);
        let (request, data) = (owned.request.clone(), (owned.data.clone(), data));
        let staging = Staging::create(directory.clone(), request, overlay, data, Some(owned.clone()), locks)?;
        staging.stored.store(stored, std::sync::atomic::Ordering::Relaxed);
        let staged = FileStaged { staging: Arc::new(staging), base };
        Ok(Self { staged, log: Arc::new(Mutex::new(log)), owned, durable })
    }
}

/// Raises the generation: from here on, whatever an earlier owner does is void.
fn claim(directory: &ImageDirectory, transfer: &TransferId) -> Result<Owned, ImageError> {
    let missing = || ImageError::NoUpload { image: directory.image.clone(), transfer: transfer.clone() };
    if directory.list()?.is_empty() {
        return Err(missing());
    }
    let _records = directory.lock_records()?;
    let owned = Owned::read(directory, transfer)?.ok_or_else(missing)?;
    let catalog = Catalog::load(directory)?;
    let is_there = catalog.files.contains(&owned.log) && catalog.files.contains(&owned.data);
    if owned.committed(&catalog).is_some() || !is_there {
        return Err(missing());
    }
    let owned = Owned { generation: owned.generation + 1, ..owned };
    owned.write(directory)?;
    Ok(owned)
}

/// Waits until the owner before has let go. `None`: it does not.
fn wait_for(directory: &ImageDirectory, owned: &Owned) -> Result<Option<Locks>, ImageError> {
    let start = Instant::now();
    loop {
        owned.check(directory)?;
        if let Some(log) = lock_log(directory, &owned.log)? {
            // Nobody writes this transfer; another one may write the image.
            let image = directory.lock()?;
            owned.check(directory)?;
            return Ok(Some(Locks { _log: Some(log), image }));
        }
        if start.elapsed() > GRACE {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

fn lock_log(directory: &ImageDirectory, log: &str) -> Result<Option<Lock>, ImageError> {
    directory.disk.lock(&directory.file(log), LockMode::TryExclusive).map_err(failed(format!("lock {log}")))
}

/// The files as they are: nobody else writes to them.
fn adopt(directory: &ImageDirectory, owned: &Owned) -> Result<Files, ImageError> {
    let opening = || failed(format!("open the unfinished transfer {}", owned.request.transfer));
    let log = LogFile(directory.disk.open_to_change(&directory.file(&owned.log)).map_err(opening())?);
    let found = Found::read(&log).map_err(opening())?;
    let mark = found.mark.clone();
    let log = PageLog::adopt(Arc::new(log), found).map_err(opening())?;
    let data = directory.disk.open_to_change(&directory.file(&owned.data)).map_err(opening())?;
    Ok(Files { data, log, mark })
}

/// New files with what the last mark of the old ones covers: somebody may still write to those.
fn copy(directory: &ImageDirectory, owned: Owned) -> Result<(Owned, Files, Locks), ImageError> {
    tracing::warn!(image = %directory.image, transfer = %owned.request.transfer, "copy from an owner that does not let go");
    let copying = || failed(format!("copy the unfinished transfer {}", owned.request.transfer));
    let records = directory.lock_records()?;
    owned.check(directory)?;
    let image = directory.break_lock()?;
    drop(records);
    let old = LogFile(directory.disk.open(&directory.file(&owned.log)).map_err(copying())?);
    let found = Found::read(&old).map_err(copying())?;
    let mark = found.mark.clone();
    let (old, from) = (
        PageLog::of_another(Arc::new(old), found),
        directory.disk.open(&directory.file(&owned.data)).map_err(copying())?,
    );
    let (data, to) = Staging::create_data(directory, &owned.request)?;
    to.set_length(owned.request.size).map_err(copying())?;
    let (log, lock, pages) = create_log(directory, &owned.request, &mark, |pages| {
        copy_blocks(&old, pages, from.as_ref(), to.as_ref(), &mark.durable)?;
        to.sync(SyncPoint::UploadData)
    })?;
    let _records = directory.lock_records()?;
    owned.check(directory)?;
    let owned = Owned { data, log, ..owned };
    owned.write(directory)?;
    Ok((owned, Files { data: to, log: pages, mark }, Locks { _log: Some(lock), image }))
}

fn copy_blocks(
    old: &PageLog,
    new: &mut PageLog,
    from: &dyn DiskFile,
    to: &dyn DiskFile,
    durable: &Ranges,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    for block in old.blocks(0, usize::MAX) {
        let Some(leafed) = old.page(block)? else { continue };
        let start = block * BLOCK_BYTES as u64;
        let present: GrainMap = leafed.present.intersection(below(block, durable.end_from(start)));
        for run in present.runs() {
            let (offset, place) = (start + run.start as u64, buffer.get_mut(run).unwrap_or_default());
            let count = from.read_at(place, offset)?;
            let read = place.get(..count).unwrap_or_default();
            if !crate::content::is_zero(read) {
                to.write_at(read, offset)?;
            }
        }
        new.add(block, &leafed)?;
    }
    Ok(())
}

/// A log with a first mark, locked.
fn create_log(
    directory: &ImageDirectory,
    request: &StageRequest,
    mark: &Mark,
    fill: impl FnOnce(&mut PageLog) -> std::io::Result<()>,
) -> Result<(String, Lock, PageLog), ImageError> {
    let (name, file) = directory.create(&stem(&request.name, &request.transfer), LOG)?;
    let lock = lock_log(directory, &name)?.ok_or_else(|| ImageError::Busy { image: directory.image.clone() })?;
    let mut log = PageLog::new(Arc::new(LogFile(file)));
    fill(&mut log).and_then(|()| log.mark(mark)).map_err(failed(format!("write {name}")))?;
    Ok((name, lock, log))
}
