//! Putting a block that rotted again.
//!
//! The name of a block says what its bytes are, so it is right for all snapshots that share it, of whatever volume, and
//! a transfer beside this is not disturbed. It must be put whole: the bytes that were proven, over those that can still be
//! unpacked.
//!
//! It is put for a snapshot that is there, which is looked up before each block: what a head leads to, no collection
//! removes. The snapshot may be deleted after that look, and the block would come to be under a name that is being removed.
//! So a repair has a lease, and a collection dooms nothing while there is one; a collection that was under way before
//! has a list of what it condemns, which is read when the lease is there, and nothing in it is mended until it is over.

use std::sync::Arc;

use async_trait::async_trait;

use super::block;
use super::condemned::Condemned;
use super::head::load;
use super::layout::{Piece, Session, mending_lease_name};
use super::lease::Lease;
use super::segment;
use super::snapshot::ObjectsSnapshot;
use super::store::{Shared, missing};
use crate::content::{BLOCK_BYTES, GRAIN_BYTES};
use crate::id::{ImageName, SnapshotId};
use crate::image::blocking::blocking;
use crate::image::{ImageError, Mending, ProvenLeaves, SnapshotImage};

/// See the module's text.
#[derive(Debug)]
pub(super) struct ObjectsMending {
    shared: Arc<Shared>,
    image: ImageName,
    snapshot: ObjectsSnapshot,
    condemned: Condemned,
    /// Until the end.
    _lease: Lease,
}

impl ObjectsMending {
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        image: &ImageName,
        snapshot: &SnapshotId,
    ) -> Result<Self, ImageError> {
        let opened = shared.open_snapshot(image, snapshot).await?;
        let name = mending_lease_name(Session::new());
        let lease = Lease::begin(&shared.bucket, name, snapshot.as_str(), shared.lifetime).await?;
        let condemned = Condemned::load(&shared.bucket).await?;
        let (shared, image) = (Arc::clone(shared), image.clone());
        Ok(Self { shared, image, snapshot: opened, condemned, _lease: lease })
    }

    /// Refuses what is mended for a snapshot that is not there any more.
    async fn is_still_there(&self) -> Result<(), ImageError> {
        let stored = self.snapshot.stored();
        let head = load(&self.shared.bucket, &self.image).await?.head;
        match head.find(&stored.record.snapshot).is_some_and(|there| there.manifest == stored.manifest) {
            true => Ok(()),
            false => Err(missing(&self.image, &stored.record.snapshot)),
        }
    }

    /// What is there of a block, whether it is right or not; zeroes where nothing can be unpacked.
    async fn there(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let object = match self.shared.bucket.read(name, block::OBJECT_MAX).await {
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
        let piece = Piece::Block { hash: entry.page.hash(), session: entry.session };
        if self.condemned.has(&piece) {
            return Err(ImageError::Busy { image: self.image.clone() });
        }
        let name = piece.name();
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
        self.is_still_there().await?;
        self.shared.bucket.write(&name, object).await?;
        Ok(written)
    }

    async fn flush(&self) -> Result<(), ImageError> {
        Ok(())
    }
}
