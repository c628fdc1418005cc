//! What rsnap asks of its plugins: the three kinds as Rust traits.
//!
//! The rest of the gateway sees these traits only. A component behind a trait and the same decision compiled in are
//! interchangeable, which is how the cost of WebAssembly is measured.

mod account;
mod addresses;
mod bindings;
mod builtin;
mod cache;
mod call;
mod compile;
mod config;
mod engine;
mod fault;
mod fitness;
mod flood;
mod host;
mod http;
mod keys;
mod kind;
pub mod kit;
mod ledger;
mod limits;
mod load;
mod measures;
mod meter;
mod pace;
mod policy;
mod purse;
mod question;
mod recording;
mod registry;
mod reload;
mod resolver;
mod shared;
mod signature;
mod slot;
mod source;
mod state;
mod supply;
mod surface;
#[cfg(test)]
mod tests;
mod text;
mod watch;
mod world;
mod writer;

pub use account::{Activity, Failure, Usage};
pub use config::{Config, PluginConfig};
pub use fault::LoadError;
pub use http::{Credential, HostGrant, Method};
pub use kind::Kind;
pub use load::{Context, Plugins};
pub use recording::RecordingConfig;
pub use registry::RegistryConfig;
pub use reload::{Change, Reloaded};
pub use shared::{Identity, PluginInfo, PluginLimits};
pub use signature::SignaturesConfig;
pub use slot::Slot;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{ImageName, SiteName, SnapshotId, StoreName, TransferId, VolumeId};
use crate::image::{ImageError, Ingest};

/// A transfer as its writer plugin sees it.
#[derive(Debug, Clone)]
pub struct TransferDescription {
    pub id: TransferId,
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    /// Bytes.
    pub size: u64,
    pub base: Option<SnapshotId>,
    /// See [`crate::image::StageRequest::upload`].
    pub upload: Option<String>,
}

/// Where the snapshots of one volume are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub store: StoreName,
    pub image: ImageName,
}

/// What the host does with the extents of a transfer.
#[expect(missing_debug_implementations, reason = "a chunk writer is a trait object that says nothing of itself")]
#[expect(clippy::large_enum_variant, reason = "there is one for each transfer, and it is moved twice")]
pub enum Destination {
    /// The host moves them itself: the fast path.
    Image(Ingest),
    /// The plugin wants each chunk.
    Chunks(Box<dyn ChunkWriter>),
}

/// A piece of the stream for a [`ChunkWriter`].
#[derive(Debug, Clone)]
pub enum Piece {
    Data { offset: u64, bytes: Bytes },
    Zero { offset: u64, length: u64 },
}

/// A writer plugin that takes the extents one by one.
#[async_trait]
pub trait ChunkWriter: Send {
    async fn write(&mut self, pieces: Vec<Piece>) -> Result<(), PluginError>;
    /// Gives back the image that the plugin filled.
    async fn finish(self: Box<Self>) -> Result<Ingest, PluginError>;
}

/// A `backend-writer` plugin.
#[async_trait]
pub trait Writer: Send + Sync {
    fn name(&self) -> &str;
    async fn locate(&self, volume: &VolumeId) -> Result<Location, PluginError>;
    async fn begin(&self, transfer: &TransferDescription) -> Result<Destination, PluginError>;
}

/// A snapshot on the source, as the sender tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSnapshot {
    pub id: String,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// A committed snapshot on the target, as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSnapshot {
    pub id: SnapshotId,
    /// Bytes.
    pub size: u64,
    pub root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_volume: Option<String>,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    pub created: u64,
    /// Bytes that its transfer stored, without holes.
    #[serde(default)]
    pub stored: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<SnapshotId>,
}

/// What a chain policy decides on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRequest {
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_volume: Option<String>,
    pub wanted: SourceSnapshot,
    pub source: Vec<SourceSnapshot>,
    pub target: Vec<TargetSnapshot>,
}

/// What a chain policy answers, before the host has checked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Present,
    Full,
    Incremental(SnapshotId),
    Refused,
}

/// A decision with its reason in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub decision: Decision,
    pub reason: String,
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.decision {
            Decision::Present => write!(formatter, "present: {}", self.reason),
            Decision::Full => write!(formatter, "full: {}", self.reason),
            Decision::Incremental(base) => write!(formatter, "incremental since {base}: {}", self.reason),
            Decision::Refused => write!(formatter, "refused: {}", self.reason),
        }
    }
}

/// A `chain-policy` plugin.
#[async_trait]
pub trait Policy: Send + Sync {
    fn name(&self) -> &str;
    async fn decide(&self, request: &PolicyRequest) -> Result<Plan, PluginError>;
}

/// Addresses of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Site {
    pub name: SiteName,
    pub keystone: String,
    pub region: String,
    pub gateway: String,
}

impl fmt::Display for Site {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, keystone, region, gateway } = self;
        write!(formatter, "site {name}: gateway {gateway}, keystone {keystone}, region {region}")
    }
}

/// A `site-resolver` plugin.
#[async_trait]
pub trait Resolver: Send + Sync {
    fn name(&self) -> &str;
    async fn resolve(&self, name: &SiteName) -> Result<Option<Site>, PluginError>;
}

/// Why a plugin's answer is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The plugin answered, and its answer is no.
    #[error("plugin {plugin} refused: {detail}")]
    Refused { plugin: String, detail: String },
    /// The plugin says that it may work later.
    #[error("plugin {plugin} is unavailable: {detail}")]
    Unavailable { plugin: String, detail: String },
    /// It trapped, ran out of time or memory, or broke the contract: its fault, not the caller's.
    #[error("plugin {plugin} failed: {detail}")]
    Failed { plugin: String, detail: String },
    /// The storage that the plugin was given failed.
    #[error(transparent)]
    Image(#[from] ImageError),
}
