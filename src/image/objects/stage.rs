//! Taking an image for a new snapshot.
//!
//! A writer first writes its name into the image's head, then looks which objects are condemned. A collection condemns
//! first and looks for writers then. So whichever way the two meet, one of them sees the other.

use std::sync::Arc;

use super::condemned::Condemned;
use super::head::{Advance, advance, load};
use super::layout::{Session, lease_name};
use super::lease::{Lease, is_alive};
use super::record::{Head, Stored, Writer};
use super::snapshot::ObjectsSnapshot;
use super::staged::ObjectsStaged;
use super::store::Shared;
use crate::image::{ImageError, StageRequest};

pub(super) async fn stage(shared: &Arc<Shared>, request: StageRequest) -> Result<ObjectsStaged, ImageError> {
    let place = shared.writing.enter(&request.image)?;
    let session = Session::new();
    let lease = Lease::begin(&shared.bucket, lease_name(session), request.transfer.as_str(), shared.lifetime).await?;
    let base = take(shared, &request, session, &lease).await?;
    let base = match base {
        Some(stored) => Some(open_base(shared, &request, stored).await?),
        None => None,
    };
    let condemned = Condemned::load(&shared.bucket).await?;
    Ok(ObjectsStaged::new(Arc::clone(shared), request, session, base, condemned, (lease, place)))
}

/// Becomes the writer, and gives the base.
async fn take(
    shared: &Shared,
    request: &StageRequest,
    session: Session,
    lease: &Lease,
) -> Result<Option<Stored>, ImageError> {
    loop {
        let current = load(&shared.bucket, &request.image).await?;
        check_owner(&current.head, request)?;
        if let Some(other) = &current.head.writer {
            refuse_living(shared, request, other, lease).await?;
        }
        let base = find_base(&current.head, request)?;
        let mut next = current.head.next();
        next.end_writer();
        next.writer = Some(Writer {
            transfer: request.transfer.clone(),
            snapshot: request.snapshot.clone(),
            session,
            process: shared.process,
            base: base.as_ref().map(|base| base.manifest),
        });
        if advance(&shared.bucket, &request.image, &current, &next).await? == Advance::Done {
            return Ok(base);
        }
    }
}

fn check_owner(head: &Head, request: &StageRequest) -> Result<(), ImageError> {
    match head.owner() {
        Some(owner) if *owner != request.volume => {
            Err(ImageError::NotOwned { image: request.image.clone(), owner: owner.clone() })
        }
        _ => Ok(()),
    }
}

/// Another one of this process has ended, since this one has the image in it. One of another process has, when its lease
/// says so. One that sends the same snapshot is overtaken at once: its sender has come here.
async fn refuse_living(
    shared: &Shared,
    request: &StageRequest,
    other: &Writer,
    lease: &Lease,
) -> Result<(), ImageError> {
    if other.process == shared.process || other.snapshot == request.snapshot {
        return Ok(());
    }
    let now = lease.now().await?;
    match is_alive(&shared.bucket, other.session, now, shared.lifetime).await? {
        true => Err(ImageError::Busy { image: request.image.clone() }),
        false => Ok(()),
    }
}

fn find_base(head: &Head, request: &StageRequest) -> Result<Option<Stored>, ImageError> {
    let Some(base) = &request.base else { return Ok(None) };
    let missing = || ImageError::BaseMissing { image: request.image.clone(), base: base.clone() };
    head.find(base).cloned().map(Some).ok_or_else(missing)
}

/// The base's manifest is proven by its root, and everything below is proven by the manifest when it is read.
async fn open_base(shared: &Shared, request: &StageRequest, stored: Stored) -> Result<ObjectsSnapshot, ImageError> {
    let base = stored.record.snapshot.clone();
    match ObjectsSnapshot::open(shared.bucket.clone(), stored).await {
        Err(ImageError::Damaged { detail, .. }) => {
            Err(ImageError::BaseChanged { image: request.image.clone(), base, detail })
        }
        other => other,
    }
}
