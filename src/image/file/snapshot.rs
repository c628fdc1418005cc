//! A committed snapshot, open for reading.
//!
//! It keeps working while other snapshots of its image are deleted: where a merge has taken a file away, the layers
//! are looked up again, and what it reads there is the same. A deleted snapshot keeps its data as long as this
//! process reads it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::catalog::Catalog;
use super::overlay::Overlay;
use super::record::Stored;
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap, Page, PageSource};
use crate::image::blocking::blocking;
use crate::image::readers::Reading;
use crate::image::sidecar::Key;
use crate::image::{ImageError, SnapshotImage, SnapshotRecord};

/// How often layers are looked up again before a missing file is believed to be missing.
const LOOKUPS: usize = 8;

/// See the module's text.
#[derive(Debug, Clone)]
pub(super) struct FileSnapshot(Arc<Open>);

#[derive(Debug)]
struct Open {
    stored: Stored,
    overlay: Mutex<Overlay>,
    _reading: Reading,
}

impl FileSnapshot {
    pub(super) fn new(overlay: Overlay, stored: Stored, reading: Reading) -> Self {
        Self(Arc::new(Open { stored, overlay: Mutex::new(overlay), _reading: reading }))
    }

    /// The layers as they were looked up last.
    pub(super) fn overlay(&self) -> Overlay {
        self.0.overlay.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl Fn(&Overlay) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let this = self.clone();
        blocking(move || this.retry(work)).await
    }

    fn retry<T>(&self, work: impl Fn(&Overlay) -> Result<T, ImageError>) -> Result<T, ImageError> {
        for _ in 0..LOOKUPS {
            match work(&self.overlay()) {
                Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => self.look_up()?,
                other => return other,
            }
        }
        work(&self.overlay())
    }

    fn look_up(&self) -> Result<(), ImageError> {
        let directory = self.overlay().directory;
        let snapshot = &self.0.stored.record.snapshot;
        let missing = || ImageError::NotFound { image: directory.image.clone(), snapshot: snapshot.clone() };
        let _records = directory.share_records()?.ok_or_else(missing)?;
        let catalog = Catalog::load(&directory)?;
        let entry = catalog.layer(&self.0.stored.layer).ok_or_else(missing)?;
        let overlay = Overlay::load(&directory, &catalog, entry)?;
        *self.0.overlay.lock().unwrap_or_else(PoisonError::into_inner) = overlay;
        Ok(())
    }
}

#[async_trait]
impl PageSource for FileSnapshot {
    type Error = ImageError;

    async fn page(&self, level: u8, index: u64) -> Result<Page, ImageError> {
        self.with(move |overlay| overlay.page(Key::new(level, index))).await
    }
}

#[async_trait]
impl SnapshotImage for FileSnapshot {
    fn record(&self) -> &SnapshotRecord {
        &self.0.stored.record
    }

    async fn pages(&self, level: u8, indices: &[u64]) -> Result<Vec<Page>, ImageError> {
        let keys: Vec<Key> = indices.iter().map(|index| Key::new(level, *index)).collect();
        self.with(move |overlay| keys.iter().map(|key| overlay.page(*key)).collect()).await
    }

    async fn read(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        // The caller's buffer cannot follow to the thread that may block, so there is a second one and a copy.
        let read = move |overlay: &Overlay| {
            let mut bytes = vec![0; BLOCK_BYTES];
            overlay.read(block, wanted, &mut bytes)?;
            Ok(bytes)
        };
        let bytes = self.with(read).await?;
        for run in wanted.runs() {
            if let (Some(to), Some(from)) = (buffer.get_mut(run.clone()), bytes.get(run)) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }
}
