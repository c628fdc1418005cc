//! A transfer: one snapshot on its way through plan, stage, ingest, flush and commit.
//!
//! Everything that decides whether a snapshot may be shown is here and in the stores below; nothing here knows an
//! HTTP status, librbd or etcd, so that the rules can be read, and tested, without them. A transfer is one task from
//! its first byte to its commit: no channel stands between the body and the storage, and not asking the body for more
//! is the back-pressure.

mod base;
mod chain_stream;
mod config;
mod digest;
mod error;
mod inspect;
mod mend;
mod plan;
mod read;
mod receive;
mod registry;
mod sink;
mod state;
mod tree;
mod upload;

pub use config::{Config, UploadConfig};
pub(crate) use digest::Hashes;
pub use error::TransferError;
pub use inspect::{Finding, Findings};
pub use mend::Mended;
pub use read::ReadPermit;
pub use state::{IllegalStep, State};
pub use tree::PAGES_MAX;
pub use upload::{Claims, Created, Piece, UploadId, UploadState};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use self::registry::Registry;
use crate::buffer::BufferPool;
use crate::cluster::Load;
use crate::content::Root;
use crate::id::{ImageName, SiteName, SnapshotId, SourceMark, StoreName, TransferId, VolumeId};
use crate::image::{Chain, Identity, ImageStore, SnapshotImage};
use crate::metrics::Metrics;
use crate::plugin::{Policy, Resolver, Site, Slot, Writer};

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
    /// The mark that the source gives to its content.
    pub mark: Option<SourceMark>,
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
    /// What the sender says of the snapshot at the source.
    pub source: Identity,
    /// When the permission was issued: it cannot make again what was deleted since.
    pub issued: SystemTime,
    /// Who sends, for the list of running transfers and the audit log.
    pub principal: String,
    /// On whose account, where that is known: the same for all tickets that were given to one caller.
    pub sender: Option<String>,
    /// Digests of the body that the sender announced in the header.
    pub digests: Vec<Digest>,
    pub digest_trailers: DigestTrailers,
    /// What a client of tus says of an upload, as it is to be given back.
    pub metadata: Option<String>,
}

/// Which digests of the body will come as trailers, so that they must be computed on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DigestTrailers {
    /// In `Content-Digest` or `Repr-Digest`.
    pub sha256: bool,
    /// In `Rsnap-Body-Digest`.
    pub blake3: bool,
}

impl DigestTrailers {
    #[must_use]
    pub fn any(self) -> bool {
        self.sha256 || self.blake3
    }
}

/// A digest that rsnap verifies: one of RFC 9530, or its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
    Blake3(blake3::Hash),
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
    Idle(Duration),
    #[error("the trailer is malformed: {0}")]
    Trailer(String),
    /// It was packed, and cannot be unpacked.
    #[error("the packed body cannot be unpacked: {0}")]
    Coding(String),
    /// It was packed, and is not what its digest says.
    #[error("{0}")]
    Digest(String),
    /// The gateway's own deadline, and not the sender's fault.
    #[error("this gateway stops and could not wait any longer; nothing is kept, so send it again to another one")]
    Stopping,
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

/// Bytes on their way out; an error ends it and must cut the response.
pub type Stream = futures_util::stream::BoxStream<'static, Result<Bytes, TransferError>>;

/// What [`Transfers`] is made of.
#[expect(missing_debug_implementations, reason = "plugins are trait objects that say nothing of themselves")]
pub struct Parts {
    pub metrics: Arc<Metrics>,
    /// Where running transfers are counted for the other gateways.
    pub load: Load,
    pub writer: Slot<dyn Writer>,
    pub policy: Slot<dyn Policy>,
    pub resolver: Slot<dyn Resolver>,
    pub stores: HashMap<StoreName, Arc<dyn ImageStore>>,
    /// The memory for what is received.
    pub pool: BufferPool,
}

