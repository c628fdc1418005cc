//! What the store keeps in an image's metadata; sealed as [`crate::image::record`] says.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `rsnap.owner` | [`Owner`] | the volume that the image belongs to |
//! | `rsnap.generation` | [`Generation`] | how often the image was taken for a transfer, and what the last one wrote beside it |
//! | `rsnap.intent` | [`Intent`] | a commit is under way |
//! | `rsnap.snapshot.<name>` | [`Stored`] | a committed snapshot |
//! | `rsnap.layer.<layer>` | [`Stored`] | a deleted snapshot; others may still need its pages |
//! | `rsnap.deleted.<snapshot>` | [`Tombstone`](crate::image::record::Tombstone) | when it was deleted, for at least seven days, and its layer |
//! | `rsnap.upload.<transfer>` | [`Upload`] | a transfer that outlives its requests |
//! | `rsnap.claim.<transfer>` | [`Claim`] | somebody else wants that transfer |
//! | `rsnap.gone.<transfer>` | [`GivenUp`] | that transfer was given up; whoever wants it must not be able to write over it |
//! | `rsnap.client.<address>` | [`Opener`](super::clients::Opener) | a client of ours that has the image open to change it |
//!
//! Keys are made of names of ours, of [`crate::id`] and of Ceph's addresses only: a key that begins with `conf_` would be a setting of librbd.

use serde::{Deserialize, Serialize};

use crate::id::{SnapshotId, SnapshotName, TransferId, VolumeId};
use crate::image::record::Body;
use crate::image::{Ranges, SnapshotRecord, StageRequest};

/// What all keys of the store begin with.
pub(super) const PREFIX: &str = "rsnap.";
pub(super) const OWNER: &str = "rsnap.owner";
pub(super) const GENERATION: &str = "rsnap.generation";
pub(super) const INTENT: &str = "rsnap.intent";
pub(super) const SNAPSHOT: &str = "rsnap.snapshot.";
pub(super) const LAYER: &str = "rsnap.layer.";
pub(super) const DELETED: &str = "rsnap.deleted.";
pub(super) const CLIENT: &str = "rsnap.client.";
pub(super) const UPLOAD: &str = "rsnap.upload.";
pub(super) const CLAIM: &str = "rsnap.claim.";
pub(super) const GONE: &str = "rsnap.gone.";
/// What the names of RBD snapshots begin with that hold an unfinished transfer's bytes.
pub(super) const PARKED: &str = "rsnap.parked.";
/// What the names of RBD snapshots begin with that are not, or not any more, a snapshot for anybody.
pub(super) const TEMPORARY: &str = "rsnap.";

pub(super) fn snapshot_key(name: &SnapshotName) -> String {
    format!("{SNAPSHOT}{name}")
}

pub(super) fn layer_key(layer: &str) -> String {
    format!("{LAYER}{layer}")
}

pub(super) fn deleted_key(snapshot: &SnapshotId) -> String {
    format!("{DELETED}{snapshot}")
}

pub(super) fn upload_key(transfer: &TransferId) -> String {
    format!("{UPLOAD}{transfer}")
}

pub(super) fn claim_key(transfer: &TransferId) -> String {
    format!("{CLAIM}{transfer}")
}

pub(super) fn gone_key(transfer: &TransferId) -> String {
    format!("{GONE}{transfer}")
}

/// Names the log of an unfinished transfer. A layer begins with a number.
pub(super) fn log_name(transfer: &TransferId) -> String {
    format!("log.{transfer}")
}

/// The transfer that has made a layer.
pub(super) fn transfer_of(layer: &str) -> &str {
    layer.split_once('.').map_or("", |(_, transfer)| transfer)
}

/// See [`OWNER`]'s line in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    pub volume: VolumeId,
}

impl Body for Owner {
    const KIND: &'static str = "rbd owner";
}

/// Raised by each transfer before it changes anything, so that one that was overtaken is recognised, and so that what a
/// dead one has left beside the image is found without a search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generation {
    pub number: u64,
    /// Trees that are being written. Those that no record names are removed by the next transfer.
    pub trees: Vec<String>,
}

impl Body for Generation {
    const KIND: &'static str = "rbd generation";
}

/// The part of a content tree that a snapshot changed over its base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    /// What the store promised at the commit.
    pub record: SnapshotRecord,
    /// Names the layer for its children. Never used twice.
    pub name: String,
    /// The layer below; `None` for a full snapshot.
    pub parent: Option<String>,
    /// Names the sidecar's objects, see [`super::objects`]. After a merge it is not the layer's name any more.
    pub tree: String,
    /// Bytes of the sidecar.
    pub tree_bytes: u64,
    /// Pages in the sidecar.
    pub pages: u64,
    /// The layers below show through only before this byte: an image that shrank and grew again reads zeroes there.
    pub limit: u64,
    /// Position in the order of commits, ascending.
    pub sequence: u64,
}

/// A committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    /// Ceph's id of the image: metadata is copied with an image, and a copy has other snapshots and no trees.
    pub image: String,
    /// Ceph's id of the snapshot, never given again: a snapshot of the same name that somebody made is another one.
    pub snapshot: u64,
    pub layer: Layer,
}

impl Body for Stored {
    const KIND: &'static str = "rbd snapshot";
}

/// A commit under way, see [`super::publish`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Intent {
    /// Ceph's id of the image, as in [`Stored`].
    pub image: String,
    /// The name under which the snapshot is made: nobody else makes one of this name.
    pub temporary: String,
    /// Ceph's id of the snapshot, once it is made.
    pub snapshot: Option<u64>,
    pub layer: Layer,
}

impl Body for Intent {
    const KIND: &'static str = "rbd intent";
}

impl Intent {
    /// The record of the snapshot once it has its name.
    pub(super) fn stored(&self, snapshot: u64) -> Stored {
        Stored { image: self.image.clone(), snapshot, layer: self.layer.clone() }
    }
}

/// Where the bytes of an unfinished transfer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Whereabouts {
    /// It has none that count.
    Nowhere,
    /// In the head, as far as they are durable.
    Head,
    /// In the RBD snapshot with this id: another transfer needed the head.
    Parked(u64),
}

/// An unfinished transfer. Written with the image's lock held, and by nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upload {
    /// Ceph's id of the image, as in [`Stored`].
    pub image: String,
    pub request: StageRequest,
    /// The layer of its base: another snapshot may have the base's id by now.
    pub base_layer: Option<String>,
    /// Counts the owners.
    pub generation: u64,
    /// Address of the client that is the owner, or was the last one.
    pub owner: String,
    pub data: Whereabouts,
    /// What is durable. Its log says the same, or more behind `log_bytes`.
    pub durable: Ranges,
    /// Bytes of the log up to the mark that says so.
    #[serde(default)]
    pub log_bytes: u64,
    /// When somebody last worked on it, in milliseconds since the Unix epoch.
    pub touched_ms: u64,
    /// A snapshot has come of it, and its log is gone.
    pub is_finished: bool,
}

impl Body for Upload {
    const KIND: &'static str = "rbd upload";
}

/// Who wants an unfinished transfer. Anybody may write it: its owner looks here and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    /// Ceph's id of the image, as in [`Stored`].
    pub image: String,
    /// Address of the client that wants it.
    pub by: String,
}

impl Body for Claim {
    const KIND: &'static str = "rbd claim";
}

/// A transfer that was given up. Anybody may write it; whoever has the lock next removes what is left of the transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenUp {
    /// Ceph's id of the image, as in [`Stored`].
    pub image: String,
}

impl Body for GivenUp {
    const KIND: &'static str = "rbd given up";
}
