//! The small files of the store; sealed as [`crate::image::record`] says.

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;
use crate::image::SnapshotRecord;
use crate::image::record::{Body, RecordFault, unseal};

/// `<root>/rsnap-store.json`: this directory is a store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    /// Of the layout of directories and files as a whole; 1 now.
    pub format: u32,
}

impl Body for Marker {
    const KIND: &'static str = "store";
}

/// `<name>.snapshot`, or `<layer>.hidden` once the snapshot is deleted and another one still needs the data:
/// a snapshot, and the layer that holds what it changed over its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    /// What the store promised at the commit.
    pub record: SnapshotRecord,
    /// Names the layer for its children. Never used twice, so a child cannot find another one in its place.
    pub layer: String,
    /// The layer below; `None` for a full snapshot.
    pub parent: Option<String>,
    /// File name of the data: `….raw` for a full snapshot, `….delta` for one with a parent. After a merge it is the
    /// file of the deleted parent.
    pub data: String,
    /// File name of the sidecar, see [`crate::image::sidecar`].
    pub tree: String,
    /// The layers below show through only before this byte: an image that shrank and grew again reads zeroes there.
    pub limit: u64,
    /// Position in the order of commits, ascending.
    pub sequence: u64,
    /// Of the data file at the commit.
    pub data_stamp: Stamp,
    /// Of the sidecar at the commit.
    pub tree_stamp: Stamp,
}

impl Body for Stored {
    const KIND: &'static str = "snapshot";
}

impl Stored {
    /// Whether the files named are inside the image's own directory.
    fn is_contained(&self) -> bool {
        let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        [&self.layer, &self.data, &self.tree].into_iter().all(|name| plain(name))
    }
}

/// As [`unseal`], for a snapshot, which also names other files.
pub(super) fn unseal_stored(bytes: &[u8]) -> Result<Stored, RecordFault> {
    let stored: Stored = unseal(bytes)?;
    if stored.is_contained() { Ok(stored) } else { Err(RecordFault::Form) }
}
