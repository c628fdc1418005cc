//! A store that remembers under which names snapshots were asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use crate::id::{ImageName, SnapshotId, SnapshotName};
use crate::image::{Chain, ImageError, ImageStore, SnapshotImage, StageRequest, StagedImage};

#[derive(Debug)]
pub(super) struct Spy {
    inner: Arc<dyn ImageStore>,
    asked: Mutex<Vec<StageRequest>>,
}

impl Spy {
    pub(super) fn new(inner: Arc<dyn ImageStore>) -> Self {
        Self { inner, asked: Mutex::default() }
    }

    /// The names under which a snapshot was asked for, one for each attempt.
    pub(super) fn names_of(&self, volume: &str, snapshot: &str) -> Vec<SnapshotName> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |request: &&StageRequest| request.volume.as_str() == volume && request.snapshot.as_str() == snapshot;
        asked.iter().filter(same).map(|request| request.name.clone()).collect()
    }
}

#[async_trait]
impl ImageStore for Spy {
    async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        self.inner.chain(image).await
    }

    async fn confirm(&self, image: &ImageName) -> Result<(), ImageError> {
        self.inner.confirm(image).await
    }

    async fn stage(&self, request: StageRequest) -> Result<Arc<dyn StagedImage>, ImageError> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        self.inner.stage(request).await
    }

    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError> {
        self.inner.open(image, snapshot).await
    }

    async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        self.inner.delete(image, snapshot).await
    }

    async fn deleted(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        self.inner.deleted(image, snapshot).await
    }

    fn is_private(&self) -> bool {
        self.inner.is_private()
    }

    async fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        self.inner.free_bytes().await
    }
}
