//! The image store: what rsnap asks of a block storage that keeps volumes and their snapshots.
//!
//! One trait for files, Ceph RBD, object stores, a memory model and a decorator that fails on demand, so that the rules of data
//! safety are written once, above it, and the same tests run on all. The unit is the block (1 MiB) with a map of the
//! 4 KiB grains that count: a store sees aligned buffers only, and how a stranger cut his stream does not reach it.
//! Byte-granular writes were refused: each store would have to repair unaligned edges, each a little differently.
//!
//! The order is fixed by types: [`StagedImage::commit`] wants a [`Durable`], and only [`StagedImage::flush`] makes one.

mod block;
mod blocking;
#[cfg(test)]
mod cases;
mod discard;
mod fault;
mod file;
mod ingest;
#[cfg(test)]
mod ingest_tests;
mod inspection;
mod memory;
mod mend;
mod objects;
mod page_log;
mod presence;
mod ranges;
mod rbd;
mod readers;
mod record;
mod sidecar;
mod tee;
mod upload;
mod verified;

pub use discard::DiscardStore;
pub use fault::{Fault, FaultStore, Moment, Operation};
pub use file::FileStore;
pub use ingest::{Ingest, Ingested};
pub use inspection::{Damage, Inspection};
pub use memory::MemoryStore;
pub use mend::{Mending, ProvenLeaves};
pub use objects::{ObjectsConfig, ObjectsStore};
pub use ranges::{Ranges, RangesError};
pub use rbd::{RbdConfig, RbdStore};
pub use tee::TeeStore;
pub use upload::{UploadImage, UploadRecord};
pub use verified::Verified;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::buffer::BlockBuffer;
use crate::content::{GrainMap, Page, PageSink, PageSource, Root};
use crate::id::{ImageName, SnapshotId, SnapshotName, SourceMark, TransferId, VolumeId};

/// Where a snapshot's content came from, recorded at its commit. Names are those of the source site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The source's volume id, when the sender gave it.
    pub source_volume: Option<String>,
    /// The source's snapshot id or name (the `t` record of an rbd-diff stream), when the sender gave it.
    pub source_snapshot: Option<String>,
    /// The mark of the content at the source, where the source has such marks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mark: Option<SourceMark>,
    /// Who sent it with that mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked_by: Option<String>,
}

impl Identity {
    /// Whether `mark` proves this content to `sender`. Nobody can check a mark, so it is the word of whoever gave it: it
    /// proves that the same sender means the same content, and to others nothing.
    #[must_use]
    pub fn has_mark(&self, mark: Option<&SourceMark>, sender: Option<&str>) -> bool {
        mark.is_some() && self.source_mark.as_ref() == mark && sender.is_some() && self.marked_by.as_deref() == sender
    }
}

/// A committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRecord {
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    /// The name in the storage.
    pub name: SnapshotName,
    /// Size of the volume at this snapshot, in bytes.
    pub size: u64,
    pub root: Root,
    pub identity: Identity,
    /// The snapshot that this one was sent as a change of; `None` for a full one.
    pub base: Option<SnapshotId>,
    /// Milliseconds since the Unix epoch, by the clock of the gateway that committed.
    pub created_ms: u64,
    /// Bytes that the transfer wrote to storage (without holes).
    pub stored: u64,
}

/// The snapshots of one volume in the order of their commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    pub snapshots: Vec<SnapshotRecord>,
    /// Snapshots whose record is there but whose data is not whole any more: never offered, never a base.
    pub damaged: Vec<SnapshotName>,
}

impl Chain {
    #[must_use]
    pub fn find(&self, snapshot: &SnapshotId) -> Option<&SnapshotRecord> {
        self.snapshots.iter().find(|record| record.snapshot == *snapshot)
    }
}

/// What [`ImageStore::stage`] is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    pub transfer: TransferId,
    /// The volume that owns the image: an image that belongs to another volume is refused.
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    pub image: ImageName,
    pub name: SnapshotName,
    /// Size of the volume at the new snapshot, in bytes; may differ from the base's.
    pub size: u64,
    /// The committed snapshot that the new one starts from; `None`: from nothing but zeroes.
    pub base: Option<SnapshotId>,
    /// For a transfer that shall outlive its requests: words that its next owner will want to read. Such a transfer is
    /// not cleared away when its owner is gone.
    pub upload: Option<String>,
}

impl StageRequest {
    /// What is recorded of the snapshot when it is committed; `stored` are the bytes that the transfer wrote.
    fn record(&self, sealed: &Sealed, stored: u64) -> SnapshotRecord {
        SnapshotRecord {
            volume: self.volume.clone(),
            snapshot: self.snapshot.clone(),
            name: self.name.clone(),
            size: self.size,
            root: sealed.root,
            identity: sealed.identity.clone(),
            base: self.base.clone(),
            created_ms: record::milliseconds(sealed.created),
            stored,
        }
    }
}

