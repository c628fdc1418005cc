//! A segment: the content tree and the blocks of 256 MiB of a snapshot.
//!
//! One object for each would make an incremental of a large volume write as much as a full one; one for each page of the
//! tree would be as many objects as blocks. So a segment is a page of level 3 with all below it: 131 KiB when all of its
//! 256 blocks have data. Snapshots share those that did not change. An entry, of 521 bytes: the number of the block in
//! the segment (1), the session whose object of that block is meant (8), the block's page (512); ascending. A block without an entry is
//! zero. The hash of the page of level 3 is in the manifest and proves the rest.

use std::collections::BTreeMap;

use super::frame;
use super::layout::Session;
use crate::content::{BLOCK_BYTES, FAN_OUT, Hash, Page};

const MAGIC: &[u8; 8] = b"rsnapseg";
const ENTRY_BYTES: usize = 1 + 8 + Page::BYTES;
/// Blocks of a segment.
pub(super) const BLOCKS: u64 = (FAN_OUT * FAN_OUT) as u64;
/// The level of the page that covers one.
pub(super) const LEVEL: u8 = 3;
/// Largest object that a segment can be.
pub(super) const OBJECT_MAX: usize = frame::bytes_of::<ENTRY_BYTES>(FAN_OUT * FAN_OUT);

/// A block with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub page: Page,
    /// Whose object it is.
    pub session: Session,
}

/// See the module's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Segment(BTreeMap<u8, Entry>);

impl Segment {
    /// The block of this number in the image.
    pub(super) fn get(&self, block: u64) -> Option<&Entry> {
        self.0.get(&position(block))
    }

    /// A page of zeroes removes the block.
    pub(super) fn set(&mut self, block: u64, entry: Entry) {
        match entry.page.hash().is_zero() {
            true => self.0.remove(&position(block)),
            false => self.0.insert(position(block), entry),
        };
    }

    /// Removes the blocks of segment number `segment` that begin at or after byte `size` of the image.
    pub(super) fn truncate(&mut self, segment: u64, size: u64) {
        let end = size.div_ceil(BLOCK_BYTES as u64);
        self.0.retain(|block, _| segment * BLOCKS + u64::from(*block) < end);
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// The page number `index` of level 2 or 3.
    pub(super) fn page(&self, level: u8, index: u64) -> Page {
        let mut page = Page::default();
        for (child, hash) in (index * FAN_OUT as u64..).zip(page.0.iter_mut()) {
            *hash = match level {
                2 => self.get(child).map_or(Hash::ZERO, |entry| entry.page.hash()),
                _ => self.page(2, child).hash(),
            };
        }
        page
    }

    /// The hash that proves it. Empty: zero.
    pub(super) fn hash(&self) -> Hash {
        self.page(LEVEL, 0).hash()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let entry = |(block, entry): (&u8, &Entry)| {
            let mut bytes = [0; ENTRY_BYTES];
            let parts = [&[*block][..], &entry.session.0.to_le_bytes(), &entry.page.to_bytes()].concat();
            bytes.copy_from_slice(&parts);
            bytes
        };
        frame::seal(MAGIC, self.0.iter().map(entry))
    }

    /// The segment whose page of level 3 has the hash `expected`.
    pub(super) fn decode(bytes: &[u8], expected: Hash) -> Result<Self, String> {
        let mut segment = Self::default();
        for bytes in frame::unseal::<ENTRY_BYTES>(MAGIC, bytes)? {
            let [block, rest @ ..] = bytes;
            let (session, page) = rest.split_first_chunk::<8>().ok_or("it is too short")?;
            let page = Page::from_bytes(page.try_into().map_err(|_| "it is too short")?);
            if segment.0.last_key_value().is_some_and(|(last, _)| last >= block) {
                return Err("its blocks are not in ascending order".to_owned());
            }
            if page.hash().is_zero() {
                return Err("it names a block of zeroes".to_owned());
            }
            segment.0.insert(*block, Entry { page, session: Session(u64::from_le_bytes(*session)) });
        }
        if segment.hash() != expected {
            return Err("it is not the one that the manifest names".to_owned());
        }
        Ok(segment)
    }
}

/// A block's number in its segment.
fn position(block: u64) -> u8 {
    block.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seed: u8) -> Entry {
        let mut page = Page::default();
        page.0[5] = Hash([seed; 32]);
        Entry { page, session: Session(u64::from(seed) << 40) }
    }

    #[test]
    fn a_segment_survives_its_bytes() {
        let mut segment = Segment::default();
        for block in [0, 17, 255] {
            segment.set(3 * BLOCKS + block, entry(block as u8 | 1));
        }
        let bytes = segment.encode();
        assert_eq!(Segment::decode(&bytes, segment.hash()).unwrap(), segment);
        assert!(Segment::decode(&bytes, Hash([1; 32])).is_err());
        assert_eq!(segment.page(2, 3 * 16 + 1).0[1], entry(17).page.hash());
        assert_eq!(segment.page(LEVEL, 3).0[15], segment.page(2, 3 * 16 + 15).hash());
        segment.truncate(3, (3 * BLOCKS + 17) << 20 | 1);
        assert_eq!(segment.entries().count(), 2);
        segment.truncate(3, (3 * BLOCKS + 17) << 20);
        assert_eq!(segment.entries().count(), 1);
        segment.set(3 * BLOCKS, Entry { page: Page::default(), session: Session(1) });
        assert_eq!((segment.entries().count(), segment.hash()), (0, Hash::ZERO));
    }

    /// Neither changes the hash that proves the rest.
    #[test]
    fn what_the_hash_does_not_prove_is_refused() {
        let mut segment = Segment::default();
        segment.set(7, entry(7));
        let bytes = |block: u8, entry: Entry| -> [u8; ENTRY_BYTES] {
            [&[block][..], &entry.session.0.to_le_bytes(), &entry.page.to_bytes()].concat().try_into().unwrap()
        };
        let zero = Entry { page: Page::default(), session: Session(1) };
        for (other, words) in
            [(bytes(7, entry(7)), "ascending"), (bytes(3, zero), "ascending"), (bytes(8, zero), "zeroes")]
        {
            let forged = frame::seal(MAGIC, [bytes(7, entry(7)), other]);
            assert!(Segment::decode(&forged, segment.hash()).unwrap_err().contains(words), "{words}");
        }
    }

    #[test]
    fn the_largest_is_as_large_as_is_allowed() {
        let mut segment = Segment::default();
        (0..BLOCKS).for_each(|block| segment.set(block, entry(block as u8 | 1)));
        assert_eq!(segment.encode().len(), OBJECT_MAX);
    }
}
