//! All records of one image and its RBD snapshots, read together, and what follows from them.
//!
//! Pure on purpose: what is visible, what is damaged and what a dead transfer has left is decided here alone, from two
//! lists, so that the chain, a read, a base and a recovery cannot disagree, and each case has a test without a cluster.
//! Nothing is cached between requests: another gateway may have changed the image.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use rsnap_rbd::Snapshot;

use super::record::{
    CLAIM, Claim, DELETED, GENERATION, GONE, Generation, GivenUp, INTENT, Intent, LAYER, OWNER, Owner, PARKED,
    SNAPSHOT, Stored, TEMPORARY, UPLOAD, Upload, Whereabouts, deleted_key, transfer_of, upload_key,
};
use crate::id::{SnapshotId, SnapshotName, TransferId, VolumeId};
use crate::image::record::{Body, RecordFault, Tombstone, milliseconds, unseal};
use crate::image::{Chain, ImageError, Sealed, StageRequest};

/// A record and what is true of it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub stored: Stored,
    /// Whether it is a snapshot; else only its pages may still be needed.
    pub visible: bool,
    /// Whether its RBD snapshot is there, under its name and with its id.
    pub is_there: bool,
}

/// What lies under a snapshot's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// Nothing.
    Nothing,
    /// A snapshot that a record explains.
    Ours,
    /// A snapshot of ours whose record cannot be read: it may be replaced.
    Unreadable,
    /// A snapshot that somebody else made.
    Foreign,
}

/// The records of one image at one moment.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    owner: Option<VolumeId>,
    pub generation: Generation,
    pub intent: Option<Intent>,
    /// By layer.
    entries: BTreeMap<String, Entry>,
    /// Layers that are there with all layers below them.
    complete: BTreeSet<String>,
    /// Keys of records that cannot be believed.
    pub unreadable: Vec<String>,
    pub tombstones: Vec<Tombstone>,
    /// Records under the names of snapshots that are deleted: a deletion was cut short.
    pub misplaced: Vec<Stored>,
    /// Transfers that outlive their requests, finished ones too.
    uploads: BTreeMap<TransferId, Upload>,
    /// Transfers that somebody wants.
    claimed: BTreeSet<TransferId>,
    given_up: BTreeSet<TransferId>,
    broken_uploads: Vec<TransferId>,
    /// The RBD snapshots that users can see, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Number of all RBD snapshots, as their limit counts them.
    pub snapshot_count: usize,
}

impl Catalog {
    /// `image` is Ceph's id of the image, `metadata` all its keys that begin with [`super::record::PREFIX`].
    pub(super) fn new(image: &str, metadata: &[(String, String)], snapshots: Vec<Snapshot>) -> Self {
        let snapshot_count = snapshots.len();
        let snapshots = snapshots.into_iter().filter(|snapshot| snapshot.is_user).collect();
        let mut catalog = Self { snapshots, snapshot_count, ..Self::default() };
        for (key, value) in metadata {
            catalog.read(image, key, value);
        }
        // Hidden layers first: a delete sets them before it removes the record of the snapshot.
        for prefix in [LAYER, SNAPSHOT] {
            for (key, value) in metadata.iter().filter(|(key, _)| key.starts_with(prefix)) {
                let stored = unsealed::<Stored>(value).and_then(|stored| of_image(stored, image));
                match stored {
                    Ok(stored) => catalog.insert(stored, prefix == SNAPSHOT),
                    Err(fault) => catalog.cannot_read(key, &fault),
                }
            }
        }
        catalog.take_over_intent();
        catalog.find_complete();
        catalog
    }

