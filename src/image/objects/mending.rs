//! Putting a block that rotted again.
//!
//! The name of a block says what its bytes are, so it is right for all snapshots that share it, of whatever volume, and
//! a collection or a transfer beside this is not disturbed. It must be put whole: the bytes that were proven, over those
//! that can still be unpacked.

use std::sync::Arc;

use async_trait::async_trait;

use super::block;
use super::bucket::Bucket;
use super::layout::Piece;
use super::segment;
use super::snapshot::ObjectsSnapshot;
use crate::content::{BLOCK_BYTES, GRAIN_BYTES};
use crate::image::blocking::blocking;
use crate::image::{ImageError, Mending, ProvenLeaves, SnapshotImage};

/// See the module's text.
#[derive(Debug)]
pub(super) struct ObjectsMending {
    bucket: Bucket,
    snapshot: ObjectsSnapshot,
}

impl ObjectsMending {
    pub(super) fn new(bucket: Bucket, snapshot: ObjectsSnapshot) -> Self {
        Self { bucket, snapshot }
    }

    /// What is there of a block, whether it is right or not; zeroes where nothing can be unpacked.
    async fn there(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let object = match self.bucket.read(name, block::OBJECT_MAX).await {
            Err(ImageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::InvalidData => None,
            other => other?,
        };
        let unpacked = blocking(move || Ok(object.and_then(|object| block::unpack(&object).ok())));
        Ok(unpacked.await?.unwrap_or_else(|| vec![0; BLOCK_BYTES]))
    }
}

#[async_trait]
impl Mending for ObjectsMending {
    fn image(&self) -> Arc<dyn SnapshotImage> {
        Arc::new(self.snapshot.clone())
    }

    async fn mend(&self, leaves: ProvenLeaves) -> Result<u64, ImageError> {
        let number = leaves.block();
        let segment = self.snapshot.segment(number / segment::BLOCKS).await?;
        // Zeroes are no object, and nothing of them can rot.
        let Some(entry) = segment.get(number) else { return Ok(0) };
        let name = Piece::Block { hash: entry.page.hash(), session: entry.session }.name();
        let mut whole = self.there(&name).await?;
        let mut written = 0;
        for at in leaves.grains().runs().flat_map(|run| run.step_by(GRAIN_BYTES)) {
            let (Some(to), Some(from)) =
                (whole.get_mut(at..at + GRAIN_BYTES), leaves.bytes().get(at..at + GRAIN_BYTES))
            else {
                continue;
            };
            if to != from {
                to.copy_from_slice(from);
                written += GRAIN_BYTES as u64;
            }
        }
        let (page, whole) = blocking(move || Ok((block::page_of(&whole), whole))).await?;
        if page != entry.page {
            let snapshot = self.snapshot.record().snapshot.clone();
            let detail = "all leaves of a block are needed at once, and some are missing".to_owned();
            return Err(ImageError::Unmendable { snapshot, detail });
        }
        let object = blocking(move || Ok(block::encode(&whole))).await?;
        self.bucket.write(&name, object).await?;
        Ok(written)
    }

    async fn flush(&self) -> Result<(), ImageError> {
        Ok(())
    }
}
