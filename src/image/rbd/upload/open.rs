//! Beginning a transfer that outlives its requests, and taking one over.
//!
//! | step of taking over | a death after it |
//! |---|---|
//! | the lock, and whoever had it is shut out | leaves a lock |
//! | the generation is raised | leaves the name of a tree that is not there |
//! | the head is the transfer's: as it was left, or rolled back to where it was parked | is repeated: the record says the same as before |
//! | the log is cut behind its last mark | cut again |
//! | what is in the head and not durable is reverted to the base | reverted again |
//! | the record names the new owner, and the head | leaves an owner that is dead |
//! | the claim and the parked snapshot are removed | the next one does |

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::RbdUpload;
use super::owner;
use super::park::{park, unpark};
use crate::id::{ImageName, TransferId};
use crate::image::page_log::{Found, PageLog};
use crate::image::rbd::catalog::Catalog;
use crate::image::rbd::failure::tree_failed;
use crate::image::rbd::fence::Taken;
use crate::image::rbd::head;
use crate::image::rbd::objects::Objects;
use crate::image::rbd::record::{Upload, Whereabouts, claim_key, log_name, upload_key};
use crate::image::rbd::session::Session;
use crate::image::rbd::snapshot::RbdSnapshot;
use crate::image::rbd::stage::{Ready, enter, restore};
use crate::image::rbd::staged::RbdStaged;
use crate::image::rbd::staging::Staging;
use crate::image::rbd::store::Shared;
use crate::image::rbd::writers::Claim;
use crate::image::record::{RecordFault, milliseconds};
use crate::image::{ImageError, Ranges, StageRequest};

/// The gaps in which a gateway can die that begins a transfer, or takes one over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image::rbd) enum Step {
    Staged,
    Logged,
    Begun,
    Entered,
    Parked,
    Placed,
    Cut,
    Reverted,
    Owned,
    Cleared,
}

impl RbdUpload {
    /// Begins a transfer. Blocks.
    pub(in crate::image::rbd) fn create(shared: &Arc<Shared>, request: StageRequest) -> Result<Self, ImageError> {
        let staged = RbdStaged::open(shared, request.clone())?;
        let session = staged.staging.open_session()?;
        reached(shared, &session, Step::Staged)?;
        let (log, _) = open_log(&session, &request.transfer, false)?;
        reached(shared, &session, Step::Logged)?;
        let upload = Upload {
            image: session.id.clone(),
            base_layer: layer_of(staged.staging.base.as_ref()),
            request,
            generation: 1,
            owner: session.address().to_owned(),
            data: Whereabouts::Head,
            durable: Ranges::default(),
            log_bytes: 0,
            touched_ms: milliseconds(SystemTime::now()),
            is_finished: false,
        };
        session.set(&upload_key(&upload.request.transfer), &upload)?;
        reached(shared, &session, Step::Begun)?;
        Ok(Self::assemble(staged, log, upload))
    }

    /// Becomes the owner of a transfer. Blocks.
    pub(in crate::image::rbd) fn resume(
        shared: &Arc<Shared>,
        image: &ImageName,
        transfer: &TransferId,
    ) -> Result<Self, ImageError> {
        let missing = || missing(image, transfer);
        let survey = shared.survey(image)?.ok_or_else(missing)?;
        find(&survey.catalog, image, transfer)?;
        let claim = shared.claim(image)?;
        let session = Arc::new(Session::open(shared, image, None)?);
        match take_over(shared, &session, transfer) {
            Ok((ready, log, stored, upload)) => Ok(Self::begin(shared, session, claim, ready, (log, stored), upload)),
            Err(error) => {
                claim.is_closing();
                drop(session);
                Err(error)
            }
        }
    }

    fn begin(
        shared: &Arc<Shared>,
        session: Arc<Session>,
        claim: Claim,
        ready: Ready,
        (log, stored): (PageLog, u64),
        upload: Upload,
    ) -> Self {
        let staging = Staging::begin(shared, upload.request.clone(), session, claim, ready);
        staging.stored.store(stored, Ordering::Relaxed);
        Self::assemble(RbdStaged { staging }, log, upload)
    }

    fn assemble(staged: RbdStaged, log: PageLog, upload: Upload) -> Self {
        let durable = upload.durable.clone();
        let (log, written) = (Arc::new(Mutex::new(log)), Arc::default());
        Self { staged, log, record: Arc::new(Mutex::new(upload)), durable, written }
    }
}

