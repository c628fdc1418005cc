//! Becoming the owner of a transfer that outlives its requests.
//!
//! Its owner has the image's lock, as every writer. A dead or stopped one is overtaken as every writer is. One that lives is
//! asked to end: by a claim in the metadata, which it reads whenever it makes progress durable and each second while it
//! waits for its sender. Whoever does not end within [`GRACE`] is blocklisted. Only the client that the transfer's record
//! names is treated so: another transfer in the same image is left alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::id::{ImageName, TransferId};
use crate::image::ImageError;
use crate::image::blocking::blocking;
use crate::image::rbd::clients::Company;
use crate::image::rbd::failure::failed;
use crate::image::rbd::fence::{self, Taken};
use crate::image::rbd::record::{Claim, GivenUp, Upload, claim_key, gone_key};
use crate::image::rbd::session::{BLOCKLIST, Session, seconds};
use crate::image::rbd::store::Shared;

/// How long an owner has to let go once it was asked.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 6 });
const LOOK: Duration = Duration::from_millis(50);

/// Whoever gave it up was told that nothing comes of it.
pub(super) fn refuse_given_up(session: &Session, transfer: &TransferId) -> Result<(), ImageError> {
    match is_given_up(session, transfer)? {
        true => Err(ImageError::NoUpload { image: session.name.clone(), transfer: transfer.clone() }),
        false => Ok(()),
    }
}

fn is_given_up(session: &Session, transfer: &TransferId) -> Result<bool, ImageError> {
    let gone: Option<GivenUp> = session.get(&gone_key(transfer))?;
    Ok(gone.is_some_and(|gone| gone.image == session.id))
}

/// Takes the image's lock for a transfer, from its owner if need be. Blocks.
pub(super) fn take(session: &Arc<Session>, patience: Duration, upload: &Upload) -> Result<Taken, ImageError> {
    match fence::take(session, patience) {
        Err(ImageError::Busy { .. }) => {}
        other => return other,
    }
    if !Company::look(session)?.owners.contains(&upload.owner) {
        // It may just have gone.
        return fence::take(session, patience);
    }
    refuse_given_up(session, &upload.request.transfer)?;
    let claim = Claim { image: session.id.clone(), by: session.address().to_owned() };
    session.set(&claim_key(&upload.request.transfer), &claim)?;
    let start = Instant::now();
    while start.elapsed() < GRACE {
        std::thread::sleep(LOOK);
        match fence::take(session, patience) {
            Err(ImageError::Busy { .. }) => {}
            other => return other,
        }
    }
    if Company::look(session)?.owners.contains(&upload.owner) {
        tracing::warn!(image = %session.name, owner = upload.owner, "take a transfer from an owner that does not let go");
        session.cluster.blocklist(&upload.owner, seconds(BLOCKLIST)).map_err(failed)?;
    }
    fence::take(session, patience).map(|_| Taken::Over)
}

/// Fails if somebody else wants the transfer, or if it was given up. Blocks.
pub(super) fn check(session: &Session, transfer: &TransferId) -> Result<(), ImageError> {
    let claim: Option<Claim> = session.get(&claim_key(transfer))?;
    match claim.filter(|claim| claim.image == session.id) {
        Some(claim) if claim.by != session.address() => Err(ImageError::Fenced),
        _ if is_given_up(session, transfer)? => Err(ImageError::Fenced),
        _ => Ok(()),
    }
}

/// Ends the transfer where this process itself has it.
pub(in crate::image::rbd) async fn overtake(shared: &Shared, image: &ImageName, transfer: &TransferId) {
    let Some(staging) = shared.writers.staging(image).filter(|there| there.request.transfer == *transfer) else {
        return;
    };
    staging.is_overtaken();
    let alone = tokio::time::timeout(GRACE, Arc::clone(&staging.writes).write_owned()).await;
    let ended = blocking(move || {
        let (_alone, is_stuck) = (alone.as_ref().ok(), alone.is_err());
        if let Some(session) = staging.session().filter(|_| is_stuck) {
            session.doubt();
        }
        let ending = staging.end(&mut staging.phase());
        if let Some(ending) = ending {
            ending.finish();
        }
        Ok(())
    });
    if let Err(error) = ended.await {
        tracing::warn!(%error, "leave an unfinished transfer to its next owner");
    }
}
