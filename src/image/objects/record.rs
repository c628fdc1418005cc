//! What the store keeps as records; sealed as [`crate::image::record`] says.

use serde::{Deserialize, Serialize};

use super::layout::Session;
use crate::id::{SnapshotId, TransferId, VolumeId};
use crate::image::record::{Body, Tombstone};
use crate::image::{Chain, SnapshotRecord};

/// Largest record that is read: an image of ten thousand snapshots.
pub(super) const RECORD_MAX: usize = 32 << 20;

/// Marks a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    /// Of everything beside it.
    pub format: u32,
    /// Tells this store from every other one.
    pub id: String,
}

impl Body for Marker {
    const KIND: &'static str = "objects store";
}

/// A committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    /// What the store promised at the commit.
    pub record: SnapshotRecord,
    /// Whose manifest it is.
    pub manifest: Session,
}

/// Who writes an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Writer {
    pub transfer: TransferId,
    pub session: Session,
    /// The process, by a random number: it knows what has become of its own sessions.
    pub process: Session,
    /// The base's manifest: what it names is kept, even if the base is deleted, until the writer has ended.
    pub base: Option<Session>,
}

/// All that is known of an image, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// A random number that tells this head from another one that was to have the same place.
    pub nonce: String,
    /// The nonces of the heads before, the newest last; at most [`Head::REMEMBERED`].
    pub before: Vec<String>,
    pub writer: Option<Writer>,
    /// In the order of commits.
    pub snapshots: Vec<Stored>,
    /// Deleted, and the base of the writer.
    pub hidden: Vec<Stored>,
    pub deleted: Vec<Tombstone>,
}

impl Body for Head {
    const KIND: &'static str = "objects head";
}

impl Head {
    const REMEMBERED: usize = 64;

    /// A copy that is to follow this one.
    pub(super) fn next(&self) -> Self {
        let mut next = self.clone();
        if !self.nonce.is_empty() {
            next.before.push(self.nonce.clone());
        }
        let forgotten = next.before.len().saturating_sub(Self::REMEMBERED);
        next.before.drain(..forgotten);
        next.nonce = Session::new().to_string();
        let base = next.writer.as_ref().and_then(|writer| writer.base);
        next.hidden.retain(|hidden| Some(hidden.manifest) == base);
        next.deleted.retain(|deleted| !deleted.is_forgotten());
        next
    }

    /// Without its writer, and what only he needed.
    pub(super) fn end_writer(&mut self) {
        self.writer = None;
        self.hidden.clear();
    }

    pub(super) fn find(&self, snapshot: &SnapshotId) -> Option<&Stored> {
        self.snapshots.iter().find(|stored| stored.record.snapshot == *snapshot)
    }

    pub(super) fn owner(&self) -> Option<&VolumeId> {
        self.snapshots.first().map(|stored| &stored.record.volume)
    }

    pub(super) fn tombstone(&self, snapshot: &SnapshotId) -> Option<&Tombstone> {
        self.deleted.iter().find(|deleted| deleted.snapshot == *snapshot)
    }

    /// The chain, where `is_whole` says which manifests are there.
    pub(super) fn chain(&self, is_whole: impl Fn(Session) -> bool) -> Chain {
        let (whole, broken): (Vec<&Stored>, Vec<&Stored>) =
            self.snapshots.iter().partition(|stored| is_whole(stored.manifest));
        Chain {
            snapshots: whole.into_iter().map(|stored| stored.record.clone()).collect(),
            damaged: broken.into_iter().map(|stored| stored.record.name.clone()).collect(),
        }
    }
}
