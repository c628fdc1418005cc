//! Giving back the space of a deleted snapshot that one other layer still needs.
//!
//! The child's grains are written into the parent's file, in place, and the child's record is then replaced by one
//! that names that file: the cost is the child's change, where copying would cost the whole image. The child reads the
//! same at every moment, because its own grains hide those below. A power cut leaves the old record, and the merge is
//! done again from its start; every step may be repeated. The parent must be hidden and have no reader: its own content
//! is gone with the first write.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalog::{Catalog, Entry};
use super::disk::{DiskFile, SyncPoint};
use super::failed;
use super::layout::{ImageDirectory, TREE};
use super::overlay::{Layer, Overlay};
use super::prove::{is_untouched, stamped, verify};
use super::record::Stored;
use crate::content::{BLOCK_BYTES, GrainMap};
use crate::image::ImageError;
use crate::image::presence::{below, zero_grains};
use crate::image::sidecar::{Key, Leafed, SidecarWriter};

/// A hidden layer and its only child.
#[derive(Debug)]
pub(super) struct Merge {
    /// The child, the parent below it, and all below that.
    overlay: Overlay,
    child: Arc<Layer>,
    parent: Arc<Layer>,
    /// The parent's file was touched since its commit, perhaps by a merge that was cut short.
    is_doubtful: bool,
}

impl Merge {
    /// Looks at both layers. Wants the lock on the image; `None`: a layer is missing.
    pub(super) fn plan(
        directory: &ImageDirectory,
        catalog: &Catalog,
        child: &Entry,
    ) -> Result<Option<Self>, ImageError> {
        if !catalog.is_whole(child) {
            return Ok(None);
        }
        let overlay = Overlay::load(directory, catalog, child)?;
        let [child, parent, ..] = overlay.layers.as_slice() else { return Ok(None) };
        let (child, parent) = (Arc::clone(child), Arc::clone(parent));
        let is_doubtful = !is_untouched(directory, &parent.stored)?;
        if !is_untouched(directory, &child.stored)? {
            verify(&overlay, &child)?;
        }
        Ok(Some(Self { overlay, child, parent, is_doubtful }))
    }

    /// Merges the files, and gives the child's new record, with everything that it names durable.
    pub(super) fn run(&self) -> Result<Stored, ImageError> {
        let directory = &self.overlay.directory;
        self.merge_data()?;
        let tree = self.merge_tree()?;
        directory.sync_names(SyncPoint::MergedTreeName)?;
        let (child, parent) = (&self.child.stored, &self.parent.stored);
        let merged = Stored {
            parent: parent.parent.clone(),
            data: parent.data.clone(),
            tree,
            limit: child.limit.min(parent.limit),
            ..child.clone()
        };
        let merged = stamped(directory, merged)?;
        if self.is_doubtful {
            self.verify_merged(&merged)?;
        }
        Ok(merged)
    }

    /// The child's layer, and its parent's.
    pub(super) fn layers(&self) -> (&str, &str) {
        (&self.child.stored.layer, &self.parent.stored.layer)
    }

    fn merge_data(&self) -> Result<(), ImageError> {
        let directory = &self.overlay.directory;
        let (child, parent) = (&self.child.stored, &self.parent.stored);
        let from = directory.disk.open(&directory.file(&child.data)).map_err(failed(format!("open {}", child.data)))?;
        let to = directory.disk.open_to_change(&directory.file(&parent.data));
        let to = to.map_err(failed(format!("open {}", parent.data)))?;
        let writing = || failed(format!("merge {} into {}", child.data, parent.data));
        if to.stamp().map_err(writing())?.length > child.limit {
            to.set_length(child.limit).map_err(writing())?;
        }
        to.set_length(child.record.size).map_err(writing())?;
        let mut buffer = vec![0; BLOCK_BYTES];
        for key in self.child.index.keys().filter(|key| key.level() == 1) {
            let present = self.overlay.leafed(&self.child, key)?.map_or(GrainMap::EMPTY, |leafed| leafed.present);
            let present = present.intersection(below(key.index(), child.record.size));
            apply(from.as_ref(), to.as_ref(), key.index(), present, &mut buffer).map_err(writing())?;
        }
        to.set_length(child.record.size).map_err(writing())?;
        to.sync(SyncPoint::MergedData).map_err(writing())
    }

    fn merge_tree(&self) -> Result<String, ImageError> {
        let directory = &self.overlay.directory;
        let (name, file) = directory.create(&self.child.stored.layer, TREE)?;
        let writing = || failed(format!("write {name}"));
        let mut writer = SidecarWriter::default();
        for key in self.merged_keys() {
            if let Some(leafed) = self.merged_page(key)?
                && writer.add(key, &leafed)
            {
                writer.spill(file.as_ref()).map_err(writing())?;
            }
        }
        writer.finish(file.as_ref()).map_err(writing())?;
        file.sync(SyncPoint::MergedTree).map_err(writing())?;
        Ok(name)
    }

    fn merged_keys(&self) -> BTreeSet<Key> {
        let limit = u128::from(self.child.stored.limit);
        let below = self.parent.index.keys().filter(|key| key.start() < limit);
        self.child.index.keys().chain(below).collect()
    }

    fn merged_page(&self, key: Key) -> Result<Option<Leafed>, ImageError> {
        let above = self.overlay.leafed(&self.child, key)?;
        let shown = key.level() == 1 && key.start() < u128::from(self.child.stored.limit);
        let under = if above.is_none() || shown { self.overlay.leafed(&self.parent, key)? } else { None };
        let under = under.map(|leafed| {
            let shown = if shown { below(key.index(), self.child.stored.limit) } else { GrainMap::EMPTY };
            Leafed { present: leafed.present.intersection(shown), ..leafed }
        });
        Ok(match (above, under) {
            (Some(above), Some(under)) => Some(Leafed { present: above.present.union(under.present), ..above }),
            (above, under) => above.or(under),
        })
    }

    fn verify_merged(&self, merged: &Stored) -> Result<(), ImageError> {
        let layer = Arc::new(Layer::load(&self.overlay.directory, merged)?);
        let mut layers = vec![Arc::clone(&layer)];
        layers.extend(self.overlay.layers.iter().skip(2).cloned());
        verify(&Overlay::new(&self.overlay.directory, layers), &layer)
    }
}

/// Copies the `present` grains of one block; those of zeroes become holes.
fn apply(
    from: &dyn DiskFile,
    to: &dyn DiskFile,
    block: u64,
    present: GrainMap,
    buffer: &mut [u8],
) -> std::io::Result<()> {
    let start = block * BLOCK_BYTES as u64;
    for run in present.runs() {
        let place = buffer.get_mut(run.clone()).unwrap_or_default();
        let offset = start + run.start as u64;
        let count = from.read_at(place, offset)?;
        place.get_mut(count..).unwrap_or_default().fill(0);
    }
    let zero = zero_grains(buffer, present);
    for run in zero.runs() {
        to.clear(start + run.start as u64, run.len() as u64)?;
    }
    for run in present.without(zero).runs() {
        to.write_at(buffer.get(run.clone()).unwrap_or_default(), start + run.start as u64)?;
    }
    Ok(())
}
