//! The commit of a staged snapshot: what is checked before it, and what will be recorded.
//!
//! The checks are made with the lock held, and those that a stranger can undo in spite of it are made once more when the
//! snapshot exists, see [`super::publish`].

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::catalog::{Catalog, Entry, Named};
use super::failure::failed;
use super::publish::{Committing, Step};
use super::record::{Intent, Layer, TEMPORARY, upload_key};
use super::session::Session;
use super::stage::is_owned;
use super::staging::{Phase, Staging, closed};
use super::store::Shared;
use super::tree::Tree;
use super::upload;
use crate::id::{ImageName, SnapshotName};
use crate::image::{Committed, ImageError, Sealed, StageRequest};

impl Staging {
    /// Commits what was flushed. Blocks.
    pub(super) fn commit(&self, sealed: &Sealed) -> Result<Committed, ImageError> {
        let _records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut phase = self.phase();
        let Phase::Flushed(session) = &*phase else { return Err(closed()) };
        let session = Arc::clone(session);
        let result = self.commit_with(&session, sealed);
        if let (Ok(Committed::New(_)), Some(_)) = (&result, &self.request.upload)
            && let Err(error) = self.finish_upload(&session)
        {
            tracing::debug!(%error, "leave the log of a finished transfer to the next one");
        }
        drop(session);
        if matches!(result, Ok(Committed::New(_)) | Err(ImageError::Unsure { .. }))
            && let Some(ending) = self.end(&mut phase)
        {
            drop(phase);
            ending.keep_tree().finish();
        }
        result
    }

    fn finish_upload(&self, session: &Session) -> Result<(), ImageError> {
        match session.get(&upload_key(&self.request.transfer))? {
            Some(there) => upload::finish(session, &there),
            None => Ok(()),
        }
    }

    fn commit_with(&self, session: &Session, sealed: &Sealed) -> Result<Committed, ImageError> {
        let image = session.image()?;
        if !image.is_lock_owner().map_err(failed)? {
            return Err(ImageError::Fenced);
        }
        let catalog = session.survey()?;
        if catalog.generation.number != self.generation {
            return Err(ImageError::Fenced);
        }
        is_owned(&catalog, &self.request)?;
        if catalog.is_given_up(&self.request.transfer) {
            // Whoever gave it up was told that nothing comes of it.
            return Err(ImageError::Fenced);
        }
        catalog.permits(&self.request, sealed)?;
        if let Some(there) = self.existing(session, &catalog)? {
            return repeated(there, &self.request, sealed);
        }
        self.check_base(&catalog)?;
        self.check_size(image)?;
        check_name(&catalog, &self.request)?;
        let intent = self.intent(session, &catalog, sealed);
        let after = |step| died(&self.shared, session, step);
        Committing { session, config: &self.shared.config, after: &after }.run(&catalog, intent)
    }

    /// The whole snapshot that has the id or the name already. One whose tree cannot be read is damaged, and may be
    /// replaced.
    fn existing<'a>(&self, session: &Session, catalog: &'a Catalog) -> Result<Option<&'a Entry>, ImageError> {
        let both = catalog.find(&self.request.snapshot).into_iter().chain(catalog.find_name(&self.request.name));
        for entry in both {
            if catalog.is_whole(entry) && Tree::is_sound(&session.pool, catalog, entry)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The base may have been deleted meanwhile, but its pages must be there and be the same.
    fn check_base(&self, catalog: &Catalog) -> Result<(), ImageError> {
        let Some(base) = &self.base else { return Ok(()) };
        let base = base.stored();
        let same = catalog.layer(&base.layer.name).is_some_and(|entry| entry.stored == *base);
        let complete = catalog.line(&base.layer.name).is_some();
        if same && complete {
            return Ok(());
        }
        Err(ImageError::BaseChanged {
            image: self.request.image.clone(),
            base: base.layer.record.snapshot.clone(),
            detail: "its record was changed during the transfer; repeat the request".to_owned(),
        })
    }

    fn intent(&self, session: &Session, catalog: &Catalog, sealed: &Sealed) -> Intent {
        let request = &self.request;
        let base = self.base.as_ref().map(|base| &base.stored().layer);
        let record = request.record(sealed, self.stored.load(Ordering::Relaxed));
        let layer = Layer {
            record,
            name: self.layer.clone(),
            parent: base.map(|base| base.name.clone()),
            tree: self.layer.clone(),
            tree_bytes: self.tree_bytes.load(Ordering::Acquire),
            pages: self.pages.load(Ordering::Acquire),
            limit: base.map_or(0, |base| base.record.size.min(request.size)),
            sequence: catalog.next_sequence(),
        };
        Intent { image: session.id.clone(), temporary: format!("{TEMPORARY}{}", self.layer), snapshot: None, layer }
    }
}

fn repeated(there: &Entry, request: &StageRequest, sealed: &Sealed) -> Result<Committed, ImageError> {
    let record = &there.stored.layer.record;
    if record.root != sealed.root || record.snapshot != request.snapshot {
        return Err(ImageError::Exists { snapshot: record.snapshot.clone(), root: record.root });
    }
    Ok(Committed::Already(record.clone()))
}

/// A snapshot of that name which rsnap did not make stays as it is.
pub(super) fn check_name(catalog: &Catalog, request: &StageRequest) -> Result<(), ImageError> {
    if catalog.named(&request.name) != Named::Foreign {
        return Ok(());
    }
    Err(name_taken(&request.image, &request.name))
}

pub(super) fn name_taken(image: &ImageName, name: &SnapshotName) -> ImageError {
    let detail = format!(
        "somebody else made a snapshot {name} of it; remove it (`rbd snap rm`) if it is not needed, or rename it"
    );
    ImageError::Foreign { image: image.clone(), detail }
}

#[cfg(not(test))]
fn died(_: &Shared, _: &Session, _: Step) -> Result<(), ImageError> {
    Ok(())
}

#[cfg(test)]
fn died(shared: &Shared, session: &Session, step: Step) -> Result<(), ImageError> {
    shared.deaths.strike(shared, session, step)
}