/// The transfers of one gateway.
pub struct Transfers {
    writer: Slot<dyn Writer>,
    policy: Slot<dyn Policy>,
    resolver: Slot<dyn Resolver>,
    stores: HashMap<StoreName, Arc<dyn ImageStore>>,
    registry: Registry,
    uploads: upload::Uploads,
    upload_age: Duration,
    pool: BufferPool,
    depth: usize,
    load: Load,
    read_pool: BufferPool,
    reads: Arc<Semaphore>,
    reads_allowed: usize,
    inspections: Arc<Semaphore>,
}

impl std::fmt::Debug for Transfers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Transfers").field("stores", &self.stores).finish_non_exhaustive()
    }
}

impl Transfers {
    #[must_use]
    pub fn new(parts: Parts, config: &Config) -> Self {
        Self {
            writer: parts.writer,
            policy: parts.policy,
            resolver: parts.resolver,
            stores: parts.stores,
            registry: Registry::new(config.transfers, parts.metrics),
            uploads: upload::Uploads::default(),
            upload_age: UploadConfig::default().expire_after.0,
            pool: parts.pool,
            depth: config.depth,
            load: parts.load,
            read_pool: BufferPool::new(config.read_buffers()),
            reads: Arc::new(Semaphore::new(config.reads)),
            reads_allowed: config.reads,
            inspections: Arc::new(Semaphore::new(inspect::AT_ONCE)),
        }
    }

    /// The same with other limits for uploads.
    #[must_use]
    pub fn with_uploads(self, config: &UploadConfig) -> Self {
        Self { upload_age: config.expire_after.0, ..self }
    }

    /// The store and image that hold a volume, as the writer plugin names them.
    async fn locate(&self, volume: &VolumeId) -> Result<(&Arc<dyn ImageStore>, ImageName), TransferError> {
        self.locate_by(self.writer.now().as_ref(), volume).await
    }

    /// The same by one version of the writer plugin.
    async fn locate_by(
        &self,
        writer: &dyn Writer,
        volume: &VolumeId,
    ) -> Result<(&Arc<dyn ImageStore>, ImageName), TransferError> {
        let location = writer.locate(volume).await?;
        let store = self.stores.get(&location.store).ok_or_else(|| {
            TransferError::Internal(format!(
                "the writer plugin {} keeps volume {volume} in a store called {}, which is not configured",
                writer.name(),
                location.store
            ))
        })?;
        Ok((store, location.image))
    }

    /// The committed snapshots of a volume; empty for one that is not here.
    pub async fn chain(&self, volume: &VolumeId) -> Result<Chain, TransferError> {
        let (store, image) = self.locate(volume).await?;
        Ok(store.chain(&image).await?)
    }

    /// A committed snapshot for reading.
    pub async fn open(
        &self,
        volume: &VolumeId,
        snapshot: &SnapshotId,
    ) -> Result<Arc<dyn SnapshotImage>, TransferError> {
        let (store, image) = self.locate(volume).await?;
        Ok(store.open(&image, snapshot).await?)
    }

    /// Deletes a committed snapshot; the others of its volume stay what they are.
    pub async fn delete(&self, volume: &VolumeId, snapshot: &SnapshotId) -> Result<(), TransferError> {
        let (store, image) = self.locate(volume).await?;
        Ok(store.delete(&image, snapshot).await?)
    }

    /// The addresses of a site.
    pub async fn site(&self, name: &SiteName) -> Result<Site, TransferError> {
        self.resolver.now().resolve(name).await?.ok_or_else(|| TransferError::NoSite(name.clone()))
    }

    /// Whether no transfer and no read has data in memory now.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.registry.list().is_empty() && self.pool.in_use() == 0 && self.read_pool.in_use() == 0
    }

    /// Frees the buffers that no transfer has.
    pub fn give_back(&self) {
        self.pool.give_back();
        self.read_pool.give_back();
    }

    /// The transfers that run now.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        self.registry.list()
    }
}
