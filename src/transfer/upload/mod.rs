//! Uploads: transfers that are made of several requests, through any gateway, over days.
//!
//! An upload is a set of ranges of the image that are durable, and the words it was begun with; both lie in the storage.
//! A request adds one piece. Pieces come one after another (plain bytes, each from where the last one ended) or side by
//! side (changes of a range each), and the last request asks for the commit. What a gateway keeps in memory is what its
//! running requests need, so ten thousand idle uploads cost it nothing, and the next request may go to another one.
//!
//! A stream of `rbd export-diff` cannot be taken up in its middle: its place there is no place in the image, and the
//! program that makes it cannot begin there. So a piece is always a range of the image, and changes within a range are
//! a stream of their own. An offset into such a stream, with the decoder's state beside it, was refused.
//!
//! | file | subject |
//! |---|---|
//! | `note` | the words in the storage |
//! | `create`, `complete` | the first request and the last |
//! | `open` | what the requests of one upload share while they run |
//! | `append`, `window` | one piece, and how much of it may be lost |

mod append;
mod complete;
mod create;
mod note;
mod open;
#[cfg(test)]
mod schedules;
mod window;

pub use append::Claims;
pub(super) use open::Uploads;

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::{TransferError, Transfers};
use crate::id::{SnapshotId, TransferId, VolumeId};
use crate::image::{Committed, Identity, ImageError, Ranges, SnapshotRecord, UploadRecord};
use note::Note;

/// Names one upload. The snapshot and its volume are part of its name: a permission for them is one for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId {
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    pub transfer: TransferId,
}

/// What the first request led to.
#[derive(Debug)]
pub enum Created {
    Upload(UploadId),
    /// The snapshot is there already with this content.
    Present(Committed),
}

/// What one request adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the image from `offset` on, which is where all before is there.
    Bytes { offset: u64 },
    /// What differs in a range from the base, or from nothing: a stream as `rbd export-diff` writes it, for the whole
    /// image's size, with no extent outside of the range. The range begins and ends with a block, or with the image.
    Changes { range: Range<u64> },
}

/// An upload as it stands.
#[derive(Debug, Clone)]
pub struct UploadState {
    pub id: UploadId,
    /// Bytes of the image.
    pub size: u64,
    pub base: Option<SnapshotId>,
    pub source: Identity,
    /// What is durable.
    pub durable: Ranges,
    pub touched: SystemTime,
    /// The snapshot, once it is finished.
    pub committed: Option<SnapshotRecord>,
    /// What its client wants to be given back.
    pub metadata: Option<String>,
}

impl UploadState {
    /// How far the image is there from its beginning.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.durable.end_from(0)
    }

    /// Whether all of it is there, and nobody has asked for the commit, or heard of one.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.committed.is_none() && self.offset() == self.size
    }

    /// `None`: a newer gateway began it, in words that this one does not know. The others are not hidden for that.
    fn read(record: UploadRecord) -> Option<Self> {
        let UploadRecord { request, durable, touched, committed, .. } = record;
        let note = Note::read(&request).inspect_err(|error| tracing::warn!(%error, "pass over an upload")).ok()?;
        let id = UploadId { volume: request.volume, snapshot: request.snapshot, transfer: request.transfer };
        let Note { source, metadata, .. } = note;
        Some(Self { id, size: request.size, base: request.base, source, durable, touched, committed, metadata })
    }
}

impl Transfers {
    /// The uploads of a snapshot: unfinished ones, and those that were finished not long ago.
    pub async fn uploads(&self, volume: &VolumeId, snapshot: &SnapshotId) -> Result<Vec<UploadState>, TransferError> {
        let (store, image) = self.locate(volume).await?;
        let records = store.uploads(&image).await?;
        let wanted = |record: &UploadRecord| record.request.snapshot == *snapshot && record.request.volume == *volume;
        Ok(records.into_iter().filter(wanted).filter_map(UploadState::read).collect())
    }

    /// One upload. Bytes that are still being received for it are ended first, so that what is told stays true.
    pub async fn upload(&self, id: &UploadId) -> Result<UploadState, TransferError> {
        self.uploads.settle(&id.transfer).await;
        let found = self.uploads(&id.volume, &id.snapshot).await?;
        match found.into_iter().find(|state| state.id == *id) {
            Some(state) => Ok(state),
            None => {
                let (_, image) = self.locate(&id.volume).await?;
                Err(ImageError::NoUpload { image, transfer: id.transfer.clone() }.into())
            }
        }
    }

    /// Bytes of the image of an upload.
    pub async fn upload_size(&self, id: &UploadId) -> Result<u64, TransferError> {
        let found = self.uploads(&id.volume, &id.snapshot).await?;
        match found.iter().find(|state| state.id == *id) {
            Some(state) => Ok(state.size),
            None => self.upload(id).await.map(|state| state.size),
        }
    }

    /// How long an upload stays that nobody works on.
    #[must_use]
    pub fn upload_age(&self) -> Duration {
        self.upload_age
    }

    /// Gives up what was abandoned, by the clock that says it is `now`; tells how many uploads. A store that does not
    /// answer is asked again next time.
    pub async fn expire_uploads(&self, now: SystemTime) -> u64 {
        let Some(before) = now.checked_sub(self.upload_age) else { return 0 };
        let mut expired = 0;
        for (name, store) in &self.stores {
            match store.expire(before).await {
                Ok(count) => expired += count,
                Err(error) => tracing::warn!(store = %name, %error, "put off giving up abandoned uploads"),
            }
        }
        self.registry.expired(expired);
        expired
    }

    /// What was begun of a snapshot that is there now is of no use to anybody.
    pub(super) async fn drop_uploads(&self, volume: &VolumeId, snapshot: &SnapshotId) {
        for there in self.uploads(volume, snapshot).await.unwrap_or_default() {
            if there.committed.is_none()
                && let Err(error) = self.cancel(&there.id).await
            {
                tracing::debug!(transfer = %there.id.transfer, %error, "leave a needless upload until it expires");
            }
        }
    }

    /// Gives an upload up and frees its space.
    pub async fn cancel(&self, id: &UploadId) -> Result<(), TransferError> {
        let state = self.upload(id).await?;
        self.uploads.end(&id.transfer).await;
        let (store, image) = self.locate(&state.id.volume).await?;
        Ok(store.discard(&image, &id.transfer).await?)
    }
}
