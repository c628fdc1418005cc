//! Pages of a snapshot's tree, for callers who compare it with another one.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{ReadPermit, TransferError, Transfers};
use crate::content::{Page, PageSource as _, Place};
use crate::image::{SnapshotImage, Verified};

/// Most pages in one answer: 1 MiB, so that an answer costs no more than a block.
pub const PAGES_MAX: usize = 2048;

impl Transfers {
    /// The pages at these places, one after the other in this order, each proven up to the root in the record. A page
    /// under one that says "zero" is all zeroes.
    pub async fn pages(
        &self,
        permit: ReadPermit,
        image: Arc<dyn SnapshotImage>,
        places: &[Place],
    ) -> Result<Bytes, TransferError> {
        let _held = permit;
        let verified = Verified::new(image);
        let mut all = BytesMut::with_capacity(places.len().min(PAGES_MAX) * Page::BYTES);
        for place in places {
            all.put_slice(&verified.page(place.level(), place.index()).await?.to_bytes());
        }
        Ok(all.freeze())
    }
}
