//! Unfinished transfers seen from outside: what there is, and giving one up.
//!
//! To give one up is to say so in the metadata: anybody may, at any time. From then on it is not there any more, and its
//! owner ends. What it has left is removed by whoever has the lock next.

use std::sync::Arc;
use std::time::Duration;

use super::progress::newest;
use crate::id::{ImageName, TransferId};
use crate::image::rbd::catalog::Catalog;
use crate::image::rbd::collect::collect;
use crate::image::rbd::fence;
use crate::image::rbd::head;
use crate::image::rbd::objects::Objects;
use crate::image::rbd::publish::recover;
use crate::image::rbd::record::{GivenUp, Upload, Whereabouts, claim_key, gone_key, log_name, upload_key};
use crate::image::rbd::session::Session;
use crate::image::rbd::store::{Shared, Survey};
use crate::image::{ImageError, Ranges, UploadRecord};

impl Shared {
    /// Blocks.
    pub(in crate::image::rbd) fn uploads(&self, name: &ImageName) -> Result<Vec<UploadRecord>, ImageError> {
        let Some(Survey { pool, catalog }) = self.survey(name)? else { return Ok(Vec::new()) };
        let there = catalog.uploads().filter(|upload| !upload.is_finished || catalog.committed(upload).is_some());
        there.map(|upload| Ok(describe(&catalog, &newest(&pool, upload)?))).collect()
    }

    /// Gives a transfer up. False: nothing is known of it. Blocks.
    pub(in crate::image::rbd) fn give_up(&self, name: &ImageName, transfer: &TransferId) -> Result<bool, ImageError> {
        let Some(survey) = self.survey(name)? else { return Ok(false) };
        if !survey.catalog.knows(transfer) {
            return Ok(false);
        }
        match self.writers.staging(name).and_then(|staging| staging.session()) {
            Some(session) => give_up(&session, transfer)?,
            None => give_up(&Session::open(self, name, None)?, transfer)?,
        }
        Ok(true)
    }

    /// Removes what a transfer has left, if nobody has the image; else the next one does. Blocks.
    pub(in crate::image::rbd) fn clear_away(&self, name: &ImageName, transfer: &TransferId) -> Result<(), ImageError> {
        match self.try_to_clear(name, transfer) {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(image = %name, %error, "keep what a transfer has left until the next one");
            }
        }
        Ok(())
    }

    fn try_to_clear(&self, name: &ImageName, transfer: &TransferId) -> Result<(), ImageError> {
        self.alone(name, |session, catalog| self.clear(session, catalog, std::slice::from_ref(transfer)))
    }

    /// Does something to an image that nobody has, as a writer would. Blocks.
    pub(super) fn alone<T>(
        &self,
        name: &ImageName,
        work: impl FnOnce(&Session, Catalog) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        let claim = self.claim(name)?;
        claim.is_closing();
        let session = Arc::new(Session::open(self, name, None)?);
        session.require_features()?;
        fence::take(&session, self.patience)?;
        let catalog = recover(&session, &self.config, session.survey()?)?;
        work(&session, catalog)
    }

    /// Removes what transfers have left that were given up, and gives the head's space back if one of them had it.
    pub(super) fn clear(
        &self,
        session: &Session,
        catalog: Catalog,
        transfers: &[TransferId],
    ) -> Result<(), ImageError> {
        let was_in_head = transfers.iter().any(|transfer| catalog.has_in_head(transfer));
        let catalog = collect(session, &self.readers, catalog, None)?;
        // By now another one may have it.
        if was_in_head && catalog.in_head().is_none() { empty(session, &catalog) } else { Ok(()) }
    }
}

/// Gives the space of a head back that nobody needs.
fn empty(session: &Session, catalog: &Catalog) -> Result<(), ImageError> {
    let newest = catalog.chain().snapshots.pop();
    match newest {
        Some(record) => head::roll_back(session, record.name.as_str()),
        None if catalog.snapshots.is_empty() => head::clear(session, 0),
        None => Ok(()),
    }
}

fn describe(catalog: &Catalog, upload: &Upload) -> UploadRecord {
    let committed = catalog.committed(upload).map(|entry| entry.stored.layer.record.clone());
    let whole = |size| Ranges::try_from(vec![(0, size)]).unwrap_or_default();
    UploadRecord {
        request: upload.request.clone(),
        generation: upload.generation,
        durable: committed.as_ref().map_or_else(|| upload.durable.clone(), |record| whole(record.size)),
        touched: std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(upload.touched_ms),
        committed,
    }
}

/// From now on the transfer is not there any more. Blocks.
pub(in crate::image::rbd) fn give_up(session: &Session, transfer: &TransferId) -> Result<(), ImageError> {
    session.set(&gone_key(transfer), &GivenUp { image: session.id.clone() })
}

/// Removes what a transfer has left that was given up, and last that it was. Wants the lock. Blocks.
pub(in crate::image::rbd) fn remove(session: &Session, transfer: &TransferId) -> Result<(), ImageError> {
    remove_log(session, transfer)?;
    session.unset(&upload_key(transfer))?;
    session.unset(&claim_key(transfer))?;
    session.unset(&gone_key(transfer))
}

/// Removes what nobody needs of a transfer that is finished. Its record stays: whoever missed the answer will ask. Wants
/// the lock. Blocks.
pub(in crate::image::rbd) fn finish(session: &Session, upload: &Upload) -> Result<(), ImageError> {
    let transfer = &upload.request.transfer;
    remove_log(session, transfer)?;
    let finished = Upload { data: Whereabouts::Nowhere, is_finished: true, ..upload.clone() };
    session.set(&upload_key(transfer), &finished)?;
    session.unset(&claim_key(transfer))
}

fn remove_log(session: &Session, transfer: &TransferId) -> Result<(), ImageError> {
    session.changed(Objects::new(&session.pool, &session.id, &log_name(transfer), 0).remove())
}
