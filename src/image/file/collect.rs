//! Giving back space: of dead transfers, of deleted snapshots, of what others have broken.
//!
//! Runs at the start of a transfer and after a delete, with the lock on the image held, so no transfer is in the
//! middle. What no record names is removed; what a record names stays. While a record cannot be read nothing is
//! removed at all: it may name anything.

use std::collections::BTreeSet;

use super::catalog::{Catalog, Entry};
use super::disk::{Lock, SyncPoint};
use super::failed;
use super::layout::{DELTA, ImageDirectory, LOG, RAW, TOMBSTONE, TREE, UNFINISHED, read_small};
use super::merge::Merge;
use super::record::Stored;
use super::upload::upload_file;
use crate::image::ImageError;
use crate::image::readers::Readers;
use crate::image::record::{Tombstone, unseal};

/// Does all that can be done now, and gives the records as they are then, with the lock on them. Wants the lock on
/// the image, and not that on records.
pub(super) fn collect(directory: &ImageDirectory, readers: &Readers) -> Result<(Catalog, Lock), ImageError> {
    let mut refused = BTreeSet::new();
    loop {
        let records = directory.lock_records()?;
        let catalog = Catalog::load(directory)?;
        if !catalog.unreadable.is_empty() {
            return Ok((catalog, records));
        }
        if drop_dead(directory, &catalog, readers)? {
            continue;
        }
        let Some((layer, child)) = next_merge(directory, &catalog, readers, &refused) else {
            reap(directory, &catalog)?;
            return Ok((catalog, records));
        };
        // A plan may have to read a layer again, and nothing but a merge takes away what it looks at.
        drop(records);
        let merge = Merge::plan(directory, &catalog, child);
        if let Err(error) = merge_one(directory, merge) {
            tracing::warn!(image = %directory.image, layer, %error, "keep a deleted layer");
        }
        // Tried once: whether it worked or not, the same layer is not merged again in this round.
        refused.insert(layer);
    }
}

/// Removes one record that is of no use: without data, or hidden and needed by nobody.
fn drop_dead(directory: &ImageDirectory, catalog: &Catalog, readers: &Readers) -> Result<bool, ImageError> {
    let unneeded = |entry: &Entry| {
        let is_read = || readers.are_reading(&directory.image, &entry.stored.record.snapshot);
        !entry.visible && catalog.children(&entry.stored.layer).next().is_none() && !is_read()
    };
    let Some(dead) = catalog.entries().find(|entry| !catalog.has_files(entry) || unneeded(entry)) else {
        return Ok(false);
    };
    directory.remove(&dead.file)?;
    Ok(true)
}

fn next_merge<'a>(
    directory: &ImageDirectory,
    catalog: &'a Catalog,
    readers: &Readers,
    refused: &BTreeSet<String>,
) -> Option<(String, &'a Entry)> {
    let free = catalog.entries().filter(|entry| {
        let snapshot = &entry.stored.record.snapshot;
        !entry.visible && !refused.contains(&entry.stored.layer) && !readers.are_reading(&directory.image, snapshot)
    });
    { free }.find_map(|entry| {
        let mut children = catalog.entries().filter(|child| child.stored.parent.as_ref() == Some(&entry.stored.layer));
        let only = children.next().filter(|_| children.next().is_none());
        only.map(|child| (entry.stored.layer.clone(), child))
    })
}

fn merge_one(directory: &ImageDirectory, merge: Result<Option<Merge>, ImageError>) -> Result<(), ImageError> {
    let Some(merge) = merge? else { return Ok(()) };
    let merged = merge.run()?;
    let (child, parent) = merge.layers();
    let _records = directory.lock_records()?;
    let catalog = Catalog::load(directory)?;
    let Some(entry) = catalog.layer(child).filter(|entry| entry.stored.parent.as_deref() == Some(parent)) else {
        return Ok(());
    };
    replace(directory, entry, &merged)
}

/// The step from which on the child is what was merged.
fn replace(directory: &ImageDirectory, entry: &Entry, merged: &Stored) -> Result<(), ImageError> {
    let temporary = directory.prepare(&entry.file, merged, SyncPoint::MergedRecord)?;
    let renamed = directory.disk.rename(&temporary, &directory.file(&entry.file));
    renamed.map_err(failed(format!("replace {}", entry.file)))?;
    directory.sync_names(SyncPoint::MergedRecordName)
}

/// Removes the files that no record names, tombstones that are old enough, and what is left of finished transfers whose
/// snapshots were deleted.
fn reap(directory: &ImageDirectory, catalog: &Catalog) -> Result<(), ImageError> {
    for owned in catalog.uploads.iter().filter(|owned| owned.is_over(catalog)) {
        directory.remove(&upload_file(&owned.request.transfer))?;
    }
    let committed = catalog.entries().flat_map(|entry| [&entry.stored.data, &entry.stored.tree]);
    let unfinished = catalog.uploads.iter().filter(|owned| owned.committed(catalog).is_none());
    let named: BTreeSet<&String> = committed.chain(unfinished.flat_map(|owned| [&owned.data, &owned.log])).collect();
    for name in &catalog.files {
        let is_data = [RAW, DELTA, TREE, LOG].iter().any(|suffix| name.ends_with(suffix));
        let is_left = name.ends_with(UNFINISHED) || is_data && !named.contains(name);
        if is_left || name.ends_with(TOMBSTONE) && is_forgotten(directory, name) {
            directory.remove(name)?;
        }
    }
    Ok(())
}

fn is_forgotten(directory: &ImageDirectory, name: &str) -> bool {
    let tombstone = read_small(directory.disk.as_ref(), &directory.file(name)).ok();
    tombstone.and_then(|bytes| unseal::<Tombstone>(&bytes).ok()).is_some_and(|tombstone| tombstone.is_forgotten())
}