    fn read(&mut self, image: &str, key: &str, value: &str) {
        let read = match key {
            OWNER => unsealed::<Owner>(value).map(|owner| self.owner = Some(owner.volume)),
            GENERATION => unsealed::<Generation>(value).map(|generation| self.generation = generation),
            INTENT => unsealed::<Intent>(value).map(|intent| {
                // The intent of a copied image is not about this one.
                self.intent = Some(intent).filter(|intent| intent.image == image);
            }),
            _ if key.starts_with(DELETED) => {
                unsealed::<Tombstone>(value).map(|tombstone| self.tombstones.push(tombstone))
            }
            _ if key.starts_with(UPLOAD) => unsealed::<Upload>(value).map(|upload| {
                let is_ours =
                    upload.image == image && key.strip_prefix(UPLOAD) == Some(upload.request.transfer.as_str());
                self.uploads.extend(is_ours.then(|| (upload.request.transfer.clone(), upload)));
            }),
            _ if key.starts_with(CLAIM) => unsealed::<Claim>(value).map(|claim| {
                self.claimed.extend(named(key, CLAIM).filter(|_| claim.image == image));
            }),
            _ if key.starts_with(GONE) => unsealed::<GivenUp>(value).map(|gone| {
                self.given_up.extend(named(key, GONE).filter(|_| gone.image == image));
            }),
            _ => Ok(()),
        };
        if let Err(fault) = read {
            self.broken_uploads.extend(named(key, UPLOAD).filter(|_| !fault.may_be_newer()));
            self.cannot_read(key, &fault);
        }
    }

    fn cannot_read(&mut self, key: &str, fault: &RecordFault) {
        tracing::warn!(key, %fault, "read a damaged record in an image's metadata");
        self.unreadable.push(key.to_owned());
    }

    /// A snapshot is deleted from its tombstone on, or from the record of its layer on.
    fn insert(&mut self, stored: Stored, named: bool) {
        let is_there =
            self.snapshot(stored.snapshot).is_some_and(|there| there.name == stored.layer.record.name.as_str());
        let deleted = self.tombstones.iter().any(|tombstone| tombstone.layer.as_ref() == Some(&stored.layer.name))
            || self.entries.get(&stored.layer.name).is_some_and(|entry| !entry.visible);
        if named && deleted {
            self.misplaced.push(stored.clone());
        }
        let visible = named && !deleted;
        self.entries.entry(stored.layer.name.clone()).or_insert(Entry { stored, visible, is_there });
    }

    /// A snapshot that has its name is committed, even if whoever committed it died before he wrote the record.
    fn take_over_intent(&mut self) {
        let Some(intent) = &self.intent else { return };
        let Some(snapshot) = intent.snapshot.and_then(|id| self.snapshot(id)) else { return };
        if snapshot.name == intent.layer.record.name.as_str() {
            let stored = intent.stored(snapshot.id);
            self.insert(stored, true);
        }
    }

    fn find_complete(&mut self) {
        let mut decided: BTreeMap<&str, bool> = BTreeMap::new();
        for start in self.entries.keys() {
            let mut path = Vec::new();
            let mut next = Some(start.as_str());
            let complete = loop {
                let Some(layer) = next else { break true };
                if let Some(known) = decided.get(layer) {
                    break *known;
                }
                let Some(entry) = self.entries.get(layer) else { break false };
                path.push(layer);
                if path.len() > self.entries.len() {
                    break false;
                }
                next = entry.stored.layer.parent.as_deref();
            };
            decided.extend(path.into_iter().map(|layer| (layer, complete)));
        }
        self.complete =
            decided.into_iter().filter(|(_, complete)| *complete).map(|(layer, _)| layer.to_owned()).collect();
    }

