//! The small files of the store and their format.
//!
//! Each is two lines of JSON. The first says what the second is and carries its checksum:
//!
//! ```text
//! {"kind":"snapshot","version":1,"blake3":"<64 hexadecimal digits: key derivation over kind, version and second line>"}
//! {…}
//! ```
//!
//! Text, because an operator at three in the morning has `cat`; a checksum, because a torn or edited record must be
//! noticed and not believed. An unknown version is refused with advice, never guessed at. History: 1, the first.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::stamp::Stamp;
use crate::id::SnapshotId;
use crate::image::SnapshotRecord;

const VERSION: u32 = 1;

/// What can be written as a record.
pub(super) trait Body: Serialize + DeserializeOwned {
    const KIND: &'static str;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    kind: String,
    version: u32,
    blake3: String,
}

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
    /// File name of the sidecar, see [`super::sidecar`].
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

/// `<snapshot>.deleted`: the snapshot was deleted; tickets from before that moment must not make it again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tombstone {
    pub snapshot: SnapshotId,
    /// Milliseconds since the Unix epoch.
    pub deleted_ms: u64,
}

impl Body for Tombstone {
    const KIND: &'static str = "deleted";
}

/// Why a record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordFault {
    #[error("it is not a record of rsnap (remove or restore the file)")]
    Form,
    #[error("it is version {found} and this rsnap reads version {VERSION} (run the version that wrote it)")]
    Version { found: u32 },
    #[error("its checksum is wrong (restore the file from a backup, or send the snapshot again)")]
    Checksum,
}

/// The bytes of a record.
pub(super) fn seal<T: Body>(body: &T) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_string(body)?;
    let head = Head { kind: T::KIND.to_owned(), version: VERSION, blake3: checksum(T::KIND, VERSION, &body) };
    Ok(format!("{}\n{body}\n", serde_json::to_string(&head)?).into_bytes())
}

/// The record in `bytes`.
pub(super) fn unseal<T: Body>(bytes: &[u8]) -> Result<T, RecordFault> {
    let text = str::from_utf8(bytes).map_err(|_| RecordFault::Form)?;
    let (head, rest) = text.split_once('\n').ok_or(RecordFault::Form)?;
    let head: Head = serde_json::from_str(head).map_err(|_| RecordFault::Form)?;
    if head.kind != T::KIND {
        return Err(RecordFault::Form);
    }
    if head.version != VERSION {
        return Err(RecordFault::Version { found: head.version });
    }
    let body = rest.strip_suffix('\n').ok_or(RecordFault::Checksum)?;
    if checksum(&head.kind, head.version, body) != head.blake3 {
        return Err(RecordFault::Checksum);
    }
    serde_json::from_str(body).map_err(|_| RecordFault::Form)
}

/// As [`unseal`], for a snapshot, which also names other files.
pub(super) fn unseal_stored(bytes: &[u8]) -> Result<Stored, RecordFault> {
    let stored: Stored = unseal(bytes)?;
    if stored.is_contained() { Ok(stored) } else { Err(RecordFault::Form) }
}

fn checksum(kind: &str, version: u32, body: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("rsnap 2026-11 file store record");
    hasher.update(format!("{kind} {version}\n").as_bytes()).update(body.as_bytes());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tombstone() -> Vec<u8> {
        seal(&Tombstone { snapshot: "s-1".parse().unwrap(), deleted_ms: 7 }).unwrap()
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let read: Tombstone = unseal(&tombstone()).unwrap();
        assert_eq!((read.snapshot.as_str(), read.deleted_ms), ("s-1", 7));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = tombstone();
        for position in 0..bytes.len() {
            assert!(unseal::<Tombstone>(&bytes[..position]).is_err(), "cut at {position}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                assert!(unseal::<Tombstone>(&flipped).is_err(), "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn another_kind_and_another_version_are_refused() {
        assert_eq!(unseal::<Marker>(&tombstone()).unwrap_err(), RecordFault::Form);
        let later = String::from_utf8(tombstone()).unwrap().replace("\"version\":1", "\"version\":2");
        let fault = unseal::<Tombstone>(later.as_bytes()).unwrap_err();
        assert_eq!(fault, RecordFault::Version { found: 2 });
        assert!(fault.to_string().contains("run the version that wrote it"));
    }
}
