//! What a snapshot's content is, independent of where it lies: fixed leaves, and the hash tree over them.
//!
//! Two sites must be able to agree that they hold the same bytes without moving them, and an incremental must be
//! able to prove its base in time that follows the change. So a snapshot is identified by the root of a sparse
//! hash tree: leaves of 64 KiB, 16 children for each node, a fixed height, and a reserved value for "all zero" that
//! is never computed nor stored. A digest over the flat bytes was refused: it costs the whole volume for each
//! incremental, and says nothing about where two volumes differ.
//!
//! | level | one node covers | stored as |
//! |---|---|---|
//! | 0 | a leaf, 64 KiB | a [`Hash`] in a page of level 1 |
//! | 1 | a block, 1 MiB | a [`Page`] of 16 leaf hashes |
//! | n | 64 KiB × 16ⁿ | a [`Page`] of 16 hashes of pages of level n−1 |
//! | [`HEIGHT`] | 64 PiB | the top page, whose hash goes into the [`Root`] with the size |

mod difference;
mod grains;
mod hash;
mod place;
mod tree;

pub use difference::{next_data, next_difference};
pub use grains::GrainMap;
pub use hash::{Hash, Root, RootError, hash_leaf, hash_leaves, is_zero};
pub use place::Place;
pub use tree::{NoBase, NoPages, Page, PageSink, PageSource, TreeBuilder};

/// The unit of presence in a layer and of alignment for direct I/O, in bytes.
pub const GRAIN_BYTES: usize = 4 << 10;
/// What one leaf hash covers, in bytes.
pub const LEAF_BYTES: usize = 64 << 10;
/// What one buffer of the data path and one page of level 1 cover, in bytes.
pub const BLOCK_BYTES: usize = 1 << 20;
/// Children of a tree node.
pub const FAN_OUT: usize = 16;
/// Levels of pages above the leaves: 16¹⁰ leaves of 64 KiB are 64 PiB.
pub const HEIGHT: u8 = 10;
/// Grains in a block.
pub const GRAINS_IN_BLOCK: usize = BLOCK_BYTES / GRAIN_BYTES;
/// Grains in a leaf.
pub const GRAINS_IN_LEAF: usize = LEAF_BYTES / GRAIN_BYTES;
/// Largest image that the tree can cover, in bytes.
pub const SIZE_MAX: u64 = 1 << 56;
