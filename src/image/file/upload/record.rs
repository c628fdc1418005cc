//! `<transfer>.upload`: who owns an unfinished transfer, and in which files it grows.

use std::io;

use serde::{Deserialize, Serialize};

use crate::id::TransferId;
use crate::image::file::catalog::{Catalog, Entry};
use crate::image::file::disk::SyncPoint;
use crate::image::file::failed;
use crate::image::file::layout::{ImageDirectory, UPLOAD, read_small, stem};
use crate::image::record::{Body, RecordFault, unseal};
use crate::image::{ImageError, StageRequest};

/// Changes only when the transfer gets another owner; how far it is stands in the log that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::image::file) struct Owned {
    pub request: StageRequest,
    /// Counts the owners. A log or a file that another record named does not count.
    pub generation: u64,
    /// File name of the data.
    pub data: String,
    /// File name of the log.
    pub log: String,
}

impl Body for Owned {
    const KIND: &'static str = "upload";
}

pub(in crate::image::file) fn upload_file(transfer: &TransferId) -> String {
    format!("{transfer}{UPLOAD}")
}

/// As [`unseal`], for a record that also names other files.
pub(in crate::image::file) fn unseal_owned(bytes: &[u8]) -> Result<Owned, RecordFault> {
    let owned: Owned = unseal(bytes)?;
    let plain = |name: &String| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    if plain(&owned.data) && plain(&owned.log) { Ok(owned) } else { Err(RecordFault::Form) }
}

impl Owned {
    /// Reads the record; `None` when there is none.
    pub(in crate::image::file) fn read(
        directory: &ImageDirectory,
        transfer: &TransferId,
    ) -> Result<Option<Self>, ImageError> {
        let name = upload_file(transfer);
        let bytes = match read_small(directory.disk.as_ref(), &directory.file(&name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed(format!("read {name}")))?,
        };
        let owned = unseal_owned(&bytes).map_err(|fault| ImageError::UploadDamaged {
            image: directory.image.clone(),
            transfer: transfer.clone(),
            detail: fault.to_string(),
        })?;
        Ok(Some(owned))
    }

    /// Puts the record in its place. Wants the lock on records.
    pub(in crate::image::file) fn write(&self, directory: &ImageDirectory) -> Result<(), ImageError> {
        let name = upload_file(&self.request.transfer);
        let temporary = directory.prepare(&name, self, SyncPoint::UploadRecord)?;
        let renamed = directory.disk.rename(&temporary, &directory.file(&name));
        renamed.map_err(failed(format!("replace {name}")))?;
        directory.sync_names(SyncPoint::UploadName)
    }

    /// Fails unless this is still what the storage says.
    pub(in crate::image::file) fn check(&self, directory: &ImageDirectory) -> Result<(), ImageError> {
        match Self::read(directory, &self.request.transfer)? {
            Some(now) if now == *self => Ok(()),
            _ => Err(ImageError::Fenced),
        }
    }

    /// The snapshot that came of the transfer.
    pub(in crate::image::file) fn committed<'c>(&self, catalog: &'c Catalog) -> Option<&'c Entry> {
        let layer = format!("{}.", stem(&self.request.name, &self.request.transfer));
        catalog.find(&self.request.snapshot).filter(|entry| entry.stored.layer.starts_with(&layer))
    }

    /// Its snapshot was committed, which has removed the log, and deleted since.
    pub(in crate::image::file) fn is_over(&self, catalog: &Catalog) -> bool {
        self.committed(catalog).is_none() && !catalog.files.contains(&self.log)
    }
}
