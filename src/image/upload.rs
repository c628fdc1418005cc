//! A transfer that outlives its requests: an image that is filled in pieces, by whichever gateway is asked.
//!
//! What is known of it lies in the storage, beside the data and written by [`UploadImage::checkpoint`]: a gateway keeps
//! nothing between two requests. Whoever opens it becomes its owner and gets a generation of its own. From then on
//! nothing that an earlier owner does counts: not because it is told so, which a process that sleeps would not hear, but
//! because the storage does not look at it any more. A lease alone was refused for that reason.

use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Durable, ImageError, Ranges, SnapshotRecord, StageRequest, StagedImage};
use crate::buffer::BlockBuffer;
use crate::content::{GrainMap, Root};

/// An unfinished transfer, as the storage knows it.
#[derive(Debug, Clone)]
pub struct UploadRecord {
    /// What it was begun with, including the words of [`StageRequest::upload`].
    pub request: StageRequest,
    /// The number of its owners so far.
    pub generation: u64,
    /// What of the image is durable.
    pub durable: Ranges,
    /// When somebody last worked on it.
    pub touched: SystemTime,
    /// The snapshot that came of it, when it is finished.
    pub committed: Option<SnapshotRecord>,
}

/// The image of an unfinished transfer, open for its owner. Dropped without a commit, it keeps what is durable.
///
/// As a [`StagedImage`], with these differences: a block may be written again, once the call before has ended; pages of
/// level 1 alone are put, in any order, each after its block; [`UploadImage::close`] takes the place of the flush; and
/// every method fails with [`ImageError::Fenced`] sooner or later when there is another owner.
#[async_trait]
pub trait UploadImage: StagedImage {
    /// What it was begun with.
    fn request(&self) -> &StageRequest;

    /// What was durable when it was opened.
    fn durable(&self) -> Ranges;

    /// Forgets what there is in a range, as if nothing had ever been written there. A range ends with a block, or with
    /// the image; in its first block, bytes before it stay.
    async fn clear(&self, range: Range<u64>) -> Result<(), ImageError>;

    /// Fills the grains of `buffer` that were written before byte `end` of the image, and says which those are.
    async fn reopen(&self, block: u64, end: u64, buffer: BlockBuffer) -> Result<(GrainMap, BlockBuffer), ImageError>;

    /// Makes these ranges durable, all of whose blocks were written and put. Done means that any gateway finds them.
    async fn checkpoint(&self, durable: Ranges) -> Result<(), ImageError>;

    /// Fails when there is another owner.
    async fn check(&self) -> Result<(), ImageError>;

    /// The content root of all that was put, and the proof that it is durable. Nothing is written after it.
    async fn close(&self) -> Result<(Root, Durable), ImageError>;

    /// Ends the ownership and keeps what is durable.
    async fn suspend(&self);
}