    /// The RBD snapshot with that id.
    pub(super) fn snapshot(&self, id: u64) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.id == id)
    }

    /// The volume that the image belongs to; `None` while it belongs to nobody.
    pub(super) fn owner(&self) -> Option<&VolumeId> {
        self.owner.as_ref().or_else(|| self.entries.values().next().map(|entry| &entry.stored.layer.record.volume))
    }

    /// Whether the lists fit each other. If not, one may just be older than the other.
    pub(super) fn is_settled(&self) -> bool {
        self.intent.is_none() && self.visible().all(|entry| entry.is_there)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn layer(&self, layer: &str) -> Option<&Entry> {
        self.entries.get(layer)
    }

    /// The snapshot, whether whole or damaged.
    pub(super) fn find(&self, snapshot: &SnapshotId) -> Option<&Entry> {
        self.visible().find(|entry| entry.stored.layer.record.snapshot == *snapshot)
    }

    /// As [`Catalog::find`], by the name in the storage.
    pub(super) fn find_name(&self, name: &SnapshotName) -> Option<&Entry> {
        self.visible().find(|entry| entry.stored.layer.record.name == *name)
    }

    fn visible(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.visible)
    }

    /// Whether the RBD snapshot is there, and all pages of its tree have a place.
    pub(super) fn is_whole(&self, entry: &Entry) -> bool {
        entry.is_there && self.complete.contains(&entry.stored.layer.name)
    }

    /// The layers whose parent is `layer`.
    pub(super) fn children<'a>(&'a self, layer: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.values().filter(move |entry| entry.stored.layer.parent.as_deref() == Some(layer))
    }

    /// The layer and all below it, newest first. `None` where one is missing.
    pub(super) fn line(&self, layer: &str) -> Option<Vec<&Entry>> {
        let mut line = vec![self.entries.get(layer).filter(|_| self.complete.contains(layer))?];
        while let Some(parent) = line.last().and_then(|entry| entry.stored.layer.parent.as_deref()) {
            line.push(self.entries.get(parent)?);
        }
        Some(line)
    }

    /// Whether what was permitted may be made: not if it was deleted since.
    pub(super) fn permits(&self, request: &StageRequest, sealed: &Sealed) -> Result<(), ImageError> {
        let key = deleted_key(&request.snapshot);
        if self.unreadable.contains(&key) {
            let detail =
                format!("it cannot be read when {} was deleted; remove the metadata key {key}", request.snapshot);
            return Err(ImageError::Foreign { image: request.image.clone(), detail });
        }
        let tombstone = self.tombstones.iter().find(|tombstone| tombstone.snapshot == request.snapshot);
        match tombstone {
            Some(tombstone) if tombstone.deleted() >= sealed.issued => {
                Err(ImageError::Deleted { snapshot: request.snapshot.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What lies under a snapshot's name.
    pub(super) fn named(&self, name: &SnapshotName) -> Named {
        let Some(snapshot) = self.snapshots.iter().find(|snapshot| snapshot.name == name.as_str()) else {
            return Named::Nothing;
        };
        let key = super::record::snapshot_key(name);
        if self.entries.values().any(|entry| entry.stored.snapshot == snapshot.id) {
            Named::Ours
        } else if self.unreadable.contains(&key) {
            Named::Unreadable
        } else {
            Named::Foreign
        }
    }

    /// Transfers that outlive their requests, without those that were given up.
    pub(super) fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.values().filter(|upload| !self.is_given_up(&upload.request.transfer))
    }

    pub(super) fn upload(&self, transfer: &TransferId) -> Option<&Upload> {
        self.uploads.get(transfer).filter(|_| !self.is_given_up(transfer))
    }

    /// The snapshot that came of an upload.
    pub(super) fn committed(&self, upload: &Upload) -> Option<&Entry> {
        let transfer = upload.request.transfer.as_str();
        self.find(&upload.request.snapshot).filter(|entry| transfer_of(&entry.stored.layer.name) == transfer)
    }

    /// The upload whose bytes are in the head.
    pub(super) fn in_head(&self) -> Option<&Upload> {
        self.uploads().find(|upload| upload.data == Whereabouts::Head && self.committed(upload).is_none())
    }

    pub(super) fn is_given_up(&self, transfer: &TransferId) -> bool {
        self.given_up.contains(transfer)
    }

    /// Whether anything is there of an upload.
    pub(super) fn knows(&self, transfer: &TransferId) -> bool {
        let key = upload_key(transfer);
        self.uploads.contains_key(transfer) || self.unreadable.contains(&key)
    }

    /// Unfinished uploads that nobody has worked on since `before`.
    pub(super) fn abandoned_uploads(&self, before: SystemTime) -> Vec<TransferId> {
        let unfinished = self.uploads().filter(|upload| !upload.is_finished && self.committed(upload).is_none());
        let abandoned = unfinished.filter(|upload| upload.touched_ms < milliseconds(before));
        abandoned.map(|upload| upload.request.transfer.clone()).collect()
    }

    /// Uploads whose record cannot be believed, and never will be.
    pub(super) fn broken_uploads(&self) -> impl Iterator<Item = &TransferId> {
        self.broken_uploads.iter().filter(|transfer| !self.is_given_up(transfer))
    }

    /// Whether the head holds the bytes of this upload, even if it was given up.
    pub(super) fn has_in_head(&self, transfer: &TransferId) -> bool {
        let there = self.uploads.get(transfer).filter(|upload| upload.data == Whereabouts::Head);
        there.is_some_and(|upload| self.committed(upload).is_none())
    }

    /// What is to be removed: uploads that were given up, and claims on what is not there.
    pub(super) fn given_up(&self) -> impl Iterator<Item = &TransferId> {
        let is_over = |transfer: &&TransferId| {
            let is_unreadable = self.unreadable.iter().any(|key| key.strip_prefix(UPLOAD) == Some(transfer.as_str()));
            self.is_given_up(transfer) || !self.uploads.contains_key(*transfer) && !is_unreadable
        };
        self.given_up.union(&self.claimed).filter(is_over)
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.entries.values().map(|entry| entry.stored.layer.sequence + 1).max().unwrap_or(1)
    }

    pub(super) fn chain(&self) -> Chain {
        let mut visible: Vec<&Entry> = self.visible().collect();
        visible.sort_by_key(|entry| entry.stored.layer.sequence);
        let (whole, broken): (Vec<&Entry>, Vec<&Entry>) = visible.into_iter().partition(|entry| self.is_whole(entry));
        let unreadable = self.unreadable.iter().filter_map(|key| key.strip_prefix(SNAPSHOT)?.parse().ok());
        Chain {
            snapshots: whole.into_iter().map(|entry| entry.stored.layer.record.clone()).collect(),
            damaged: broken.into_iter().map(|entry| entry.stored.layer.record.name.clone()).chain(unreadable).collect(),
        }
    }

    /// The RBD snapshots with a name of ours that nothing explains: left by a commit that failed or replaced another one.
    pub(super) fn abandoned_snapshots(&self) -> impl Iterator<Item = u64> {
        let parked = |id| self.uploads.values().any(|upload| upload.data == Whereabouts::Parked(id));
        let explained = move |id| parked(id) || self.entries.values().any(|entry| entry.stored.snapshot == id);
        // Any of them may be that of an upload whose record cannot be read.
        let is_doubtful = self.unreadable.iter().any(|key| key.starts_with(UPLOAD));
        let ours = self.snapshots.iter().filter(|snapshot| snapshot.name.starts_with(TEMPORARY));
        let ours = ours.filter(move |snapshot| !(is_doubtful && snapshot.name.starts_with(PARKED)));
        ours.map(|snapshot| snapshot.id).filter(move |id| self.intent.is_none() && !explained(*id))
    }

    /// Trees that the last transfer began and that no record names.
    pub(super) fn abandoned_trees(&self) -> Vec<String> {
        let intended = self.intent.iter().map(|intent| intent.layer.tree.as_str());
        let named: BTreeSet<&str> =
            self.entries.values().map(|entry| entry.stored.layer.tree.as_str()).chain(intended).collect();
        self.generation.trees.iter().filter(|tree| !named.contains(tree.as_str())).cloned().collect()
    }
}

/// The transfer that a key is about.
fn named(key: &str, prefix: &str) -> Option<TransferId> {
    key.strip_prefix(prefix)?.parse().ok()
}

fn unsealed<T: Body>(value: &str) -> Result<T, RecordFault> {
    unseal(value.as_bytes())
}

/// Metadata travels with a copy of an image; what it says is true of the image that it was written for.
fn of_image(stored: Stored, image: &str) -> Result<Stored, RecordFault> {
    if stored.image == image { Ok(stored) } else { Err(RecordFault::Form) }
}
