//! Taking an image for one new snapshot: the order of what is done before the first byte is written.
//!
//! Lock, owner, recovery, generation, what dead ones left, base, head: each relies on those before it. Nothing is
//! changed before the lock is held and the blocklist of a former owner is in force, and the head is not looked at before
//! the generation is raised.

use std::sync::Arc;

use super::catalog::Catalog;
use super::collect::collect;
use super::commit::check_name;
use super::failure::failed;
use super::fence::{self, Taken};
use super::head;
use super::publish::recover;
use super::record::{GENERATION, Generation, OWNER, Owner};
use super::revert::{Difference, Revert};
use super::session::Session;
use super::snapshot::{Client, RbdSnapshot};
use super::store::Shared;
use super::upload;
use crate::image::{ImageError, StageRequest};

/// An image that is ready to be written.
#[derive(Debug)]
pub(super) struct Ready {
    pub base: Option<RbdSnapshot>,
    pub generation: u64,
    /// Name of the new layer and of its tree.
    pub layer: String,
}

/// Makes the session's image ready. Blocks.
pub(super) fn prepare(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    request: &StageRequest,
) -> Result<Ready, ImageError> {
    session.require_features()?;
    let taken = fence::take(session, shared.patience)?;
    let (ready, catalog) = enter(shared, session, request, taken)?;
    let is_parked = upload::park(session, &catalog, request)?;
    match &ready.base {
        None => head::clear(session, request.size)?,
        Some(base) => restore(shared, session, &catalog, base, request.size, is_parked)?,
    }
    Ok(ready)
}

/// What is done with the lock of an image before its head is touched. Blocks.
pub(super) fn enter(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    request: &StageRequest,
    taken: Taken,
) -> Result<(Ready, Catalog), ImageError> {
    let catalog = session.survey()?;
    is_owned(&catalog, request)?;
    // Whoever wrote to the head and did not commit may have died in the middle of a write.
    if taken == Taken::Over || !catalog.abandoned_trees().is_empty() {
        fence::settle(session)?;
    }
    adopt(session, &catalog, request)?;
    let catalog = recover(session, &shared.config, catalog)?;
    let (generation, layer) = raise(session, &catalog, request)?;
    let catalog = collect(session, &shared.readers, session.survey()?, Some(&layer))?;
    check_name(&catalog, request)?;
    check_limit(session, &catalog, request)?;
    let base = find_base(shared, session, &catalog, request)?;
    Ok((Ready { base, generation, layer }, catalog))
}

pub(super) fn is_owned(catalog: &Catalog, request: &StageRequest) -> Result<(), ImageError> {
    match catalog.owner() {
        Some(owner) if *owner != request.volume => {
            Err(ImageError::NotOwned { image: request.image.clone(), owner: owner.clone() })
        }
        _ => Ok(()),
    }
}

/// An image that is nobody's is taken if it is as Cinder makes them: blank. Whatever else it may be, it is not ours to
/// overwrite.
fn adopt(session: &Session, catalog: &Catalog, request: &StageRequest) -> Result<(), ImageError> {
    if catalog.owner().is_some() {
        return Ok(());
    }
    let foreign = |detail: &str| ImageError::Foreign { image: request.image.clone(), detail: detail.to_owned() };
    if catalog.unreadable.iter().any(|key| key == OWNER) {
        return Err(foreign(
            "the record of its owner cannot be read; remove the image, or its metadata key rsnap.owner",
        ));
    }
    if !catalog.snapshots.is_empty() {
        return Err(foreign("it has snapshots that rsnap did not make; name an image without any, or remove them"));
    }
    if !head::is_blank(session.image()?)? {
        return Err(foreign("it has data that rsnap did not write; name a blank image, or one that is not there yet"));
    }
    session.set(OWNER, &Owner { volume: request.volume.clone() })
}

/// Raises the generation, and notes the tree that this transfer is about to write.
fn raise(session: &Session, catalog: &Catalog, request: &StageRequest) -> Result<(u64, String), ImageError> {
    let number = catalog.generation.number + 1;
    let layer = format!("{number}.{}", request.transfer);
    let mut trees = catalog.abandoned_trees();
    trees.push(layer.clone());
    session.set(GENERATION, &Generation { number, trees })?;
    Ok((number, layer))
}

/// Said before the data, because Ceph says it after.
fn check_limit(session: &Session, catalog: &Catalog, request: &StageRequest) -> Result<(), ImageError> {
    let limit = session.image()?.snapshot_limit().map_err(failed)?;
    let is_parked = catalog.in_head().is_some_and(|upload| upload.request.transfer != request.transfer);
    let count = catalog.snapshot_count as u64 + u64::from(is_parked);
    match limit.filter(|limit| count >= *limit && catalog.find(&request.snapshot).is_none()) {
        None => Ok(()),
        Some(limit) => Err(ImageError::Full {
            detail: format!(
                "image {} has {count} snapshots and may have {limit}; raise it with `rbd snap limit set`, or delete some",
                request.image
            ),
        }),
    }
}

fn find_base(
    shared: &Arc<Shared>,
    session: &Session,
    catalog: &Catalog,
    request: &StageRequest,
) -> Result<Option<RbdSnapshot>, ImageError> {
    let Some(base) = &request.base else { return Ok(None) };
    let missing = || ImageError::BaseMissing { image: request.image.clone(), base: base.clone() };
    let entry = catalog.find(base).ok_or_else(missing)?;
    let reader = (Client::Transfer, shared.readers.enter(&request.image, base));
    let opened = RbdSnapshot::open(shared, &session.pool, &request.image, catalog, entry, reader);
    let opened = opened.map_err(|error| match error {
        ImageError::Damaged { detail, .. } => {
            ImageError::BaseChanged { image: request.image.clone(), base: base.clone(), detail }
        }
        other => other,
    })?;
    Ok(Some(opened))
}

/// Brings the head to the base. What differs from an older base was committed since; from the newest snapshot nothing
/// should differ, unless what was in the head has been parked.
pub(super) fn restore(
    shared: &Shared,
    session: &Session,
    catalog: &Catalog,
    base: &RbdSnapshot,
    size: u64,
    is_parked: bool,
) -> Result<(), ImageError> {
    let reverted = head::restore(session, base.stored(), size)?;
    let sequence = base.stored().layer.sequence;
    let is_newest = catalog.entries().all(|entry| entry.stored.layer.sequence <= sequence);
    if is_newest && !is_parked && reverted.way != Revert::Nothing {
        shared.metrics.heads_reverted.inc();
        let Difference { extents, bytes, .. } = reverted.difference;
        tracing::warn!(
            image = %session.name, extents, bytes, way = ?reverted.way,
            "the head was not as its newest snapshot: a transfer failed in it, or somebody wrote to it; it was reverted"
        );
    }
    #[cfg(test)]
    shared.reverted.lock().unwrap().push(reverted);
    Ok(())
}

/// A size that RBD cannot have.
pub(super) fn check_size(request: &StageRequest) -> Result<(), ImageError> {
    if request.size <= crate::content::SIZE_MAX {
        return Ok(());
    }
    Err(ImageError::Size { size: request.size, detail: "content trees end there".to_owned() })
}
