//! Proof that stored layers are what was committed.
//!
//! A matching [`Stamp`](super::stamp::Stamp) is the proof that costs nothing. Where it does not match (someone wrote
//! behind our back, or the files were restored from a backup) the content decides: the layer's blocks are read again
//! and compared with the hash tree, and the tree with the root in the record. Equal content gets its stamp renewed;
//! other content is named by the first place that differs.

use super::catalog::Catalog;
use super::disk::SyncPoint;
use super::failed;
use super::layout::ImageDirectory;
use super::overlay::{Layer, Overlay};
use super::record::Stored;
use crate::content::{BLOCK_BYTES, FAN_OUT, GrainMap, HEIGHT, Hash, LEAF_BYTES, Root, hash_leaf, is_zero};
use crate::image::ImageError;
use crate::image::presence::below;
use crate::image::sidecar::Key;

/// Whether data and sidecar of a layer have the stamps of its record.
pub(super) fn is_untouched(directory: &ImageDirectory, stored: &Stored) -> Result<bool, ImageError> {
    let same = |name: &str, expected| -> Result<bool, ImageError> {
        let stamp = directory.disk.stamp(&directory.file(name)).map_err(failed(format!("look at {name}")))?;
        Ok(stamp == expected)
    };
    Ok(same(&stored.data, stored.data_stamp)? && same(&stored.tree, stored.tree_stamp)?)
}

/// Proves all layers of a base, oldest first, and gives it with the stamps of now. Wants the lock on the image, and
/// not that on records: reading a large layer again must not keep others from looking at the chain.
pub(super) fn prove(mut overlay: Overlay, catalog: &Catalog) -> Result<Overlay, ImageError> {
    for (position, layer) in overlay.layers.clone().into_iter().enumerate().rev() {
        if is_untouched(&overlay.directory, &layer.stored)? {
            continue;
        }
        tracing::warn!(image = %overlay.directory.image, layer = layer.stored.layer, "check touched data by its content");
        // Before the content is read: what is written meanwhile then has another stamp than the one that is recorded.
        let renewed = stamped(&overlay.directory, layer.stored.clone())?;
        let view = overlay.from(view_of(&overlay, catalog, position));
        verify(&view, &layer).map_err(|error| changed(&overlay, error))?;
        renew(&overlay.directory, &layer.stored, &renewed)?;
        overlay.renew(position, renewed);
    }
    Ok(overlay)
}

/// From which layer the data of the layer at `position` is judged. A deleted layer counts only as far as its
/// only child sees it: a merge that was cut short has put some of the child's data there.
fn view_of(overlay: &Overlay, catalog: &Catalog, position: usize) -> usize {
    let is_hidden = |layer: &Layer| catalog.layer(&layer.stored.layer).is_none_or(|entry| !entry.visible);
    let lone = |layer: &Layer| catalog.children(&layer.stored.layer).count() == 1;
    let mut view = position;
    while view > 0 && overlay.layers.get(view).is_some_and(|layer| is_hidden(layer) && lone(layer)) {
        view -= 1;
    }
    view
}

/// Why the layer is not what was committed: one text for the operator.
fn changed(overlay: &Overlay, error: ImageError) -> ImageError {
    let (Some(top), ImageError::Damaged { snapshot, offset, detail }) = (overlay.top(), &error) else { return error };
    ImageError::BaseChanged {
        image: overlay.directory.image.clone(),
        base: top.record.snapshot.clone(),
        detail: format!(
            "the data of snapshot {snapshot} differs in the {LEAF_BYTES} bytes from byte {offset}: {detail}"
        ),
    }
}

/// Puts `renewed` in the place of the layer's record, wherever a delete may have moved it meanwhile.
fn renew(directory: &ImageDirectory, stored: &Stored, renewed: &Stored) -> Result<(), ImageError> {
    let _records = directory.lock_records()?;
    let catalog = Catalog::load(directory)?;
    let Some(entry) = catalog.layer(&stored.layer).filter(|entry| entry.stored == *stored) else { return Ok(()) };
    let temporary = directory.prepare(&entry.file, renewed, SyncPoint::RenewedRecord)?;
    // Without a sync of the directory: if the new name is lost, the content is compared once more.
    directory.disk.rename(&temporary, &directory.file(&entry.file)).map_err(failed(format!("renew {}", entry.file)))
}