/// What the transfer knows at the commit and the store does not.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub root: Root,
    pub identity: Identity,
    pub created: SystemTime,
    /// When the transfer was permitted: what was deleted since is not made again.
    pub issued: SystemTime,
}

/// Proof that everything written to a staged image is on stable storage. Only a store's flush can make one.
#[derive(Debug)]
pub struct Durable(());

impl Durable {
    pub(in crate::image) fn new() -> Self {
        Self(())
    }
}

/// How a commit ended: both are success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// The snapshot is there now.
    New(SnapshotRecord),
    /// The same content was there already (a repeated request after a lost answer).
    Already(SnapshotRecord),
}

impl Committed {
    #[must_use]
    pub fn record(&self) -> &SnapshotRecord {
        match self {
            Self::New(record) | Self::Already(record) => record,
        }
    }
}

/// A storage that keeps images with snapshots. All methods may be called from many tasks at once.
#[async_trait]
pub trait ImageStore: Send + Sync + fmt::Debug {
    /// The committed snapshots of an image; empty for an image that is not there.
    async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError>;

    /// Makes durable what [`ImageStore::chain`] shows: whoever committed it may have died between the commit and its
    /// flush. Then looks whether the snapshot's tree can be read: false means that it may be sent again. Wanted before a
    /// snapshot that was found there is answered as a success.
    async fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError>;

    /// Opens an image for one new snapshot. Fails with [`ImageError::Busy`] while another transfer has it open, and
    /// with [`ImageError::BaseMissing`] or [`ImageError::BaseChanged`] unless the base is there and provably as it
    /// was committed. Clears what a dead predecessor left.
    async fn stage(&self, request: StageRequest) -> Result<Arc<dyn StagedImage>, ImageError>;

    /// Whether [`StageRequest::upload`] is understood.
    fn is_resumable(&self) -> bool {
        false
    }

    /// Becomes the owner of an unfinished transfer. Who was it before is asked to end, and not waited for beyond some
    /// seconds. [`ImageError::NoUpload`] when there is none, or when it is finished.
    async fn resume(&self, image: &ImageName, transfer: &TransferId) -> Result<Arc<dyn UploadImage>, ImageError> {
        Err(ImageError::NoUpload { image: image.clone(), transfer: transfer.clone() })
    }

    /// The unfinished transfers of an image, and those that were finished not long ago.
    async fn uploads(&self, _image: &ImageName) -> Result<Vec<UploadRecord>, ImageError> {
        Ok(Vec::new())
    }

    /// Gives up an unfinished transfer, whoever owns it, and frees its space. One that is not there is as good.
    async fn discard(&self, _image: &ImageName, _transfer: &TransferId) -> Result<(), ImageError> {
        Ok(())
    }

    /// Gives up the unfinished transfers that nobody has worked on since `before`, in all images, and those whose records
    /// cannot be believed; tells how many. One that somebody works on by now stays.
    async fn expire(&self, _before: SystemTime) -> Result<u64, ImageError> {
        Ok(0)
    }

    /// Opens a committed snapshot for reading.
    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError>;

