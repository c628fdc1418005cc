//! Images and snapshots in Ceph RBD, where Cinder has them.
//!
//! A volume is an RBD image and a snapshot an RBD snapshot of it, under the names that Cinder expects, so that everything
//! that works on those works on ours. The data of a transfer goes to the image's head and becomes a snapshot at the commit.
//! What rsnap knows of a snapshot is a small sealed record in the image's metadata; its content tree lies in RADOS objects
//! beside the image. Two things were refused: a pool of our own with a format of our own, which no Cinder could attach;
//! and the `rbd` tool as the writer, which takes a name for a base and leaves the head dirty after an error.
//!
//! **Visible** is a snapshot whose record is there and whose RBD snapshot has its name and its id. A record without it is
//! damaged, a snapshot without a record is not ours.
//!
//! | file | subject |
//! |---|---|
//! | `config`, `failure` | the table of the configuration; what Ceph's errors mean |
//! | `record`, `objects`, `tree` | the format: metadata, objects, and the pages in them |
//! | `catalog`, `recovery`, `revert` | what follows from what is there, decided without a cluster |
//! | `session`, `clients`, `fence`, `writers` | one writer at a time, what happens to the one before, and who is no concern of ours |
//! | `stage`, `head` | taking an image, and making its head the base |
//! | `staged`, `staging`, `ending` | writing a new snapshot |
//! | `upload` | transfers that outlive their requests |
//! | `commit`, `publish` | making it visible |
//! | `store`, `snapshot` | what is there, and reading it |
//! | `delete`, `collect`, `sweep` | deleting, and giving back the space of what was deleted or left |

mod catalog;
mod clients;
mod collect;
mod commit;
mod config;
#[cfg(test)]
mod deaths;
mod delete;
mod ending;
mod failure;
mod fence;
mod head;
mod making;
mod objects;
mod publish;
mod record;
mod recovery;
mod revert;
mod session;
mod snapshot;
mod stage;
mod staged;
mod staging;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod tree;
mod upload;
mod writers;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

pub use self::config::RbdConfig;
use self::staged::RbdStaged;
use self::store::Shared;
use self::upload::RbdUpload;
use crate::id::{ImageName, SnapshotId, TransferId};
use crate::image::blocking::blocking;
use crate::image::{
    Chain, ImageError, ImageStore, Mending, SnapshotImage, StageRequest, StagedImage, UploadImage, UploadRecord,
};
use crate::metrics::Metrics;

/// Images in a Ceph pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RbdStore {
    shared: Arc<Shared>,
}

impl RbdStore {
    /// Loads librbd and connects to the cluster. Blocks, at most about as long as the configured timeout.
    pub fn open(config: RbdConfig, metrics: Arc<Metrics>) -> Result<Self, ImageError> {
        Ok(Self { shared: Arc::new(Shared::open(config, metrics)?) })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Shared>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || work(&shared)).await
    }
}

#[async_trait]
impl ImageStore for RbdStore {
    async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        let image = image.clone();
        self.with(move |shared| shared.chain(&image)).await
    }

    async fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        let (image, snapshot) = (image.clone(), snapshot.clone());
        self.with(move |shared| shared.confirm(&image, &snapshot)).await
    }

    async fn stage(&self, request: StageRequest) -> Result<Arc<dyn StagedImage>, ImageError> {
        if request.upload.is_some() {
            return Ok(Arc::new(self.with(move |shared| RbdUpload::create(shared, request)).await?));
        }
        Ok(Arc::new(self.with(move |shared| RbdStaged::open(shared, request)).await?))
    }

    fn is_resumable(&self) -> bool {
        true
    }

    async fn resume(&self, image: &ImageName, transfer: &TransferId) -> Result<Arc<dyn UploadImage>, ImageError> {
        if let Some(upload) = upload::wake(&self.shared.resting, image, transfer).await {
            return Ok(Arc::new(upload));
        }
        upload::overtake(&self.shared, image, transfer).await;
        let (image, transfer) = (image.clone(), transfer.clone());
        Ok(Arc::new(self.with(move |shared| RbdUpload::resume(shared, &image, &transfer)).await?))
    }

    async fn uploads(&self, image: &ImageName) -> Result<Vec<UploadRecord>, ImageError> {
        let image = image.clone();
        self.with(move |shared| shared.uploads(&image)).await
    }

    async fn expire(&self, before: SystemTime) -> Result<u64, ImageError> {
        self.with(move |shared| shared.expire(before)).await
    }

    async fn discard(&self, image: &ImageName, transfer: &TransferId) -> Result<(), ImageError> {
        let (name, given_up) = (image.clone(), transfer.clone());
        if !self.with(move |shared| shared.give_up(&name, &given_up)).await? {
            return Ok(());
        }
        upload::overtake(&self.shared, image, transfer).await;
        let (image, transfer) = (image.clone(), transfer.clone());
        self.with(move |shared| shared.clear_away(&image, &transfer)).await
    }

    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError> {
        let (image, snapshot) = (image.clone(), snapshot.clone());
        let opened = self.with(move |shared| shared.open_snapshot(&image, &snapshot)).await?;
        Ok(Arc::new(opened))
    }

    /// A snapshot in Ceph is read-only for everybody. The same bytes at the head would not be in it.
    async fn mend(&self, _image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn Mending>, ImageError> {
        let detail = "snapshots in Ceph are read-only. Let Ceph repair it from its own copies (`rados \
                      list-inconsistent-obj`, `ceph pg repair`); else delete this snapshot here and send it again"
            .to_owned();
        Err(ImageError::Unmendable { snapshot: snapshot.clone(), detail })
    }

    async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        let (image, snapshot) = (image.clone(), snapshot.clone());
        self.with(move |shared| shared.delete(&image, &snapshot)).await
    }

    async fn deleted(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        let (image, snapshot) = (image.clone(), snapshot.clone());
        self.with(move |shared| shared.deleted(&image, &snapshot)).await
    }

    fn is_private(&self) -> bool {
        false
    }

    async fn identity(&self) -> Result<Option<String>, ImageError> {
        self.with(|shared| shared.identity().map(Some)).await
    }

    async fn sweep(&self) -> Result<u64, ImageError> {
        self.with(|shared| shared.sweep()).await
    }

    async fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        self.with(|shared| shared.free_bytes()).await
    }
}
