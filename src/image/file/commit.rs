//! The commit of a staged snapshot: what is checked, and the one rename that makes it visible.
//!
//! All of it runs with the lock on records held, so that the checks are still true at the rename.

use std::sync::atomic::Ordering;

use super::catalog::{Catalog, Entry};
use super::disk::{Lock, SyncPoint};
use super::failed;
use super::layout::{record_file, stem};
use super::overlay::Overlay;
use super::prove::{is_untouched, stamped};
use super::record::Stored;
use super::staged::{Phase, Staging, closed, is_owned};
use super::stamp::Stamp;
use super::store::deleted;
use crate::image::{Committed, ImageError, Sealed};

impl Staging {
    pub(super) fn commit(&self, sealed: &Sealed) -> Result<Committed, ImageError> {
        let mut phase = self.phase();
        let Phase::Flushed(locks) = &*phase else { return Err(closed()) };
        let records = self.directory.lock_records()?;
        self.check_fence(&locks.image)?;
        let catalog = Catalog::load(&self.directory)?;
        is_owned(&catalog, &self.request)?;
        if deleted(&self.directory, &self.request.snapshot)?.is_some_and(|deleted| deleted >= sealed.issued) {
            return Err(ImageError::Deleted { snapshot: self.request.snapshot.clone() });
        }
        if let Some(there) = self.existing(&catalog)? {
            return self.repeated(there, sealed);
        }
        self.check_base(&catalog)?;
        let stored = self.record(&catalog, sealed)?;
        let result = self.publish(&catalog, &stored);
        if matches!(result, Ok(_) | Err(ImageError::Unsure { .. })) {
            *phase = Phase::Ended;
        }
        drop(records);
        result
    }

    /// A writer that was overtaken finds another lock or other files under its names.
    fn check_fence(&self, lock: &Lock) -> Result<(), ImageError> {
        let is_ours =
            self.directory.is_lock(lock) && self.files().into_iter().all(|(name, file)| self.is_ours(name, file));
        match &self.owned {
            _ if !is_ours => Err(ImageError::Fenced),
            Some(owned) => owned.check(&self.directory),
            None => Ok(()),
        }
    }

    /// The whole snapshot that has the id or the name already. One whose tree cannot be read is damaged, and may be
    /// replaced.
    fn existing<'a>(&self, catalog: &'a Catalog) -> Result<Option<&'a Entry>, ImageError> {
        let both = catalog.find(&self.request.snapshot).into_iter().chain(catalog.find_name(&self.request.name));
        for entry in both {
            if catalog.is_whole(entry) && Overlay::is_sound(&self.directory, catalog, entry)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn repeated(&self, there: &Entry, sealed: &Sealed) -> Result<Committed, ImageError> {
        let record = &there.stored.record;
        if record.root != sealed.root || record.snapshot != self.request.snapshot {
            return Err(ImageError::Exists { snapshot: record.snapshot.clone(), root: record.root });
        }
        // Whoever committed it may have died before its name was durable.
        self.directory.sync_names(SyncPoint::RecordName)?;
        Ok(Committed::Already(record.clone()))
    }

    /// Every layer below must be there and have the stamps that the proof at the start saw.
    fn check_base(&self, catalog: &Catalog) -> Result<(), ImageError> {
        let Some(base) = &self.base else { return Ok(()) };
        for layer in &base.layers {
            let same = catalog.layer(&layer.stored.layer).is_some_and(|entry| entry.stored == layer.stored);
            if !same || !is_untouched(&self.directory, &layer.stored)? {
                return Err(ImageError::BaseChanged {
                    image: self.request.image.clone(),
                    base: layer.stored.record.snapshot.clone(),
                    detail: "it was written to during the transfer; repeat the request".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn record(&self, catalog: &Catalog, sealed: &Sealed) -> Result<Stored, ImageError> {
        let request = &self.request;
        let below = self.base.as_ref().and_then(Overlay::top);
        let record = request.record(sealed, self.stored.load(Ordering::Relaxed));
        let stored = Stored {
            record,
            layer: String::new(),
            parent: below.map(|below| below.layer.clone()),
            data: self.data_name.clone(),
            tree: self.tree_name.clone(),
            limit: below.map_or(0, |below| below.record.size.min(request.size)),
            sequence: catalog.next_sequence(),
            data_stamp: Stamp::default(),
            tree_stamp: Stamp::default(),
        };
        let stored = stamped(&self.directory, stored)?;
        // A later snapshot may get the same files' names; with the time of its data it cannot be taken for this one.
        let layer = format!("{}.{:x}", stem(&request.name, &request.transfer), stored.data_stamp.changed);
        Ok(Stored { layer, ..stored })
    }

    /// The commit point: the record gets its name.
    fn publish(&self, catalog: &Catalog, stored: &Stored) -> Result<Committed, ImageError> {
        let name = record_file(&self.request.name);
        let temporary = self.directory.prepare(&name, stored, SyncPoint::Record)?;
        let target = self.directory.file(&name);
        let committed = if catalog.files.contains(&name) {
            // What is there cannot be read, or has lost its data: a new snapshot may take its place.
            self.directory.disk.rename(&temporary, &target)
        } else {
            self.directory.disk.publish(&temporary, &target)
        };
        committed.map_err(failed(format!("create {name}")))?;
        match self.directory.sync_names(SyncPoint::RecordName) {
            Ok(()) => Ok(Committed::New(stored.record.clone())),
            Err(error) => Err(ImageError::Unsure { detail: error.to_string() }),
        }
    }
}
