//! Reading a snapshot through its layers.
//!
//! A snapshot is what its own layer holds, over what its parent's holds, down to a full one. Files are opened when
//! a read needs them and only a few are kept open: a chain of a thousand would else need two thousand descriptors.
//! So a file may be gone when it is wanted, because layers were merged meanwhile; the caller then looks up the layers
//! again (see [`super::snapshot`]).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::catalog::{Catalog, Entry};
use super::disk::DiskFile;
use super::failed;
use super::layout::ImageDirectory;
use super::record::Stored;
use crate::content::{BLOCK_BYTES, GrainMap, HEIGHT, Page, Root};
use crate::image::ImageError;
use crate::image::presence::below;
use crate::image::sidecar::{Index, Key, Leafed};

/// Files that one overlay keeps open.
const FILES_OPEN: usize = 64;

/// One layer with its index.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub stored: Stored,
    pub index: Arc<Index>,
}

impl Layer {
    pub(super) fn load(directory: &ImageDirectory, stored: &Stored) -> Result<Self, ImageError> {
        let file = directory.disk.open(&directory.file(&stored.tree));
        let index = file.and_then(|file| Index::load(file.as_ref()));
        let index = index.map_err(|error| unreadable(stored, 0, error))?;
        Ok(Self { stored: stored.clone(), index: Arc::new(index) })
    }

    fn is_full(&self) -> bool {
        self.stored.parent.is_none()
    }
}

/// Grains of a block, the layer that they are read from, and before which byte of the image.
pub(super) type Deciding<'a> = (&'a Arc<Layer>, GrainMap, u64);

/// A snapshot and the layers below it.
#[derive(Debug, Clone)]
pub(super) struct Overlay {
    pub directory: ImageDirectory,
    /// Newest first, a full one last.
    pub layers: Vec<Arc<Layer>>,
    files: Arc<OpenFiles>,
}

impl Overlay {
    pub(super) fn new(directory: &ImageDirectory, layers: Vec<Arc<Layer>>) -> Self {
        Self { directory: directory.clone(), layers, files: Arc::default() }
    }

    /// The overlay of `entry`, which must be whole in `catalog`.
    pub(super) fn load(directory: &ImageDirectory, catalog: &Catalog, entry: &Entry) -> Result<Self, ImageError> {
        let line = catalog.line(&entry.stored.layer).ok_or_else(|| ImageError::Damaged {
            snapshot: entry.stored.record.snapshot.clone(),
            offset: 0,
            detail: "a layer below it is missing".to_owned(),
        })?;
        let layers = line.into_iter().map(|entry| Ok(Arc::new(Layer::load(directory, &entry.stored)?)));
        Ok(Self::new(directory, layers.collect::<Result<_, ImageError>>()?))
    }

