//! Where what lies.
//!
//! | name | what | written |
//! |---|---|---|
//! | `rsnap-store.json` | [`Marker`](super::record::Marker): this is a store of rsnap, and which | once |
//! | `images/<image>/<number>` | [`Head`](super::record::Head): all that is known of an image; the highest number counts | created |
//! | `manifests/<session>` | which segments a snapshot consists of | once |
//! | `segments/<session>/<segment>` | the content tree and the blocks of 256 MiB | once |
//! | `blocks/<2 digits>/<hash>/<session>` | a block of 1 MiB, by the hash of its plain bytes | always the same |
//! | `leases/<session>` | that a transfer is alive | again and again |
//! | `leases/<session>.mending` | that a repair is alive | again and again |
//! | `collections/<number>.<phase>` | a collection under way, see [`super::collect`] | created |
//!
//! A session is a transfer of one gateway, by a random number. Numbers are hexadecimal, with all their digits, so that the
//! order of names is theirs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::content::Hash;
use crate::id::ImageName;

pub(super) const MARKER: &str = "rsnap-store.json";
pub(super) const IMAGES: &str = "images";
pub(super) const MANIFESTS: &str = "manifests";
pub(super) const SEGMENTS: &str = "segments";
pub(super) const BLOCKS: &str = "blocks";
pub(super) const LEASES: &str = "leases";
pub(super) const COLLECTIONS: &str = "collections";
const MENDING: &str = "mending";

/// One transfer of one gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Session(pub u64);

impl Session {
    /// A number that nobody has had, and nobody will have.
    pub(super) fn new() -> Self {
        let mut random = [0; 8];
        // The generator of aws-lc aborts rather than fail; the result is a formality of its interface.
        let filled = aws_lc_rs::rand::fill(&mut random);
        debug_assert!(filled.is_ok());
        Self(u64::from_le_bytes(random))
    }
}

impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Session {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        number(text).map(Self).ok_or_else(|| format!("{text:?} is not a session"))
    }
}

impl TryFrom<String> for Session {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Session> for String {
    fn from(session: Session) -> String {
        session.to_string()
    }
}

/// A number as names have it.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_number = text.len() == 16 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| is_number)
}

pub(super) fn image_folder(image: &ImageName) -> String {
    format!("{IMAGES}/{image}")
}

pub(super) fn head_name(image: &ImageName, number: u64) -> String {
    format!("{IMAGES}/{image}/{number:016x}")
}

pub(super) fn lease_name(session: Session) -> String {
    format!("{LEASES}/{session}")
}

/// The lease of a repair.
pub(super) fn mending_lease_name(session: Session) -> String {
    format!("{LEASES}/{session}.{MENDING}")
}

/// Whether a name in the folder of leases is that of a repair.
pub(super) fn is_of_mending(name: &str) -> bool {
    name.split_once('.').is_some_and(|(_, kind)| kind == MENDING)
}

/// The folder of all objects that hold one block.
pub(super) fn block_folder(hash: &Hash) -> String {
    let digits = format!("{hash:?}");
    format!("{BLOCKS}/{}/{digits}", digits.get(..2).unwrap_or_default())
}

/// An object that a collection may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    Manifest { session: Session },
    Segment { session: Session, segment: u64 },
    Block { hash: Hash, session: Session },
}

impl Piece {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Manifest { session } => format!("{MANIFESTS}/{session}"),
            Self::Segment { session, segment } => format!("{SEGMENTS}/{session}/{segment:016x}"),
            Self::Block { hash, session } => format!("{}/{session}", block_folder(hash)),
        }
    }

    /// The piece of a name in one of the three folders; `None` for what is not ours.
    pub(super) fn parse(folder: &str, name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let mut next = || parts.next();
        let piece = match folder {
            MANIFESTS => Self::Manifest { session: next()?.parse().ok()? },
            SEGMENTS => Self::Segment { session: next()?.parse().ok()?, segment: number(next()?)? },
            BLOCKS => {
                let (_, hash) = (next()?, next()?);
                let hash = Hash(*blake3::Hash::from_hex(hash).ok()?.as_bytes());
                Self::Block { hash, session: next()?.parse().ok()? }
            }
            _ => return None,
        };
        (piece.name() == format!("{folder}/{name}")).then_some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        let session = Session(0xabc);
        let hash = Hash([0x5a; 32]);
        for piece in
            [Piece::Manifest { session }, Piece::Segment { session, segment: 7 }, Piece::Block { hash, session }]
        {
            let name = piece.name();
            let (folder, rest) = name.split_once('/').unwrap();
            assert_eq!(Piece::parse(folder, rest), Some(piece), "{name}");
            for wrong in [format!("{rest}/x"), rest.to_uppercase(), format!("0{rest}"), rest[1..].to_owned()] {
                assert_eq!(Piece::parse(folder, &wrong), None, "{wrong}");
            }
        }
        assert_eq!(Piece::parse(IMAGES, "x"), None);
    }

    #[test]
    fn sessions_differ() {
        let (one, two) = (Session::new(), Session::new());
        assert_ne!(one, two);
        assert_eq!(one.to_string().parse(), Ok(one));
    }
}
