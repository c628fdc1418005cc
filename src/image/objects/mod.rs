//! Images and snapshots as blocks in an object store: a directory, or a bucket of whatever speaks S3.
//!
//! For sites that keep copies where space is cheap and nothing is written in place. A block of 1 MiB is an object under
//! the hash of its plain bytes, compressed where that helps; equal blocks of all volumes are one object, and zeroes are
//! none. A snapshot is a manifest that names segments, and segments name blocks: complete, not as a layer over another one, so
//! that deleting one never touches the others. All that is known of an image is in its head, a small record that is
//! replaced by creating the next one; that creation is the commit point. Layers as in the file store were refused:
//! merging them would copy what is shared, and read what a bucket charges for.
//!
//! What is asked of the storage is in `bucket`. One writer at a time is a rule for order, not for safety: what two wrote at once would not
//! touch each other, and the head lets one of them commit. Unfinished transfers are not kept: a transfer that is cut off starts
//! again, and finds its blocks there.
//!
//! | file | subject |
//! |---|---|
//! | `config`, `failure` | the table of the configuration; what errors mean |
//! | `bucket` | what is asked of an object store |
//! | `layout`, `record`, `frame` | the format: names, records, binary objects |
//! | `block`, `segment`, `manifest` | the format of what a snapshot is made of |
//! | `head` | all that is known of an image, and the step in which it changes |
//! | `lease`, `stage` | who writes, and taking an image |
//! | `staged`, `commit` | writing a new snapshot, and making it visible |
//! | `store`, `snapshot`, `mending` | what is there, reading it, and putting again what rotted |
//! | `condemned`, `live`, `mark`, `collect`, `litter` | giving back the space of what was deleted or left |

mod block;
mod bucket;
mod collect;
mod commit;
mod condemned;
mod config;
mod failure;
mod frame;
mod head;
mod layout;
mod lease;
mod litter;
mod live;
mod manifest;
mod mark;
mod mending;
mod record;
mod segment;
mod snapshot;
mod stage;
mod staged;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

pub use self::config::ObjectsConfig;
use self::store::Shared;
use crate::id::{ImageName, SnapshotId};
use crate::image::{Chain, ImageError, ImageStore, Mending, SnapshotImage, StageRequest, StagedImage};

/// Images in an object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ObjectsStore {
    shared: Arc<Shared>,
}

impl ObjectsStore {
    /// Opens the store, and makes it where there is none.
    pub async fn open(config: &ObjectsConfig) -> Result<Self, ImageError> {
        let (bucket, directory) = config.open()?;
        Ok(Self { shared: Arc::new(Shared::open(bucket, directory, lease::LIFETIME).await?) })
    }
}

#[async_trait]
impl ImageStore for ObjectsStore {
    async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        self.shared.chain(image).await
    }

    async fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        self.shared.confirm(image, snapshot).await
    }

    async fn stage(&self, request: StageRequest) -> Result<Arc<dyn StagedImage>, ImageError> {
        Ok(Arc::new(stage::stage(&self.shared, request).await?))
    }

    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError> {
        Ok(Arc::new(self.shared.open_snapshot(image, snapshot).await?))
    }

    async fn mend(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn Mending>, ImageError> {
        Ok(Arc::new(mending::ObjectsMending::begin(&self.shared, image, snapshot).await?))
    }

    async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        self.shared.delete(image, snapshot).await
    }

    async fn deleted(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        self.shared.deleted(image, snapshot).await
    }

    fn is_private(&self) -> bool {
        false
    }

    async fn identity(&self) -> Result<Option<String>, ImageError> {
        Ok(Some(self.shared.identity()))
    }

    async fn sweep(&self) -> Result<u64, ImageError> {
        collect::sweep(&self.shared).await
    }

    async fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        self.shared.free_bytes()
    }
}