/// The record with the stamps that its files have now.
pub(super) fn stamped(directory: &ImageDirectory, mut stored: Stored) -> Result<Stored, ImageError> {
    let stamp = |name: &str| directory.disk.stamp(&directory.file(name)).map_err(failed(format!("look at {name}")));
    stored.data_stamp = stamp(&stored.data)?;
    stored.tree_stamp = stamp(&stored.tree)?;
    stored.data_stamp.settle();
    stored.tree_stamp.settle();
    Ok(stored)
}

/// Compares what `layer` contributes to `view` with the tree of `view`, and its pages with their parents.
/// Anything that differs is [`ImageError::Damaged`].
pub(super) fn verify(view: &Overlay, layer: &Layer) -> Result<(), ImageError> {
    let mut buffer = vec![0; BLOCK_BYTES];
    for key in layer.index.keys().filter(|key| key.start() < u128::from(view.size()) || key.level() == HEIGHT) {
        verify_page(view, layer, key)?;
        if key.level() == 1 {
            verify_block(view, layer, key, &mut buffer)?;
        }
    }
    if layer.stored.parent.is_none() {
        verify_holes(view, layer, &mut buffer)?;
    }
    Ok(())
}

fn verify_page(view: &Overlay, layer: &Layer, key: Key) -> Result<(), ImageError> {
    let hash = view.page(key)?.hash();
    let is_right = if key.level() == HEIGHT {
        view.top().is_some_and(|top| Root::new(top.record.size, hash) == top.record.root)
    } else {
        let fan_out = FAN_OUT as u64;
        let parent = view.page(Key::new(key.level() + 1, key.index() / fan_out))?;
        let child = usize::try_from(key.index() % fan_out).unwrap_or_default();
        parent.0.get(child) == Some(&hash)
    };
    if is_right { Ok(()) } else { Err(damaged(layer, key, 0, "its hash tree does not lead to its root")) }
}

fn verify_block(view: &Overlay, layer: &Layer, key: Key, buffer: &mut [u8]) -> Result<(), ImageError> {
    let present = match layer.stored.parent {
        None => GrainMap::FULL,
        Some(_) => view.leafed(layer, key)?.map_or(GrainMap::EMPTY, |leafed| leafed.present),
    };
    let wanted = present.intersection(below(key.index(), view.size())).whole_leaves();
    view.read(key.index(), wanted, buffer)?;
    let hashes = view.page(key)?;
    for (leaf, (bytes, expected)) in buffer.chunks_exact(LEAF_BYTES).zip(hashes.0).enumerate() {
        if wanted.contains(leaf * LEAF_BYTES / crate::content::GRAIN_BYTES) && hash_leaf(bytes) != expected {
            return Err(damaged(layer, key, leaf * LEAF_BYTES, &differs(hash_leaf(bytes), expected)));
        }
    }
    Ok(())
}

fn differs(found: Hash, expected: Hash) -> String {
    format!("found {found:?}, expected {expected:?}")
}

/// A full snapshot is a raw image for any tool: where it has no pages, its file must read as zeroes.
fn verify_holes(view: &Overlay, layer: &Layer, buffer: &mut [u8]) -> Result<(), ImageError> {
    if view.top().is_none_or(|top| top.layer != layer.stored.layer) {
        return Ok(());
    }
    let file = view.directory.disk.open(&view.directory.file(&layer.stored.data));
    let file = file.map_err(failed(format!("open {}", layer.stored.data)))?;
    let mut next = 0;
    while let Some(data) = file.next_data(next).map_err(failed(format!("search {}", layer.stored.data)))? {
        let key = Key::new(1, data / BLOCK_BYTES as u64);
        let start = key.index() * BLOCK_BYTES as u64;
        if !layer.index.has(key) {
            let count = file.read_at(buffer, start).map_err(failed(format!("read {}", layer.stored.data)))?;
            if !is_zero(buffer.get(..count).unwrap_or_default()) {
                return Err(damaged(layer, key, 0, "there is data where zeroes were committed"));
            }
        }
        next = start + BLOCK_BYTES as u64;
    }
    Ok(())
}

fn damaged(layer: &Layer, key: Key, inside: usize, detail: &str) -> ImageError {
    let offset = u64::try_from(key.start()).unwrap_or(u64::MAX).saturating_add(inside as u64);
    ImageError::Damaged { snapshot: layer.stored.record.snapshot.clone(), offset, detail: detail.to_owned() }
}
