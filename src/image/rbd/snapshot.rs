//! A committed snapshot, open for reading.
//!
//! Opened read-only and at the snapshot's id: no lock, no watch, and never another snapshot of the same name. It keeps
//! working while other snapshots of its image are deleted: where a merge has taken objects of its tree away, the layers
//! are looked up again. A deleted snapshot keeps its data as long as this process reads it; if another gateway deletes it,
//! reads fail, or give zeroes that the tree does not agree with.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rsnap_rbd::{Image, Mode, Pool, SnapshotReference};

use super::catalog::{Catalog, Entry};
use super::failure::unanswered;
use super::record::Stored;
use super::store::Shared;
use super::tree::Tree;
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap, Page, PageSource};
use crate::id::ImageName;
use crate::image::blocking::blocking;
use crate::image::readers::Reading;
use crate::image::sidecar::Key;
use crate::image::{ImageError, SnapshotImage, SnapshotRecord};

/// How often layers are looked up again before missing objects are believed to be missing.
const LOOKUPS: usize = 4;

/// See the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct RbdSnapshot(Arc<Open>);

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    name: ImageName,
    stored: Stored,
    image: Image,
    tree: Mutex<Arc<Tree>>,
    client: Client,
    _reading: Reading,
}

/// Whose connection is read through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// The one that all readers share.
    Readers,
    /// A transfer's own, for its base: to be cut off means to be overtaken.
    Transfer,
}

impl Client {
    fn failed(self, error: ImageError) -> ImageError {
        match (self, error) {
            (Self::Transfer, ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotConnected => {
                ImageError::Fenced
            }
            (_, error) => error,
        }
    }
}

impl RbdSnapshot {
    /// Opens what `entry` says. Blocks.
    pub(super) fn open(
        shared: &Arc<Shared>,
        pool: &Pool,
        name: &ImageName,
        catalog: &Catalog,
        entry: &Entry,
        (client, reading): (Client, Reading),
    ) -> Result<Self, ImageError> {
        let stored = entry.stored.clone();
        if !entry.is_there {
            return Err(ImageError::Damaged {
                snapshot: stored.layer.record.snapshot,
                offset: 0,
                detail: format!("its RBD snapshot {} was removed, renamed or made again", stored.layer.record.name),
            });
        }
        let tree = Mutex::new(Arc::new(Tree::load(pool, catalog, entry)?));
        let at = Some(SnapshotReference::Id(stored.snapshot));
        let image = pool.open(name.as_str(), Mode::ReadOnly, at).map_err(unanswered)?;
        let open =
            Open { shared: Arc::clone(shared), name: name.clone(), stored, image, tree, client, _reading: reading };
        Ok(Self(Arc::new(open)))
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.0.stored
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl Fn(&Tree) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let this = self.clone();
        blocking(move || this.0.retry(work)).await.map_err(|error| self.0.client.failed(error))
    }
}

impl Open {
    fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.tree.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn retry<T>(&self, work: impl Fn(&Tree) -> Result<T, ImageError>) -> Result<T, ImageError> {
        let mut tree = self.tree();
        for _ in 0..LOOKUPS {
            match work(&tree) {
                Err(damaged @ ImageError::Damaged { .. }) => {
                    let again = self.look_up()?;
                    if again.is_same(&tree) {
                        return Err(damaged);
                    }
                    tree = again;
                }
                other => return other,
            }
        }
        work(&tree)
    }

    fn look_up(&self) -> Result<Arc<Tree>, ImageError> {
        let layer = &self.stored.layer;
        let missing = || ImageError::NotFound { image: self.name.clone(), snapshot: layer.record.snapshot.clone() };
        let survey = self.shared.survey(&self.name)?.ok_or_else(missing)?;
        let entry = survey.catalog.layer(&layer.name).ok_or_else(missing)?;
        let tree = Arc::new(Tree::load(&survey.pool, &survey.catalog, entry)?);
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&tree);
        Ok(tree)
    }
}

#[async_trait]
impl PageSource for RbdSnapshot {
    type Error = ImageError;

    async fn page(&self, level: u8, index: u64) -> Result<Page, ImageError> {
        self.with(move |tree| tree.page(Key::new(level, index))).await
    }
}

#[async_trait]
impl SnapshotImage for RbdSnapshot {
    fn record(&self) -> &SnapshotRecord {
        &self.0.stored.layer.record
    }

    async fn pages(&self, level: u8, indices: &[u64]) -> Result<Vec<Page>, ImageError> {
        let keys: Vec<Key> = indices.iter().map(|index| Key::new(level, *index)).collect();
        self.with(move |tree| keys.iter().map(|key| tree.page(*key)).collect()).await
    }

    async fn read(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        let start = block.saturating_mul(BLOCK_BYTES as u64);
        let inside = usize::try_from(self.record().size.saturating_sub(start)).unwrap_or(usize::MAX);
        for run in wanted.runs() {
            let place = buffer.get_mut(run.clone()).unwrap_or_default();
            let length = run.end.min(inside).saturating_sub(run.start);
            // The library fills a buffer that it owns meanwhile, so the caller's cannot be lent to it.
            let (count, bytes) = match length {
                0 => (0, Vec::new()),
                _ => {
                    let read = self.0.image.read(start + run.start as u64, vec![0; length]).await;
                    read.map_err(|error| self.0.client.failed(unanswered(error)))?
                }
            };
            let (data, rest) = place.split_at_mut(count.min(bytes.len()).min(place.len()));
            data.copy_from_slice(bytes.get(..data.len()).unwrap_or_default());
            rest.fill(0);
        }
        Ok(())
    }
}
