//! Unfinished transfers seen from outside: what there is, and giving one up.

use std::time::{Duration, SystemTime};

use super::LogFile;
use super::record::{Owned, upload_file};
use crate::id::{ImageName, TransferId};
use crate::image::file::catalog::Catalog;
use crate::image::file::collect::collect;
use crate::image::file::disk::SyncPoint;
use crate::image::file::failed;
use crate::image::file::layout::ImageDirectory;
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
    let names = [upload_file(&owned.request.transfer), owned.log.clone()];
    let stamps = names.iter().filter_map(|name| directory.disk.stamp(&directory.file(name)).ok());
    let touched = stamps.map(|stamp| stamp.modified).max().unwrap_or_default();
    Ok(UploadRecord {
        request: owned.request.clone(),
        generation: owned.generation,
        durable,
        touched: SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(touched).unwrap_or_default()),
        committed,
    })
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

/// Removes the record and then the files. Wants the lock on records.
pub(super) fn remove(directory: &ImageDirectory, owned: &Owned) -> Result<(), ImageError> {
    directory.remove(&upload_file(&owned.request.transfer))?;
    directory.sync_names(SyncPoint::UploadName)?;
    directory.remove(&owned.log)
}
