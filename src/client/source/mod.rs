//! What is sent: images that are read block by block, snapshots that lie in Ceph, and streams that `rbd` has made.
//!
//! Reading blocks, hashing costs a core: both run on a thread of their own, ahead of the socket by as many buffers
//! as the pool has. A plain thread and not the runtime's pool: a read from a pipe that never ends must not keep the
//! program from ending.

mod file;
mod grains;
mod rbd;
mod sequential;
mod stream;

pub use file::ImageFile;
pub(super) use grains::{Change, changes};
pub use rbd::{Access, Earlier, Location, LocationError, PREFIX as RBD_PREFIX, RbdSnapshot};
pub(super) use rbd::{Piece, Protection, Reader};
pub use sequential::Sequential;
pub use stream::{StreamInput, StreamKind};

use super::ClientError;

/// An image, read in ascending order by blocks of [`crate::content::BLOCK_BYTES`].
pub trait Blocks: Send {
    /// Bytes of the image.
    fn size(&self) -> u64;
    /// Number of the first block from `block` on that may hold something else than zeroes; `None`: all is zero.
    fn next(&mut self, block: u64) -> Result<Option<u64>, ClientError>;
    /// Fills `buffer` (one block) with block number `block`, zeroes past the end of the image.
    fn read(&mut self, block: u64, buffer: &mut [u8]) -> Result<(), ClientError>;
    /// Proves that what was read is one and the same image; called after the last block, before the end marker.
    fn prove(&mut self) -> Result<(), ClientError>;
}
