//! A transfer: one snapshot on its way through plan, stage, ingest, flush and commit.
//!
//! Knows no HTTP status, no librbd, no etcd.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::api::{PlanAnswer, PlanRequest};
use crate::content::Root;
use crate::id::{SiteName, SnapshotId, TransferId, VolumeId};
use crate::image::{Chain, Committed, ImageError, SnapshotImage};
use crate::plugin::{PluginError, Site};

/// How the bytes of an upload are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The image itself; its size is the declared one.
    Raw,
    /// `rbd export-diff`, version 1.
    RbdDiff,
}

/// What a sender claims of the base of an incremental stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseClaim {
    /// The target's snapshot; `None`: found by the name in the stream.
    pub snapshot: Option<SnapshotId>,
    /// Its content root as the source knows it.
    pub root: Option<Root>,
}

/// Everything that is known about an upload before its first byte.
#[derive(Debug, Clone)]
pub struct Upload {
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    pub format: Format,
    /// Length of the body, when declared.
    pub length: Option<u64>,
    /// Largest image that the permission allows, in bytes; for a raw stream the exact size.
    pub size: Option<u64>,
    pub base: BaseClaim,
    /// The content root that the result must have, when the sender knows it at the start.
    pub root: Option<Root>,
    pub source_volume: Option<String>,
    pub source_snapshot: Option<String>,
    /// When the permission was issued: it cannot make again what was deleted since.
    pub issued: SystemTime,
    /// Who sends, for the list of running transfers and the audit log.
    pub principal: String,
    /// Digests of the body that the sender announced in the header.
    pub digests: Vec<Digest>,
    /// Whether a digest of the body will come as a trailer, so that it must be computed on the way.
    pub digest_trailer: bool,
}

/// An RFC 9530 digest that rsnap verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// What came after the body.
#[derive(Debug, Clone, Default)]
pub struct Trailers {
    pub digests: Vec<Digest>,
    pub root: Option<Root>,
}

/// The body of an upload. Not asking for more is the back-pressure.
#[async_trait]
pub trait Body: Send {
    /// The next bytes; `None` after the last. Cut off is an error, never an end.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError>;
    /// What came after the body; only after `next` answered `None`.
    async fn trailers(&mut self) -> Result<Trailers, BodyError>;
}

/// The sender's side of a transfer broke.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    #[error("the connection was cut: {0}")]
    Cut(String),
    #[error("nothing was received for {0:?}")]
    Idle(std::time::Duration),
    #[error("the trailer is malformed: {0}")]
    Trailer(String),
}

/// One running transfer, for the admin listener.
#[derive(Debug, Clone)]
pub struct Running {
    pub id: TransferId,
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    pub principal: String,
    pub state: &'static str,
    pub received: u64,
    pub started: SystemTime,
}

/// Why a transfer, a read or a plan did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The stream breaks its format; the text names the offset and what was expected.
    #[error("malformed stream: {0}")]
    Malformed(String),
    /// The body was not as long as declared.
    #[error("{declared} bytes were declared, {received} came")]
    Length { declared: u64, received: u64 },
    /// A digest or content root does not fit what was received.
    #[error("{what} does not fit what was received: expected {expected}, got {actual}")]
    Digest { what: &'static str, expected: String, actual: String },
    /// The size in the stream is not what the permission allows.
    #[error("the image has {size} bytes, the permission is for {allowed}")]
    Size { size: u64, allowed: u64 },
    /// The chain policy refuses, or asks for something else.
    #[error("the chain policy {policy} does not agree: {reason}")]
    Policy { policy: String, reason: String },
    /// A stream starts from a base whose content is not the sender's.
    #[error("{0}")]
    BaseMismatch(String),
    /// The permission is older than the deletion of the snapshot.
    #[error("snapshot {0} was deleted after this permission was issued")]
    Deleted(SnapshotId),
    #[error("there is no site called {0}")]
    NoSite(SiteName),
    /// No room now: as many transfers run as the memory allows.
    #[error("{running} transfers run, which is as many as the configuration allows")]
    Saturated { running: usize },
    /// The gateway is stopping.
    #[error("this gateway is stopping")]
    Stopping,
}

/// The transfers of one gateway.
pub struct Transfers {}

impl Transfers {
    /// What to send for one wanted snapshot.
    pub async fn plan(
        &self,
        _volume: &VolumeId,
        _snapshot: &SnapshotId,
        _request: &PlanRequest,
    ) -> Result<PlanAnswer, TransferError> {
        todo!()
    }

    /// Checks everything that can be refused before the body: called before `100 Continue` is sent. Gives
    /// `Some` when the snapshot is there already with the content that the sender announced.
    pub async fn admit(&self, _upload: &Upload) -> Result<Option<Committed>, TransferError> {
        todo!()
    }

    /// Receives one snapshot. Not cancel-safe: run it on the drain's tracker.
    pub async fn receive(&self, _upload: Upload, _body: &mut dyn Body) -> Result<Committed, TransferError> {
        todo!()
    }

    /// Receives a whole chain (`rbd export --export-format 2`): `snapshots` are the target's ids, oldest first, one
    /// for each snapshot in the stream. Each is committed when it is complete.
    pub async fn receive_chain(
        &self,
        _upload: Upload,
        _snapshots: Vec<SnapshotId>,
        _body: &mut dyn Body,
    ) -> Result<Vec<Committed>, TransferError> {
        todo!()
    }

    pub async fn chain(&self, _volume: &VolumeId) -> Result<Chain, TransferError> {
        todo!()
    }

    pub async fn open(
        &self,
        _volume: &VolumeId,
        _snapshot: &SnapshotId,
    ) -> Result<Arc<dyn SnapshotImage>, TransferError> {
        todo!()
    }

    pub async fn delete(&self, _volume: &VolumeId, _snapshot: &SnapshotId) -> Result<(), TransferError> {
        todo!()
    }

    pub async fn site(&self, _name: &SiteName) -> Result<Site, TransferError> {
        todo!()
    }

    pub fn running(&self) -> Vec<Running> {
        todo!()
    }

    /// The bytes `range` of the raw image, verified against the content tree as they are read.
    pub fn read_raw(&self, _image: Arc<dyn SnapshotImage>, _range: std::ops::Range<u64>) -> Stream {
        todo!()
    }

    /// The snapshot as an rbd-diff stream, full or since `base` (of the same volume).
    pub fn read_diff(&self, _image: Arc<dyn SnapshotImage>, _base: Option<Arc<dyn SnapshotImage>>) -> Stream {
        todo!()
    }
}

/// Bytes on their way out; an error ends it and must cut the response.
pub type Stream = futures_util::stream::BoxStream<'static, Result<Bytes, TransferError>>;
