//! Deleting a snapshot.
//!
//! A deletion changes records, as a transfer does, so it is fenced as one: by the image's lock, and by blocklisting whoever
//! had it and died or was stopped. A deleter that is stopped and wakes up later finds itself overtaken. Two cases are
//! different, so that nothing becomes undeletable. While this process writes the image, the deletion goes through the
//! transfer's own client, between its steps. And beside a virtual machine that has the image open, where no transfer can
//! begin, the lock stays where it is, see [`fence::enter_beside_strangers`].
//!
//! The tombstone comes first and names the layer: from then on the snapshot is deleted, whatever is cut short after it.

use std::sync::{Arc, PoisonError};

use rsnap_rbd::{Image, Kind, Snapshot};

use super::collect::collect;
use super::failure::other;
use super::fence;
use super::publish::recover;
use super::record::{Stored, TEMPORARY, deleted_key, layer_key, snapshot_key};
use super::session::Session;
use super::staging::Staging;
use super::store::Shared;
use super::upload;
use crate::id::{ImageName, SnapshotId};
use crate::image::ImageError;
use crate::image::record::Tombstone;

impl Shared {
    /// Blocks.
    pub(super) fn delete(&self, name: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        let survey = self.survey(name)?.ok_or_else(|| missing(name, snapshot))?;
        survey.catalog.find(snapshot).ok_or_else(|| missing(name, snapshot))?;
        loop {
            if let Some(claim) = self.writers.claim(name, self.config.timeout.0) {
                claim.is_closing();
                return self.delete_alone(name, snapshot);
            }
            let staging = self.writers.staging(name).ok_or_else(|| ImageError::Busy { image: name.clone() })?;
            // One that has just ended closes the image.
            if let Some(deleted) = self.delete_through(&staging, snapshot) {
                return deleted;
            }
        }
    }

    fn delete_alone(&self, name: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        let session = Arc::new(Session::open(self, name, None)?);
        let is_alone = self.enter(&session)?;
        recover(&session, &self.config, session.survey()?)?;
        self.hide(&session, snapshot)?;
        if is_alone && let Err(error) = collect(&session, &self.readers, session.survey()?, None) {
            tracing::debug!(image = %name, %error, "keep what a deleted snapshot has left until the next transfer");
        }
        Ok(())
    }

    /// True: with the lock.
    pub(super) fn enter(&self, session: &Arc<Session>) -> Result<bool, ImageError> {
        if session.has_lock_feature()? {
            match fence::take(session, self.patience) {
                Err(ImageError::InUse { .. }) => {}
                other => return other.map(|_| true),
            }
        }
        fence::enter_beside_strangers(session).map(|()| false)
    }

    /// Through the client of a transfer of this process. `None`: it has ended.
    fn delete_through(&self, staging: &Staging, snapshot: &SnapshotId) -> Option<Result<(), ImageError>> {
        let _records = staging.records.lock().unwrap_or_else(PoisonError::into_inner);
        let session = staging.session()?;
        Some(self.hide(&session, snapshot))
    }

    /// Makes a snapshot invisible, for good.
    pub(super) fn hide(&self, session: &Session, snapshot: &SnapshotId) -> Result<(), ImageError> {
        let catalog = session.survey()?;
        let stored = &catalog.find(snapshot).ok_or_else(|| missing(&session.name, snapshot))?.stored;
        let layer = &stored.layer;
        let there = catalog.snapshot(stored.snapshot);
        let uploads = catalog.uploads().filter(|upload| upload.request.snapshot == *snapshot);
        let uploads = uploads.filter(|upload| catalog.committed(upload).is_some());
        let uploads: Vec<_> = uploads.map(|upload| upload.request.transfer.clone()).collect();
        if let Some(there) = there.filter(|there| there.protected) {
            unprotect(session, session.image()?, &there.name)?;
        }
        session.set(&deleted_key(snapshot), &Tombstone::now(snapshot).of_layer(&layer.name))?;
        for transfer in uploads {
            upload::give_up(session, &transfer)?;
        }
        session.set(&layer_key(&layer.name), stored)?;
        session.unset(&snapshot_key(&layer.record.name))?;
        match there.map_or(Ok(()), |there| self.remove_snapshot(session, stored, there)) {
            Err(ImageError::Fenced) => return Err(ImageError::Fenced),
            Err(error) => {
                tracing::warn!(image = %session.name, %snapshot, %error, "put off removing a deleted snapshot")
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// The RBD snapshot of a deleted snapshot goes at once. While this process reads it, it only gives its name free.
    fn remove_snapshot(&self, session: &Session, stored: &Stored, there: &Snapshot) -> Result<(), ImageError> {
        let layer = &stored.layer;
        if !self.readers.are_reading(&session.name, &layer.record.snapshot) {
            return session.remove_snapshot(stored.snapshot);
        }
        let away = format!("{TEMPORARY}deleted.{}", layer.name);
        match session.image()?.rename_snapshot(&there.name, &away) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => session.changed(other),
        }
    }
}

fn missing(image: &ImageName, snapshot: &SnapshotId) -> ImageError {
    ImageError::NotFound { image: image.clone(), snapshot: snapshot.clone() }
}

/// Before anything is changed: a snapshot that has clones cannot go.
fn unprotect(session: &Session, image: &Image, name: &str) -> Result<(), ImageError> {
    match image.unprotect(name) {
        Err(error) if error.kind() == Kind::Busy => Err(other(
            format!("delete snapshot {name}"),
            "there are clones of it; flatten or remove them (`rbd children` lists them)",
        )),
        other => session.changed(other),
    }
}
