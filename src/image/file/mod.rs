//! Images and snapshots as plain files: the store that needs nothing but a directory.
//!
//! A full snapshot is a raw image that any tool can read; an incremental is a sparse file with what changed, over the
//! snapshot that it was sent as a change of. Beside each lies a sidecar with its part of the content tree, and one
//! small record, whose creation is the commit. So an incremental costs its change, a snapshot is deleted without
//! copying an image, and what a crash leaves is recognised because no record names it. One file in qcow2 style with
//! internal snapshots was refused: its metadata changes in place, and a torn write there damages snapshots that were
//! committed long ago.
//!
//! | file | subject |
//! |---|---|
//! | `layout`, `record` | the format on disk, with `image::record` and `image::sidecar` |
//! | `disk`, `os` | the file system, as a trait that tests can cut the power of |
//! | `catalog`, `overlay`, `snapshot` | which snapshots there are, and reading them |
//! | `staged`, `commit` | writing a new one, and making it visible |
//! | `upload` | one that outlives its requests |
//! | `stamp`, `prove` | whether a base is what was committed |
//! | `mending` | writing bytes that rotted back |
//! | `collect`, `merge` | giving back the space of what was deleted or left |

mod catalog;
mod collect;
mod commit;
mod disk;
mod layout;
mod mending;
mod merge;
mod os;
mod overlay;
#[cfg(test)]
mod power_loss;
mod prove;
mod record;
#[cfg(test)]
mod simulated;
mod snapshot;
mod staged;
mod stamp;
mod store;
#[cfg(test)]
mod tests;
mod upload;

#[cfg(test)]
pub(in crate::image) use self::simulated::Dice;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use self::os::OsDisk;
use self::store::Shared;
use crate::id::{ImageName, SnapshotId, TransferId};
use crate::image::blocking::blocking;
use crate::image::{
    Chain, ImageError, ImageStore, Mending, SnapshotImage, StageRequest, StagedImage, UploadImage, UploadRecord,
};

/// Images in a directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FileStore {
    shared: Arc<Shared>,
}

impl FileStore {
    /// Opens the store in `path`, and makes it if there is nothing or an empty directory. A directory with other
    /// files, and a store of an unknown format, are refused. Blocks for a few accesses to the file system.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        Self::on(Arc::new(OsDisk), path)
    }

    fn on(disk: Arc<dyn disk::Disk>, root: &Path) -> Result<Self, ImageError> {
        Ok(Self { shared: Arc::new(Shared::open(disk, root)?) })
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
impl ImageStore for FileStore {
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
            let upload = self.with(move |shared| upload::FileUpload::create(shared, request)).await?;
            return Ok(Arc::new(upload));
        }
        let staged = self.with(move |shared| staged::FileStaged::open(shared, request)).await?;
        Ok(Arc::new(staged))
    }

    fn is_resumable(&self) -> bool {
        true
    }

    async fn resume(&self, image: &ImageName, transfer: &TransferId) -> Result<Arc<dyn UploadImage>, ImageError> {
        let (image, transfer) = (image.clone(), transfer.clone());
        let upload = self.with(move |shared| upload::FileUpload::resume(shared, &image, &transfer)).await?;
        Ok(Arc::new(upload))
    }

    async fn uploads(&self, image: &ImageName) -> Result<Vec<UploadRecord>, ImageError> {
        let image = image.clone();
        self.with(move |shared| upload::list(&shared.directory(&image))).await
    }

    async fn expire(&self, before: SystemTime) -> Result<u64, ImageError> {
        self.with(move |shared| upload::expire(shared, before)).await
    }

    async fn discard(&self, image: &ImageName, transfer: &TransferId) -> Result<(), ImageError> {
        let (image, transfer) = (image.clone(), transfer.clone());
        self.with(move |shared| upload::discard(shared, &image, &transfer)).await
    }

    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError> {
        let (image, snapshot) = (image.clone(), snapshot.clone());
        let opened = self.with(move |shared| shared.open_snapshot(&image, &snapshot)).await?;
        Ok(Arc::new(opened))
    }

    async fn mend(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn Mending>, ImageError> {
        let (image, snapshot) = (image.clone(), snapshot.clone());
        let mending = self.with(move |shared| mending::FileMending::open(shared, &image, &snapshot)).await?;
        Ok(Arc::new(mending))
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

    async fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        self.with(|shared| shared.free_bytes().map(Some)).await
    }
}

/// What an I/O error means for the caller.
fn failed(action: impl Into<String>) -> impl FnOnce(io::Error) -> ImageError {
    let action = action.into();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ImageError::Full { detail: format!("could not {action}: {source}") }
        }
        _ => ImageError::Io { action, source },
    }
}
