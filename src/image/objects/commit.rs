//! Making a staged snapshot visible: one head, created after the one that was read.

use std::sync::atomic::Ordering;

use super::head::{Advance, advance, load};
use super::record::{Head, Stored};
use super::snapshot::is_sound;
use super::staged::ObjectsStaged;
use crate::image::{Committed, ImageError, Sealed, SnapshotRecord};

pub(super) async fn commit(staged: &ObjectsStaged, sealed: Sealed) -> Result<Committed, ImageError> {
    prove(staged, &sealed).await?;
    let record = record(staged, &sealed);
    let stored = Stored { record, manifest: staged.session };
    loop {
        let current = load(&staged.shared.bucket, &staged.request.image).await?;
        if let Some(there) = current.head.snapshots.iter().find(|there| there.manifest == staged.session) {
            return Ok(Committed::New(there.record.clone()));
        }
        if current.head.writer.as_ref().map(|writer| writer.session) != Some(staged.session) {
            return Err(ImageError::Fenced);
        }
        refuse_deleted(&current.head, staged, &sealed)?;
        let mut next = current.head.next();
        next.end_writer();
        let existing = existing(staged, &mut next, &sealed).await?;
        if let Some(there) = existing {
            return Ok(Committed::Already(there));
        }
        next.snapshots.push(stored.clone());
        if advance(&staged.shared.bucket, &staged.request.image, &current, &next).await? == Advance::Done {
            return Ok(Committed::New(stored.record));
        }
    }
}

/// The segments must be those of the root: what was written and what was hashed came by different ways.
async fn prove(staged: &ObjectsStaged, sealed: &Sealed) -> Result<(), ImageError> {
    let found = staged.manifest().await.unwrap_or_default().root(staged.request.size);
    match found == sealed.root {
        true => Ok(()),
        false => Err(ImageError::Unproven { offset: 0, expected: sealed.root.to_string(), found: found.to_string() }),
    }
}

/// A permission cannot make again what was deleted since it was issued.
fn refuse_deleted(head: &Head, staged: &ObjectsStaged, sealed: &Sealed) -> Result<(), ImageError> {
    let snapshot = &staged.request.snapshot;
    match head.tombstone(snapshot) {
        Some(deleted) if deleted.deleted() >= sealed.issued => Err(ImageError::Deleted { snapshot: snapshot.clone() }),
        _ => Ok(()),
    }
}

/// The snapshot that has the id or the name already. One that is damaged is taken out of `next`.
async fn existing(
    staged: &ObjectsStaged,
    next: &mut Head,
    sealed: &Sealed,
) -> Result<Option<SnapshotRecord>, ImageError> {
    let request = &staged.request;
    let is_taken = |there: &Stored| there.record.snapshot == request.snapshot || there.record.name == request.name;
    while let Some(position) = next.snapshots.iter().position(is_taken) {
        let Some(there) = next.snapshots.get(position) else { break };
        if !is_sound(&staged.shared.bucket, there).await? {
            next.snapshots.remove(position);
            continue;
        }
        let there = there.record.clone();
        if there.root != sealed.root || there.snapshot != request.snapshot {
            return Err(ImageError::Exists { snapshot: there.snapshot, root: there.root });
        }
        return Ok(Some(there));
    }
    Ok(None)
}

fn record(staged: &ObjectsStaged, sealed: &Sealed) -> SnapshotRecord {
    let request = &staged.request;
    request.record(sealed, staged.stored.load(Ordering::Relaxed))
}
