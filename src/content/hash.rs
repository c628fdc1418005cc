//! Hashes of leaves and pages, and the root that names a snapshot's content.
//!
//! BLAKE3 in its key-derivation mode: each role has a context of its own, so that a page can never be passed off
//! as a leaf. SHA-256 was refused for the tree: it is a third as fast on a core, and the tree is on the data path.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::LEAF_BYTES;

const LEAF_CONTEXT: &str = "rsnap 2026-11 content tree v1 leaf";
const PAGE_CONTEXT: &str = "rsnap 2026-11 content tree v1 page";
const ROOT_CONTEXT: &str = "rsnap 2026-11 content tree v1 root";
const ROOT_PREFIX: &str = "rsnap1:";

/// The hash of a leaf or a page; [`Hash::ZERO`] means that everything below it is zero bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Stands for a leaf or a subtree of zero bytes; nothing hashes to it.
    pub const ZERO: Self = Self([0; 32]);

    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    pub(super) fn page(children: &[u8]) -> Self {
        static KEYED: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key(PAGE_CONTEXT));
        Self(*KEYED.clone().update(children).finalize().as_bytes())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// The hash of one leaf: exactly [`LEAF_BYTES`], of which those past the image's end are zero.
#[must_use]
pub fn hash_leaf(leaf: &[u8]) -> Hash {
    debug_assert_eq!(leaf.len(), LEAF_BYTES);
    static KEYED: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key(LEAF_CONTEXT));
    if is_zero(leaf) {
        return Hash::ZERO;
    }
    Hash(*KEYED.clone().update(leaf).finalize().as_bytes())
}

/// The hashes of the leaves of `bytes`, whose length is a multiple of [`LEAF_BYTES`].
pub fn hash_leaves(bytes: &[u8]) -> impl Iterator<Item = Hash> {
    bytes.chunks_exact(LEAF_BYTES).map(hash_leaf)
}

/// Whether all of `bytes` are zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Without a branch for each byte, the compiler makes wide instructions of it; to compare with zeroes would be a call.
    let nothing = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) == 0;
    let (chunks, rest) = bytes.as_chunks::<256>();
    chunks.iter().all(|chunk| nothing(chunk)) && nothing(rest)
}

/// The identity of a snapshot's content: its size and every byte of it. Written `rsnap1:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Root([u8; 32]);

impl Root {
    /// The root of an image of `size` bytes whose top page has the hash `top`.
    #[must_use]
    pub fn new(size: u64, top: Hash) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(ROOT_CONTEXT);
        hasher.update(&size.to_le_bytes()).update(&top.0);
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for Root {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{ROOT_PREFIX}{}", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text is not a content root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a content root is written as `rsnap1:` and 64 hexadecimal digits in lower case")]
pub struct RootError;

impl FromStr for Root {
    type Err = RootError;
    fn from_str(text: &str) -> Result<Self, RootError> {
        let digits = text.strip_prefix(ROOT_PREFIX).ok_or(RootError)?;
        if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(RootError);
        }
        blake3::Hash::from_hex(digits).map(|hash| Self(*hash.as_bytes())).map_err(|_| RootError)
    }
}

impl TryFrom<String> for Root {
    type Error = RootError;
    fn try_from(text: String) -> Result<Self, RootError> {
        text.parse()
    }
}

impl From<Root> for String {
    fn from(root: Root) -> String {
        root.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_leaf_has_the_reserved_hash_and_no_other_leaf_has() {
        let mut leaf = vec![0; LEAF_BYTES];
        assert!(hash_leaf(&leaf).is_zero());
        for position in [0, 63, 64, LEAF_BYTES - 1] {
            leaf[position] = 1;
            assert!(!hash_leaf(&leaf).is_zero(), "byte {position} was overlooked");
            leaf[position] = 0;
        }
    }

    #[test]
    fn a_root_survives_its_text() {
        let root = Root::new(7, Hash([9; 32]));
        assert_eq!(root.to_string().parse(), Ok(root));
        assert_ne!(root, Root::new(8, Hash([9; 32])));
        for text in ["", "rsnap1:", "rsnap2:00", &root.to_string().to_uppercase(), &root.to_string()[1..]] {
            assert!(text.parse::<Root>().is_err(), "{text:?} was accepted");
        }
    }
}
