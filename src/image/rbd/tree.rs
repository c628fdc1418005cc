//! The content tree of a snapshot: the pages of its own layer, over those of the layers below.

use std::io;

use rsnap_rbd::Pool;

use super::catalog::{Catalog, Entry};
use super::objects::Objects;
use super::record::{Layer, Stored};
use crate::content::{HEIGHT, Page, Root};
use crate::image::ImageError;
use crate::image::sidecar::{Index, Key, Leafed};

/// One layer's own pages.
#[derive(Debug)]
pub(super) struct Pages {
    pub layer: Layer,
    pub index: Index,
    objects: Objects,
}

impl Pages {
    pub(super) fn load(pool: &Pool, stored: &Stored) -> Result<Self, ImageError> {
        let layer = stored.layer.clone();
        let objects = Objects::new(pool, &stored.image, &layer.tree, layer.tree_bytes);
        let index = Index::load(&objects).map_err(|error| unreadable(&layer, 0, error))?;
        Ok(Self { layer, index, objects })
    }

    /// The layer's own page.
    pub(super) fn read(&self, key: Key) -> Result<Option<Leafed>, ImageError> {
        let offset = u64::try_from(key.start()).unwrap_or_default();
        self.index.read(&self.objects, key).map_err(|error| unreadable(&self.layer, offset, error))
    }
}

/// All layers of a snapshot.
#[derive(Debug)]
pub(super) struct Tree {
    /// Newest first, a full one last.
    layers: Vec<Pages>,
}

impl Tree {
    pub(super) fn load(pool: &Pool, catalog: &Catalog, entry: &Entry) -> Result<Self, ImageError> {
        let layer = &entry.stored.layer;
        let line = catalog.line(&layer.name).ok_or_else(|| damaged(layer, 0, "a layer below it is missing"))?;
        let layers = line.into_iter().map(|entry| Pages::load(pool, &entry.stored));
        Ok(Self { layers: layers.collect::<Result<_, ImageError>>()? })
    }

    /// Whether the tree of a whole snapshot can be read, and is the one that its record names. Looks at its indexes and its top
    /// page.
    pub(super) fn is_sound(pool: &Pool, catalog: &Catalog, entry: &Entry) -> Result<bool, ImageError> {
        let record = &entry.stored.layer.record;
        let top = Self::load(pool, catalog, entry).and_then(|tree| tree.page(Key::new(HEIGHT, 0)));
        match top {
            Ok(page) => Ok(Root::new(record.size, page.hash()) == record.root),
            Err(ImageError::Damaged { detail, .. }) => {
                tracing::warn!(snapshot = %record.snapshot, detail, "a committed snapshot is damaged; it can be sent again");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether both consist of the same objects.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let trees = |tree: &Self| -> Vec<String> { tree.layers.iter().map(|pages| pages.layer.tree.clone()).collect() };
        trees(self) == trees(other)
    }

    /// A page of the snapshot; all zero where it has none.
    pub(super) fn page(&self, key: Key) -> Result<Page, ImageError> {
        let mut limit = self.layers.first().map_or(0, |pages| pages.layer.record.size);
        for pages in &self.layers {
            // The top page counts whatever the size is, even zero.
            if key.start() >= u128::from(limit) && key.level() < HEIGHT {
                break;
            }
            if let Some(leafed) = pages.read(key)? {
                return Ok(leafed.page);
            }
            limit = limit.min(pages.layer.limit);
        }
        Ok(Page::default())
    }
}

/// What a tree that cannot be read means: one that is missing or torn is damage, a cluster that does not answer is not.
fn unreadable(layer: &Layer, offset: u64, error: io::Error) -> ImageError {
    match error.kind() {
        io::ErrorKind::InvalidData => damaged(layer, offset, &error.to_string()),
        io::ErrorKind::NotFound => damaged(layer, offset, "objects of its content tree are missing"),
        _ => ImageError::Io {
            action: format!("read the content tree of snapshot {}", layer.record.snapshot),
            source: error,
        },
    }
}

fn damaged(layer: &Layer, offset: u64, detail: &str) -> ImageError {
    ImageError::Damaged { snapshot: layer.record.snapshot.clone(), offset, detail: detail.to_owned() }
}
