//! Small records that must not be believed when they are torn or edited.
//!
//! Each is two lines of JSON. The first says what the second is and carries its checksum:
//!
//! ```text
//! {"kind":"snapshot","version":1,"blake3":"<64 hexadecimal digits: key derivation over kind, version and second line>"}
//! {…}
//! ```
//!
//! Text, because an operator at three in the morning has `cat` and `rbd image-meta get`; a checksum, because a torn or
//! edited record must be noticed and not believed. An unknown version is refused with advice, never guessed at. The
//! kinds are those of the stores; a store reads its own only. History: 1, the first.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id::SnapshotId;

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

/// The snapshot was deleted; tickets from before that moment must not make it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tombstone {
    pub snapshot: SnapshotId,
    /// Milliseconds since the Unix epoch.
    pub deleted_ms: u64,
    /// What was deleted, where the store's layers have names that are never used twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
}

impl Body for Tombstone {
    const KIND: &'static str = "deleted";
}

impl Tombstone {
    /// How long a delete is remembered: longer than any ticket lives, with room for clocks that disagree.
    const LIFETIME: Duration = Duration::from_hours(8 * 24);

    /// `snapshot` is deleted now.
    pub(super) fn now(snapshot: &SnapshotId) -> Self {
        Self { snapshot: snapshot.clone(), deleted_ms: milliseconds(SystemTime::now()), layer: None }
    }

    pub(super) fn of_layer(self, layer: &str) -> Self {
        Self { layer: Some(layer.to_owned()), ..self }
    }

    pub(super) fn deleted(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.deleted_ms)
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.deleted().elapsed().is_ok_and(|age| age > Self::LIFETIME)
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let age = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Why a record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordFault {
    #[error("it is not a record of rsnap (remove or restore it)")]
    Form,
    #[error("it is version {found} and this rsnap reads version {VERSION} (run the version that wrote it)")]
    Version { found: u32 },
    #[error("it has content that this rsnap does not know (run the version that wrote it)")]
    Content,
    #[error("its checksum is wrong (restore it from a backup, or send the snapshot again)")]
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
    serde_json::from_str(body).map_err(|_| RecordFault::Content)
}

impl RecordFault {
    /// Whether a newer gateway may have written it. Then it is not to be thrown away: the other one reads it.
    pub(super) fn may_be_newer(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Content)
    }
}

/// The context is part of the format; it names the store that had these records first.
fn checksum(kind: &str, version: u32, body: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("rsnap 2026-11 file store record");
    hasher.update(format!("{kind} {version}\n").as_bytes()).update(body.as_bytes());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tombstone() -> Vec<u8> {
        seal(&Tombstone { snapshot: "s-1".parse().unwrap(), deleted_ms: 7, layer: None }).unwrap()
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

    #[derive(Debug, Serialize, Deserialize)]
    struct Other {}

    impl Body for Other {
        const KIND: &'static str = "other";
    }

    #[test]
    fn another_kind_and_another_version_are_refused() {
        assert_eq!(unseal::<Other>(&tombstone()).unwrap_err(), RecordFault::Form);
        let later = String::from_utf8(tombstone()).unwrap().replace("\"version\":1", "\"version\":2");
        let fault = unseal::<Tombstone>(later.as_bytes()).unwrap_err();
        assert_eq!(fault, RecordFault::Version { found: 2 });
        assert!(fault.to_string().contains("run the version that wrote it"));
    }

    #[test]
    fn what_a_newer_one_wrote_is_not_torn() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Newer {
            snapshot: String,
            deleted_ms: u64,
            layer: Option<String>,
            why: String,
        }
        impl Body for Newer {
            const KIND: &'static str = Tombstone::KIND;
        }
        let newer = seal(&Newer { snapshot: "s-1".into(), deleted_ms: 7, layer: None, why: "it was asked for".into() })
            .unwrap();
        let fault = unseal::<Tombstone>(&newer).unwrap_err();
        assert_eq!(fault, RecordFault::Content);
        assert!(fault.may_be_newer());
        assert!(!unseal::<Tombstone>(&newer[..newer.len() - 4]).unwrap_err().may_be_newer());
    }

    #[test]
    fn a_delete_is_forgotten_in_the_end() {
        let mut tombstone = Tombstone::now(&"s-1".parse().unwrap());
        assert!(!tombstone.is_forgotten());
        tombstone.deleted_ms -= 9 * 24 * 3_600_000;
        assert!(tombstone.is_forgotten());
    }
}