    /// Whether the tree of a whole snapshot can be read, and is the one that its record names. Looks at its indexes and its
    /// top page.
    pub(super) fn is_sound(directory: &ImageDirectory, catalog: &Catalog, entry: &Entry) -> Result<bool, ImageError> {
        let record = &entry.stored.record;
        let top = Self::load(directory, catalog, entry).and_then(|overlay| overlay.page(Key::new(HEIGHT, 0)));
        match top {
            Ok(page) => Ok(Root::new(record.size, page.hash()) == record.root),
            Err(ImageError::Damaged { detail, .. }) => {
                tracing::warn!(snapshot = %record.snapshot, detail, "a committed snapshot is damaged; it can be sent again");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The same image seen from its layer number `first`.
    pub(super) fn from(&self, first: usize) -> Self {
        let layers = self.layers.get(first..).unwrap_or_default().to_vec();
        Self { directory: self.directory.clone(), layers, files: Arc::clone(&self.files) }
    }

    /// Puts another record in the place of that of layer number `position`.
    pub(super) fn renew(&mut self, position: usize, stored: Stored) {
        if let Some(layer) = self.layers.get_mut(position) {
            *layer = Arc::new(Layer { stored, index: Arc::clone(&layer.index) });
        }
    }

    /// The record of the newest layer.
    pub(super) fn top(&self) -> Option<&Stored> {
        self.layers.first().map(|layer| &layer.stored)
    }

    /// Bytes of the image.
    pub(super) fn size(&self) -> u64 {
        self.top().map_or(0, |stored| stored.record.size)
    }

    /// The page of the snapshot's tree; all zero where it has none.
    pub(super) fn page(&self, key: Key) -> Result<Page, ImageError> {
        let mut limit = self.size();
        for layer in &self.layers {
            // The top page counts whatever the size is, even zero.
            if key.start() >= u128::from(limit) && key.level() < HEIGHT {
                break;
            }
            if let Some(leafed) = self.leafed(layer, key)? {
                return Ok(leafed.page);
            }
            limit = limit.min(layer.stored.limit);
        }
        Ok(Page::default())
    }

    /// The page that `layer` itself has.
    pub(super) fn leafed(&self, layer: &Layer, key: Key) -> Result<Option<Leafed>, ImageError> {
        if !layer.index.has(key) {
            return Ok(None);
        }
        let file = self.files.get(&self.directory, &layer.stored.tree);
        let offset = u64::try_from(key.start()).unwrap_or_default();
        file.and_then(|file| layer.index.read(file.as_ref(), key))
            .map_err(|error| unreadable(&layer.stored, offset, error))
    }

    /// Which grains of a block `layer` decides, as far as the bytes before `limit` go.
    fn decided(&self, layer: &Layer, block: u64, limit: u64) -> Result<GrainMap, ImageError> {
        let key = Key::new(1, block);
        if layer.is_full() {
            return Ok(if layer.index.has(key) { below(block, limit) } else { GrainMap::EMPTY });
        }
        let present = self.leafed(layer, key)?.map_or(GrainMap::EMPTY, |leafed| leafed.present);
        Ok(present.intersection(below(block, limit)))
    }

    /// Fills the `wanted` grains of `buffer` (one block) with those of block number `block`.
    pub(super) fn read(&self, block: u64, wanted: GrainMap, buffer: &mut [u8]) -> Result<(), ImageError> {
        for run in wanted.runs() {
            buffer.get_mut(run).unwrap_or_default().fill(0);
        }
        for (layer, here, limit) in self.deciding(block, wanted)? {
            self.read_layer(layer, block, here, limit, buffer)?;
        }
        Ok(())
    }

    /// Which layers the `wanted` grains of a block are read from, and before which byte.
    pub(super) fn deciding(&self, block: u64, wanted: GrainMap) -> Result<Vec<Deciding<'_>>, ImageError> {
        let mut deciding = Vec::new();
        let mut wanted = wanted;
        let mut limit = self.size();
        for layer in &self.layers {
            wanted = wanted.intersection(below(block, limit));
            if wanted.is_empty() {
                break;
            }
            let here = wanted.intersection(self.decided(layer, block, limit)?);
            if !here.is_empty() {
                deciding.push((layer, here, limit));
            }
            wanted = wanted.without(here);
            limit = limit.min(layer.stored.limit);
        }
        Ok(deciding)
    }

    /// Reads grains from the data of one layer; bytes at or after `limit` stay as they are.
    fn read_layer(
        &self,
        layer: &Layer,
        block: u64,
        grains: GrainMap,
        limit: u64,
        buffer: &mut [u8],
    ) -> Result<(), ImageError> {
        if grains.is_empty() {
            return Ok(());
        }
        let start = block * BLOCK_BYTES as u64;
        let inside = usize::try_from(limit.saturating_sub(start)).unwrap_or(usize::MAX);
        let file = self.files.get(&self.directory, &layer.stored.data);
        let file = file.map_err(|error| unreadable(&layer.stored, start, error))?;
        for run in grains.runs() {
            let offset = start + run.start as u64;
            let place = buffer.get_mut(run.start..run.end.min(inside)).unwrap_or_default();
            file.read_at(place, offset).map_err(|error| unreadable(&layer.stored, offset, error))?;
        }
        Ok(())
    }
}

fn unreadable(stored: &Stored, offset: u64, error: io::Error) -> ImageError {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            ImageError::Damaged { snapshot: stored.record.snapshot.clone(), offset, detail: error.to_string() }
        }
        _ => failed(format!("read {}", stored.data))(error),
    }
}

/// The files used last.
#[derive(Debug, Default)]
struct OpenFiles(Mutex<VecDeque<(String, Arc<dyn DiskFile>)>>);

impl OpenFiles {
    fn get(&self, directory: &ImageDirectory, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.recall(name) {
            return Ok(file);
        }
        let file = directory.disk.open(&directory.file(name))?;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_front((name.to_owned(), Arc::clone(&file)));
        open.truncate(FILES_OPEN);
        Ok(file)
    }

    fn recall(&self, name: &str) -> Option<Arc<dyn DiskFile>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.iter().position(|(open, _)| open == name)?;
        let entry = open.remove(found)?;
        let file = Arc::clone(&entry.1);
        open.push_front(entry);
        Some(file)
    }
}
