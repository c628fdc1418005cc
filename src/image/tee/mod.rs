//! One store made of two: whatever is committed is in both.
//!
//! For a site that keeps each copy twice, in storages that fail in different ways. It is a store of the host and not a
//! plugin: a guest that answered with two images would have to see both, the contract would need another answer to
//! `begin`, and what matters here, the order of two commits and what follows when there is only one of them, must
//! not be a guest's to decide.
//!
//! **What is in both is there**, and nothing else. A commit commits in the first store and then in the second. Between the two,
//! and after a failure there, the snapshot is in the first alone: no chain shows it, nobody reads it, and it is nobody's
//! base. The same transfer again finds it there, as after any lost answer, commits in the second, and so heals it. Other
//! content under the same name is refused, as everywhere, until the half is deleted. A deletion begins with the first
//! store, which then remembers it and refuses the tickets from before; cut there, the same deletion again ends it.
//! Committing in both at once was refused: it leaves four states to tell apart instead of three.
//!
//! Reads come from the first store, and where that has lost something, from the second: the caller proves both by the same
//! root. Each block is copied once for the second store, into buffers of the tee's own.

mod staged;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use self::staged::TeeStaged;
use super::{Chain, ImageError, ImageStore, Mending, SnapshotImage, SnapshotRecord, StageRequest, StagedImage};
use crate::buffer::{BlockBuffer, BufferPool};
use crate::content::{GrainMap, Page, PageSource};
use crate::id::{ImageName, SnapshotId};

/// Blocks on their way to the second store, of all transfers together: 16 MiB.
const COPIES: usize = 16;

/// Two stores as one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TeeStore {
    first: Arc<dyn ImageStore>,
    second: Arc<dyn ImageStore>,
    copies: BufferPool,
}

impl TeeStore {
    #[must_use]
    pub fn new(first: Arc<dyn ImageStore>, second: Arc<dyn ImageStore>) -> Self {
        Self { first, second, copies: BufferPool::new(COPIES) }
    }

    async fn chains(&self, image: &ImageName) -> Result<(Chain, Chain), ImageError> {
        Ok((self.first.chain(image).await?, self.second.chain(image).await?))
    }
}

/// Whether two records are of the same snapshot.
fn is_same(one: &SnapshotRecord, other: &SnapshotRecord) -> bool {
    one.snapshot == other.snapshot && one.root == other.root && one.size == other.size
}

/// What is in both, in the order of the first. What one of them has and cannot read is damaged.
fn both(first: Chain, second: &Chain) -> Chain {
    let is_in_both =
        |record: &SnapshotRecord| second.find(&record.snapshot).is_some_and(|there| is_same(record, there));
    let mut damaged = first.damaged.clone();
    damaged.extend(second.damaged.iter().filter(|name| !first.damaged.contains(name)).cloned());
    Chain { snapshots: first.snapshots.into_iter().filter(is_in_both).collect(), damaged }
}

#[async_trait]
impl ImageStore for TeeStore {
    async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        let (first, second) = self.chains(image).await?;
        Ok(both(first, &second))
    }

    async fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        let is_there = self.chain(image).await?.find(snapshot).is_some();
        Ok(is_there && self.first.confirm(image, snapshot).await? && self.second.confirm(image, snapshot).await?)
    }

    async fn stage(&self, request: StageRequest) -> Result<Arc<dyn StagedImage>, ImageError> {
        let request = StageRequest { upload: None, ..request };
        let first = self.first.stage(request.clone()).await?;
        let second = self.second.stage(request.clone()).await?;
        Ok(Arc::new(TeeStaged::new(&request, first, second, self.copies.clone())?))
    }

    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError> {
        let missing = || ImageError::NotFound { image: image.clone(), snapshot: snapshot.clone() };
        match (self.first.open(image, snapshot).await, self.second.open(image, snapshot).await) {
            (Ok(first), Ok(second)) if is_same(first.record(), second.record()) => {
                Ok(Arc::new(TeeSnapshot { first, second }))
            }
            (Ok(_), Ok(_)) | (Err(ImageError::NotFound { .. }), _) | (_, Err(ImageError::NotFound { .. })) => {
                Err(missing())
            }
            // There, and one of them cannot read it.
            (Ok(whole), Err(ImageError::Damaged { detail, .. }))
            | (Err(ImageError::Damaged { detail, .. }), Ok(whole)) => {
                tracing::warn!(%image, %snapshot, detail, "read a snapshot of which one of two copies is damaged");
                Ok(whole)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    async fn mend(&self, _image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn Mending>, ImageError> {
        let detail = "it is in two stores; mend it in each of them, with a gateway that has that one alone".to_owned();
        Err(ImageError::Unmendable { snapshot: snapshot.clone(), detail })
    }

    async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        let first = self.first.delete(image, snapshot).await;
        if !matches!(first, Ok(()) | Err(ImageError::NotFound { .. })) {
            return first;
        }
        match self.second.delete(image, snapshot).await {
            // One half is enough to have been deleted.
            Err(ImageError::NotFound { .. }) => first,
            other => other,
        }
    }

    async fn deleted(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        let first = self.first.deleted(image, snapshot).await?;
        Ok(first.max(self.second.deleted(image, snapshot).await?))
    }

    fn is_private(&self) -> bool {
        self.first.is_private() || self.second.is_private()
    }

    async fn identity(&self) -> Result<Option<String>, ImageError> {
        let (first, second) = (self.first.identity().await?, self.second.identity().await?);
        Ok(first.zip(second).map(|(first, second)| format!("tee:{first}+{second}")))
    }

    async fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        let (first, second) = (self.first.free_bytes().await?, self.second.free_bytes().await?);
        Ok(first.into_iter().chain(second).min())
    }
}

/// A snapshot that is in both stores.
#[derive(Debug)]
struct TeeSnapshot {
    first: Arc<dyn SnapshotImage>,
    second: Arc<dyn SnapshotImage>,
}

impl TeeSnapshot {
    fn told(&self, error: &ImageError) {
        tracing::warn!(snapshot = %self.record().snapshot, %error, "read from the second store what the first has lost");
    }
}

#[async_trait]
impl PageSource for TeeSnapshot {
    type Error = ImageError;

    async fn page(&self, level: u8, index: u64) -> Result<Page, ImageError> {
        match self.first.page(level, index).await {
            Err(error @ ImageError::Damaged { .. }) => {
                self.told(&error);
                self.second.page(level, index).await
            }
            other => other,
        }
    }
}

#[async_trait]
impl SnapshotImage for TeeSnapshot {
    fn record(&self) -> &SnapshotRecord {
        self.first.record()
    }

    async fn pages(&self, level: u8, indices: &[u64]) -> Result<Vec<Page>, ImageError> {
        match self.first.pages(level, indices).await {
            Err(error @ ImageError::Damaged { .. }) => {
                self.told(&error);
                self.second.pages(level, indices).await
            }
            other => other,
        }
    }

    async fn read(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        match self.first.read(block, wanted, buffer).await {
            Err(error @ ImageError::Damaged { .. }) => {
                self.told(&error);
                self.second.read(block, wanted, buffer).await
            }
            other => other,
        }
    }
}
