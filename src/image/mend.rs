//! Getting damaged bytes of a committed snapshot back.
//!
//! A store that can be told to write into a committed snapshot could be told to change it. So what it takes is a type
//! that only the snapshot's own tree can make: whole leaves with exactly the hashes that were recorded at the commit.
//! Whatever is written that way is what must be there, from whomever it came and however often it is repeated.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{ImageError, SnapshotImage, Verified};
use crate::buffer::BlockBuffer;
use crate::content::{GRAINS_IN_LEAF, GrainMap, Hash, PageSource as _, hash_leaves};

/// Whole leaves of one block with exactly the bytes that were committed. Only [`Verified::prove`] makes one.
#[derive(Debug)]
pub struct ProvenLeaves {
    block: u64,
    leaves: GrainMap,
    buffer: BlockBuffer,
}

impl ProvenLeaves {
    pub(super) fn block(&self) -> u64 {
        self.block
    }

    /// All grains of the leaves.
    #[must_use]
    pub fn grains(&self) -> GrainMap {
        self.leaves
    }

    /// The block; only its leaves are proven.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }
}

impl Verified {
    /// Proves the `leaves` (their grains) in `buffer` to be those of the committed snapshot.
    pub async fn prove(&self, block: u64, leaves: GrainMap, buffer: BlockBuffer) -> Result<ProvenLeaves, ImageError> {
        let page = self.page(1, block).await?;
        let found: Vec<Hash> = hash_leaves(&buffer).collect();
        let leaf = |number: &usize| leaves.contains(number * GRAINS_IN_LEAF);
        let mut pairs = page.0.iter().zip(&found).enumerate().filter(|(number, _)| leaf(number));
        match pairs.find(|(_, (expected, found))| expected != found) {
            Some((leaf, (expected, found))) => Err(ImageError::Unproven {
                offset: self.leaf_offset(block, leaf),
                expected: format!("{expected:?}"),
                found: format!("{found:?}"),
            }),
            None => Ok(ProvenLeaves { block, leaves, buffer }),
        }
    }
}

/// A committed snapshot that is open for mending; nobody else writes its image meanwhile.
#[async_trait]
pub trait Mending: Send + Sync + fmt::Debug {
    /// The snapshot, for reading.
    fn image(&self) -> Arc<dyn SnapshotImage>;

    /// Writes those grains of the leaves that are not what they must be, and no others; gives how many bytes. Cut off
    /// anywhere, what was right stays right.
    async fn mend(&self, leaves: ProvenLeaves) -> Result<u64, ImageError>;

    /// Makes what was written durable.
    async fn flush(&self) -> Result<(), ImageError>;
}