fn layer_of(base: Option<&RbdSnapshot>) -> Option<String> {
    base.map(|base| base.stored().layer.name.clone())
}

/// See the module's table. Blocks.
fn take_over(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    transfer: &TransferId,
) -> Result<(Ready, PageLog, u64, Upload), ImageError> {
    session.require_features()?;
    let upload = find(&session.survey()?, &session.name, transfer)?;
    let taken: Taken = owner::take(session, shared.patience, &upload)?;
    let (ready, catalog) = enter(shared, session, &upload.request, taken)?;
    reached(shared, session, Step::Entered)?;
    // Its owner may have gone on until the lock was ours.
    let upload = find(&catalog, &session.name, transfer)?;
    if let (Some(base), true) = (&upload.request.base, layer_of(ready.base.as_ref()) != upload.base_layer) {
        let detail = "it was deleted and sent again since this transfer began; begin it anew".to_owned();
        return Err(ImageError::BaseChanged { image: session.name.clone(), base: base.clone(), detail });
    }
    park(session, &catalog, &upload.request)?;
    reached(shared, session, Step::Parked)?;
    let is_there = unpark(session, &catalog, &upload)?;
    reached(shared, session, Step::Placed)?;
    let (log, mark) = open_log(session, transfer, is_there)?;
    reached(shared, session, Step::Cut)?;
    let request = &upload.request;
    let stored_base = ready.base.as_ref().map(RbdSnapshot::stored);
    match (is_there, &ready.base) {
        (true, _) => {
            for gap in mark.durable.gaps(request.size) {
                head::revert(session, stored_base, gap)?;
            }
        }
        (false, None) => head::clear(session, request.size)?,
        (false, Some(base)) => restore(shared, session, &catalog, base, request.size, true)?,
    }
    reached(shared, session, Step::Reverted)?;
    let owned = Upload {
        generation: upload.generation + 1,
        owner: session.address().to_owned(),
        data: Whereabouts::Head,
        durable: mark.durable,
        log_bytes: log.marked(),
        touched_ms: milliseconds(SystemTime::now()),
        ..upload.clone()
    };
    owner::refuse_given_up(session, transfer)?;
    session.set(&upload_key(transfer), &owned)?;
    reached(shared, session, Step::Owned)?;
    session.unset(&claim_key(transfer))?;
    if let Whereabouts::Parked(id) = upload.data {
        session.remove_snapshot(id)?;
    }
    reached(shared, session, Step::Cleared)?;
    Ok((ready, log, mark.stored, owned))
}

#[cfg(not(test))]
fn reached(_: &Shared, _: &Session, _: Step) -> Result<(), ImageError> {
    Ok(())
}

#[cfg(test)]
fn reached(shared: &Shared, session: &Session, step: Step) -> Result<(), ImageError> {
    shared.deaths.strike(shared, session, step)
}

/// An unfinished transfer.
fn find(catalog: &Catalog, image: &ImageName, transfer: &TransferId) -> Result<Upload, ImageError> {
    if let Some(upload) = catalog.upload(transfer).filter(|upload| !upload.is_finished) {
        return match catalog.committed(upload) {
            None => Ok(upload.clone()),
            Some(_) => Err(missing(image, transfer)),
        };
    }
    if catalog.unreadable.contains(&upload_key(transfer)) && !catalog.is_given_up(transfer) {
        let detail = RecordFault::Checksum.to_string();
        return Err(ImageError::UploadDamaged { image: image.clone(), transfer: transfer.clone(), detail });
    }
    Err(missing(image, transfer))
}

fn missing(image: &ImageName, transfer: &TransferId) -> ImageError {
    ImageError::NoUpload { image: image.clone(), transfer: transfer.clone() }
}

/// The log up to its last mark, or an empty one. Whoever wrote to it before is shut out.
fn open_log(
    session: &Session,
    transfer: &TransferId,
    is_wanted: bool,
) -> Result<(PageLog, crate::image::page_log::Mark), ImageError> {
    let name = log_name(transfer);
    let objects = session.changed(Objects::find(&session.pool, &session.id, &name, 0))?;
    let failed = |error| tree_failed(&name, error);
    let found = if is_wanted { Found::read(&objects).map_err(failed)? } else { Found::default() };
    let mark = found.mark.clone();
    // A cut that takes effect later would remove what the next owner has written.
    let log = PageLog::adopt(Arc::new(objects), found).inspect_err(|_| session.doubt()).map_err(failed)?;
    Ok((log, mark))
}
