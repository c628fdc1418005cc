//! All records of one image, read together, and what follows from them.
//!
//! Nothing is cached between requests: another gateway, or an operator with `rm`, may have changed the directory, and
//! a thousand small files are read in a few hundredths of a second. Which snapshots are whole is decided here alone,
//! so that the chain, a read and a base cannot disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::failed;
use super::layout::{HIDDEN, ImageDirectory, RECORD, UNFINISHED, UPLOAD, read_small};
use super::record::{Stored, unseal_stored};
use super::upload::{Owned, unseal_owned};
use crate::id::{SnapshotId, SnapshotName, VolumeId};
use crate::image::{Chain, ImageError};

/// A record and where it is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub stored: Stored,
    /// Name of the record's file.
    pub file: String,
    /// Whether it is a snapshot; else only its data is still needed.
    pub visible: bool,
}

/// The records of one image at one moment.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// By layer.
    entries: BTreeMap<String, Entry>,
    /// Layers whose files, and those of all layers below, are there.
    whole: BTreeSet<String>,
    /// The unfinished transfers, and those that were finished not long ago.
    pub uploads: Vec<Owned>,
    /// Names of the record files that cannot be believed.
    pub unreadable: Vec<String>,
    /// All names in the directory.
    pub files: BTreeSet<String>,
}

impl Catalog {
    /// Reads all records. The caller holds the lock on records, at least shared.
    pub(super) fn load(directory: &ImageDirectory) -> Result<Self, ImageError> {
        let mut catalog = Self { files: directory.list()?.into_iter().collect(), ..Self::default() };
        let names: Vec<String> = catalog.files.iter().filter(|name| is_record(name)).cloned().collect();
        for file in names {
            catalog.read(directory, file)?;
        }
        catalog.find_whole();
        Ok(catalog)
    }

    fn read(&mut self, directory: &ImageDirectory, file: String) -> Result<(), ImageError> {
        let bytes = match read_small(directory.disk.as_ref(), &directory.file(&file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed(format!("read {file}")))?,
        };
        let read = match file.ends_with(UPLOAD) {
            true => unseal_owned(&bytes).map(|owned| self.uploads.push(owned)),
            false => unseal_stored(&bytes)
                .map(|stored| self.insert(Entry { visible: file.ends_with(RECORD), stored, file: file.clone() })),
        };
        match read {
            Ok(()) => {}
            Err(fault) => {
                tracing::warn!(image = %directory.image, file, %fault, "read a damaged record");
                self.unreadable.push(file);
            }
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry) {
        let layer = entry.stored.layer.clone();
        if entry.visible && self.entries.contains_key(&layer) {
            return;
        }
        self.entries.insert(layer, entry);
    }

    fn find_whole(&mut self) {
        let mut decided: BTreeMap<&str, bool> = BTreeMap::new();
        for start in self.entries.values() {
            let mut path = Vec::new();
            let mut next = Some(start.stored.layer.as_str());
            let whole = loop {
                let Some(layer) = next else { break true };
                if let Some(known) = decided.get(layer) {
                    break *known;
                }
                let Some(entry) = self.entries.get(layer) else { break false };
                path.push(layer);
                if !self.has_files(entry) || path.len() > self.entries.len() {
                    break false;
                }
                next = entry.stored.parent.as_deref();
            };
            decided.extend(path.into_iter().map(|layer| (layer, whole)));
        }
        self.whole = decided.into_iter().filter(|(_, whole)| *whole).map(|(layer, _)| layer.to_owned()).collect();
    }

    /// Whether the entry's own files are there.
    pub(super) fn has_files(&self, entry: &Entry) -> bool {
        self.files.contains(&entry.stored.data) && self.files.contains(&entry.stored.tree)
    }

    pub(super) fn is_whole(&self, entry: &Entry) -> bool {
        self.whole.contains(&entry.stored.layer)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn layer(&self, layer: &str) -> Option<&Entry> {
        self.entries.get(layer)
    }

    /// The snapshot, whether whole or damaged. A record without data of its own is no snapshot.
    pub(super) fn find(&self, snapshot: &SnapshotId) -> Option<&Entry> {
        self.visible().find(|entry| entry.stored.record.snapshot == *snapshot)
    }

    /// As [`Catalog::find`], by the name in the storage.
    pub(super) fn find_name(&self, name: &SnapshotName) -> Option<&Entry> {
        self.visible().find(|entry| entry.stored.record.name == *name)
    }

    fn visible(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.visible && self.has_files(entry))
    }

    /// The layers whose parent is `layer`.
    pub(super) fn children<'a>(&'a self, layer: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.values().filter(move |entry| entry.stored.parent.as_deref() == Some(layer))
    }

    /// The layer and all below it, newest first. `None` where one is missing.
    pub(super) fn line(&self, layer: &str) -> Option<Vec<&Entry>> {
        let mut line = vec![self.entries.get(layer).filter(|entry| self.is_whole(entry))?];
        while let Some(parent) = line.last().and_then(|entry| entry.stored.parent.as_deref()) {
            line.push(self.entries.get(parent)?);
        }
        Some(line)
    }

    /// The volume that the image belongs to; `None` while it has no snapshot.
    pub(super) fn owner(&self) -> Option<&VolumeId> {
        self.entries.values().next().map(|entry| &entry.stored.record.volume)
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.entries.values().map(|entry| entry.stored.sequence + 1).max().unwrap_or(1)
    }

    pub(super) fn chain(&self) -> Chain {
        let mut visible: Vec<&Entry> = self.visible().collect();
        visible.sort_by_key(|entry| entry.stored.sequence);
        let (whole, broken): (Vec<&Entry>, Vec<&Entry>) = visible.into_iter().partition(|entry| self.is_whole(entry));
        let unreadable = self.unreadable.iter().filter_map(|file| file.strip_suffix(RECORD)?.parse().ok());
        Chain {
            snapshots: whole.into_iter().map(|entry| entry.stored.record.clone()).collect(),
            damaged: broken.into_iter().map(|entry| entry.stored.record.name.clone()).chain(unreadable).collect(),
        }
    }
}

fn is_record(name: &str) -> bool {
    !name.ends_with(UNFINISHED) && [RECORD, HIDDEN, UPLOAD].iter().any(|suffix| name.ends_with(suffix))
}
