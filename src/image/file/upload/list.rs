//! Unfinished transfers seen from outside: what there is, and giving one up.

use std::time::{Duration, SystemTime};

use super::LogFile;
use super::record::{Owned, upload_file};
use crate::id::{ImageName, TransferId};
use crate::image::file::catalog::Catalog;
use crate::image::file::collect::collect;
use crate::image::file::disk::SyncPoint;
use crate::image::file::failed;
use crate::image::file::layout::{ImageDirectory, UPLOAD};
use crate::image::file::store::Shared;
use crate::image::page_log::Found;
use crate::image::{ImageError, Ranges, UploadRecord};

/// The unfinished transfers of an image, and those that were finished not long ago.
pub(in crate::image::file) fn list(directory: &ImageDirectory) -> Result<Vec<UploadRecord>, ImageError> {
    let Some(_records) = directory.share_records()? else { return Ok(Vec::new()) };
    let catalog = Catalog::load(directory)?;
    let there = catalog.uploads.iter().filter(|owned| !owned.is_over(&catalog));
    there.map(|owned| describe(directory, &catalog, owned)).collect()
}

fn describe(directory: &ImageDirectory, catalog: &Catalog, owned: &Owned) -> Result<UploadRecord, ImageError> {
    let committed = owned.committed(catalog).map(|entry| entry.stored.record.clone());
    let durable = match &committed {
        Some(record) => Ranges::try_from(vec![(0, record.size)]).unwrap_or_default(),
        None => durable(directory, owned)?,
    };
    let touched = touched(directory, &[upload_file(&owned.request.transfer), owned.log.clone()]);
    Ok(UploadRecord { request: owned.request.clone(), generation: owned.generation, durable, touched, committed })
}

/// When any of these files was last written.
fn touched(directory: &ImageDirectory, names: &[String]) -> SystemTime {
    let stamps = names.iter().filter_map(|name| directory.disk.stamp(&directory.file(name)).ok());
    let latest = stamps.map(|stamp| stamp.modified).max().unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(latest).unwrap_or_default())
}

/// Nothing where the log is gone by now: it is being committed.
fn durable(directory: &ImageDirectory, owned: &Owned) -> Result<Ranges, ImageError> {
    match directory.disk.open(&directory.file(&owned.log)).and_then(|log| Found::read(&LogFile(log))) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ranges::default()),
        other => other.map(|found| found.mark.durable).map_err(failed(format!("read {}", owned.log))),
    }
}

/// Gives an unfinished transfer up. Its owner finds out at its next step; the space comes back at once, or with the next
/// transfer of the image.
pub(in crate::image::file) fn discard(
    shared: &Shared,
    image: &ImageName,
    transfer: &TransferId,
) -> Result<(), ImageError> {
    let directory = shared.directory(image);
    if directory.list()?.is_empty() {
        return Ok(());
    }
    let records = directory.lock_records()?;
    // Also where it cannot be read: nothing may become undeletable.
    directory.remove(&upload_file(transfer))?;
    directory.sync_names(SyncPoint::UploadName)?;
    drop(records);
    if let Ok(_image) = directory.lock() {
        collect(&directory, &shared.readers)?;
    }
    Ok(())
}

/// Gives up what nobody has worked on since `before`, in all images.
pub(in crate::image::file) fn expire(shared: &Shared, before: SystemTime) -> Result<u64, ImageError> {
    let mut expired = 0;
    for image in shared.images()? {
        match expire_in(shared, &image, before) {
            Ok(count) => expired += count,
            Err(error) => tracing::warn!(%image, %error, "put off giving up abandoned transfers"),
        }
    }
    Ok(expired)
}

fn expire_in(shared: &Shared, image: &ImageName, before: SystemTime) -> Result<u64, ImageError> {
    let directory = shared.directory(image);
    let names = directory.list()?;
    let there: Vec<TransferId> = names.iter().filter_map(|name| name.strip_suffix(UPLOAD)?.parse().ok()).collect();
    if there.is_empty() {
        return Ok(0);
    }
    let records = directory.lock_records()?;
    let catalog = Catalog::load(&directory)?;
    let mut expired = 0;
    for transfer in there.iter().filter(|transfer| is_abandoned(&directory, &catalog, transfer, before)) {
        tracing::info!(%image, %transfer, "give up a transfer that nobody has worked on");
        directory.remove(&upload_file(transfer))?;
        expired += 1;
    }
    if expired > 0 {
        directory.sync_names(SyncPoint::UploadName)?;
    }
    drop(records);
    if expired > 0
        && let Ok(_image) = directory.lock()
    {
        collect(&directory, &shared.readers)?;
    }
    Ok(expired)
}

/// With the lock on records: who takes a transfer over writes its record under it.
fn is_abandoned(directory: &ImageDirectory, catalog: &Catalog, transfer: &TransferId, before: SystemTime) -> bool {
    let owned = catalog.uploads.iter().find(|owned| owned.request.transfer == *transfer);
    let names: Vec<String> = [upload_file(transfer)].into_iter().chain(owned.map(|owned| owned.log.clone())).collect();
    owned.is_none_or(|owned| owned.committed(catalog).is_none()) && touched(directory, &names) < before
}

/// Removes the record and then the files. Wants the lock on records.
pub(super) fn remove(directory: &ImageDirectory, owned: &Owned) -> Result<(), ImageError> {
    directory.remove(&upload_file(&owned.request.transfer))?;
    directory.sync_names(SyncPoint::UploadName)?;
    directory.remove(&owned.log)
}