    /// Opens a committed snapshot to get damaged bytes back, as long as no transfer has its image. Fails with
    /// [`ImageError::Unmendable`] where committed snapshots cannot be written at all.
    async fn mend(&self, _image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn Mending>, ImageError> {
        let detail = "the store does not keep it in a form that can be written".to_owned();
        Err(ImageError::Unmendable { snapshot: snapshot.clone(), detail })
    }

    /// Deletes a committed snapshot. The others stay byte for byte what they were. Remembers the moment, see
    /// [`ImageStore::deleted`]. Deleting what is not there is [`ImageError::NotFound`].
    async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError>;

    /// When the snapshot was last deleted, if it was and the store still remembers (at least seven days):
    /// a ticket issued before that moment must not make it again.
    async fn deleted(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError>;

    /// Whether only this process can see the store (memory): such a store cannot be behind a shared address.
    fn is_private(&self) -> bool;

    /// What tells this store from every other one, and is the same for all gateways that see it; `None` when the store
    /// cannot tell.
    async fn identity(&self) -> Result<Option<String>, ImageError> {
        Ok(None)
    }

    /// Removes what the store has kept for images that others have removed, and tells how many pieces. Safe beside
    /// everything else, and may take long: it looks at all there is.
    async fn sweep(&self) -> Result<u64, ImageError> {
        Ok(0)
    }

    /// Free bytes for new data, where the storage can tell.
    async fn free_bytes(&self) -> Result<Option<u64>, ImageError>;
}

/// A committed snapshot, open for reading. As a [`PageSource`] it gives the pages of its own content tree.
#[async_trait]
pub trait SnapshotImage: PageSource<Error = ImageError> + fmt::Debug {
    fn record(&self) -> &SnapshotRecord;

    /// Several pages of one level at once, in the order asked for: stores whose calls cost more than their reads do
    /// them in one.
    async fn pages(&self, level: u8, indices: &[u64]) -> Result<Vec<Page>, ImageError> {
        let mut pages = Vec::with_capacity(indices.len());
        for index in indices {
            pages.push(self.page(level, *index).await?);
        }
        Ok(pages)
    }

    /// Fills the `wanted` grains of `buffer` with those of block number `block`; zero past the end of the image.
    async fn read(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError>;
}

/// An image open for one new snapshot. Nothing of it is visible before [`StagedImage::commit`].
///
/// As a [`PageSink`] it takes the new snapshot's tree. A block is written or zeroed before its page of level 1 is put.
/// Dropped without commit, it clears what it staged as [`StagedImage::abort`] does.
#[async_trait]
pub trait StagedImage: PageSink<Error = ImageError> + fmt::Debug {
    /// Size of the new snapshot, in bytes.
    fn size(&self) -> u64;

    /// The base, open for reading; `None` for a full snapshot.
    fn base(&self) -> Option<Arc<dyn SnapshotImage>>;

    /// Stores the `present` grains of `buffer` as those of block number `block`. Each block at most once; many at a
    /// time and in any order. Done means taken by the storage, not durable. Grains of zeroes become holes.
    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError>;

    /// As [`StagedImage::write`] with a buffer of zeroes, at no cost in data.
    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError>;

    /// Blocks that the storage takes at once with profit, should nobody else need the buffers. Zero: a transfer's own share
    /// is enough.
    fn appetite(&self) -> usize {
        0
    }

    /// Makes all that was written, zeroed and put durable.
    async fn flush(&self) -> Result<Durable, ImageError>;

    /// Makes the snapshot visible, in one step. If the snapshot is there by now, equal content is success and other
    /// content is [`ImageError::Exists`]; if it was deleted since the transfer was permitted, [`ImageError::Deleted`]. After an error nothing is visible that was not before, except after
    /// [`ImageError::Unsure`].
    async fn commit(&self, durable: Durable, sealed: Sealed) -> Result<Committed, ImageError>;

    /// Gives up: frees what was staged. Safe to repeat; without effect after a commit.
    async fn abort(&self);

    /// The same image as one that outlives its requests, when it was asked for as such.
    fn upload(self: Arc<Self>) -> Option<Arc<dyn UploadImage>> {
        None
    }
}

/// What can go wrong in a store. The text is for operators; nothing in it is secret.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("there is no snapshot {snapshot} in image {image}")]
    NotFound { image: ImageName, snapshot: SnapshotId },
    #[error("image {image} has no unfinished transfer {transfer}")]
    NoUpload { image: ImageName, transfer: TransferId },
    #[error("what is known of the unfinished transfer {transfer} in image {image} cannot be believed: {detail}")]
    UploadDamaged { image: ImageName, transfer: TransferId, detail: String },
    #[error("image {image} is being written, by another transfer or by somebody who has it open")]
    Busy { image: ImageName },
    #[error("image {image} is in use: {by}; then repeat the request")]
    InUse { image: ImageName, by: String },
    #[error("image {image} belongs to volume {owner}")]
    NotOwned { image: ImageName, owner: VolumeId },
    #[error("image {image} holds what rsnap did not make: {detail}")]
    Foreign { image: ImageName, detail: String },
    #[error("the base snapshot {base} is not in image {image}")]
    BaseMissing { image: ImageName, base: SnapshotId },
    #[error("the base snapshot {base} in image {image} is not what was committed: {detail}")]
    BaseChanged { image: ImageName, base: SnapshotId, detail: String },
    #[error("snapshot {snapshot} was deleted after this transfer was permitted")]
    Deleted { snapshot: SnapshotId },
    #[error("snapshot {snapshot} exists with other content ({root})")]
    Exists { snapshot: SnapshotId, root: Root },
    #[error("the storage is full: {detail}")]
    Full { detail: String },
    #[error("stored data of snapshot {snapshot} is damaged at byte {offset}: {detail}")]
    Damaged { snapshot: SnapshotId, offset: u64, detail: String },
    #[error("the bytes from {offset} on are not what was committed: expected {expected}, found {found}")]
    Unproven { offset: u64, expected: String, found: String },
    #[error("snapshot {snapshot} cannot be mended in place: {detail}")]
    Unmendable { snapshot: SnapshotId, detail: String },
    #[error(
        "the extent of {length} bytes at {offset} is not between the end of the one before ({position}) and the end of \
         the image ({size})"
    )]
    Extent { offset: u64, length: u64, position: u64, size: u64 },
    #[error("this transfer was overtaken by another one and may not write any more")]
    Fenced,
    #[error("the image cannot hold {size} bytes: {detail}")]
    Size { size: u64, detail: String },
    #[error("it is not known whether the commit took effect ({detail}); repeat the request")]
    Unsure { detail: String },
    #[error("could not {action}: {source}")]
    Io { action: String, source: std::io::Error },
}
