//! The objects that a collection is about to remove, and nobody may begin to rely on.

use std::collections::{BTreeMap, HashSet};

use futures_util::TryStreamExt as _;

use super::bucket::{Bucket, unbelievable};
use super::frame;
use super::layout::{COLLECTIONS, Piece, Session, number};
use crate::content::Hash;
use crate::image::ImageError;

const MAGIC: &[u8; 8] = b"rsnaplst";
/// An entry: kind (1), hash or number (32), session (8).
const ENTRY_BYTES: usize = 41;
const MANIFEST: u8 = 0;
const SEGMENT: u8 = 1;
const BLOCK: u8 = 2;
/// Objects that one collection condemns at most: what every transfer that begins meanwhile reads.
pub(super) const MOST: usize = 250_000;
const LIST_MAX: usize = frame::bytes_of::<ENTRY_BYTES>(MOST);

/// What there is of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// What it condemns; with it, a collection begins.
    Condemned,
    /// Whom it waits for.
    Waits,
    /// What it removes.
    Doomed,
    /// It is over.
    Done,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Condemned, Self::Waits, Self::Doomed, Self::Done];

    fn suffix(self) -> &'static str {
        match self {
            Self::Condemned => "condemned",
            Self::Waits => "waits",
            Self::Doomed => "doomed",
            Self::Done => "done",
        }
    }

    pub(super) fn name(self, collection: u64) -> String {
        format!("{COLLECTIONS}/{collection:016x}.{}", self.suffix())
    }

    fn parse(name: &str) -> Option<(u64, Self)> {
        let (digits, suffix) = name.split_once('.')?;
        let phase = Self::ALL.into_iter().find(|phase| phase.suffix() == suffix)?;
        Some((number(digits)?, phase))
    }
}

/// The phases of all collections that have left something.
pub(super) async fn collections(bucket: &Bucket) -> Result<BTreeMap<u64, Vec<Phase>>, ImageError> {
    let mut all: BTreeMap<u64, Vec<Phase>> = BTreeMap::new();
    let mut found = bucket.list(COLLECTIONS);
    while let Some(found) = found.try_next().await? {
        if let Some((collection, phase)) = Phase::parse(&found.name) {
            all.entry(collection).or_default().push(phase);
        }
    }
    Ok(all)
}

/// The newest collection, and whether it is over.
pub(super) async fn newest(bucket: &Bucket) -> Result<Option<(u64, bool)>, ImageError> {
    let all = collections(bucket).await?;
    Ok(all.last_key_value().map(|(collection, phases)| (*collection, phases.contains(&Phase::Done))))
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Condemned(HashSet<Piece>);

impl Condemned {
    /// What must not be relied on from now on.
    pub(super) async fn load(bucket: &Bucket) -> Result<Self, ImageError> {
        loop {
            let Some((collection, false)) = newest(bucket).await? else { return Ok(Self::default()) };
            // It may have come to its end between the two.
            if let Some(pieces) = read(bucket, &Phase::Condemned.name(collection)).await? {
                return Ok(Self(pieces.into_iter().collect()));
            }
        }
    }

    pub(super) fn has(&self, piece: &Piece) -> bool {
        self.0.contains(piece)
    }
}

/// A list of objects, if it is there.
pub(super) async fn read(bucket: &Bucket, name: &str) -> Result<Option<Vec<Piece>>, ImageError> {
    let Some(bytes) = bucket.read(name, LIST_MAX).await? else { return Ok(None) };
    decode(&bytes).map(Some).map_err(|fault| unbelievable(name, fault))
}

pub(super) fn encode(pieces: &[Piece]) -> Vec<u8> {
    let entry = |piece: &Piece| {
        let (kind, Hash(middle), session) = match *piece {
            Piece::Manifest { session } => (MANIFEST, Hash::ZERO, session),
            Piece::Segment { session, segment } => (SEGMENT, wide(segment), session),
            Piece::Block { hash, session } => (BLOCK, hash, session),
        };
        let mut bytes = [0; ENTRY_BYTES];
        bytes.copy_from_slice(&[&[kind][..], &middle, &session.0.to_le_bytes()].concat());
        bytes
    };
    frame::seal(MAGIC, pieces.iter().map(entry))
}

fn wide(number: u64) -> Hash {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    Hash(bytes)
}

fn decode(bytes: &[u8]) -> Result<Vec<Piece>, String> {
    let piece = |[kind, rest @ ..]: &[u8; ENTRY_BYTES]| {
        let (middle, session) = rest.split_last_chunk::<8>()?;
        let session = Session(u64::from_le_bytes(*session));
        Some(match *kind {
            MANIFEST => Piece::Manifest { session },
            SEGMENT => Piece::Segment { session, segment: u64::from_le_bytes(*middle.first_chunk()?) },
            BLOCK => Piece::Block { hash: Hash(middle.try_into().ok()?), session },
            _ => return None,
        })
    };
    let entries = frame::unseal::<ENTRY_BYTES>(MAGIC, bytes)?;
    entries.iter().map(piece).collect::<Option<_>>().ok_or_else(|| "it names what this rsnap does not know".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_names_survive_their_bytes() {
        let session = Session(77);
        let pieces = [
            Piece::Manifest { session },
            Piece::Segment { session, segment: 1 << 33 },
            Piece::Block { hash: Hash([9; 32]), session },
        ];
        assert_eq!(decode(&encode(&pieces)).unwrap(), pieces);
        let unknown = frame::seal(MAGIC, [[7; ENTRY_BYTES]]);
        assert!(decode(&unknown).is_err());
        for phase in Phase::ALL {
            let name = phase.name(0xfe);
            assert_eq!(Phase::parse(name.strip_prefix("collections/").unwrap()), Some((0xfe, phase)));
        }
        assert_eq!(Phase::parse("00.done"), None);
    }
}
