//! The manifest of a snapshot: which segments it consists of.
//!
//! An entry, of 48 bytes: the number of the segment in the image (8, little-endian), the session whose segment it is (8),
//! the hash of its page of level 3 (32); ascending. A segment without an entry is zero. The upper levels of the content
//! tree follow from the hashes, up to the root in the record, so nothing in a manifest has to be believed. What would not
//! change the root (an entry twice, out of order, of zeroes, or behind the end of the image) is refused, so no manifest is
//! longer than its image can need.

use std::collections::{BTreeMap, HashMap};

use super::frame;
use super::layout::Session;
use super::segment::LEVEL;
use crate::content::{FAN_OUT, HEIGHT, Hash, Page, Root};

const MAGIC: &[u8; 8] = b"rsnapman";
const ENTRY_BYTES: usize = 48;
/// Segments of the largest image whose manifest is read: 512 TiB with data in each.
const SEGMENTS_MAX: u64 = 8 << 18;

/// Largest object that the manifest of an image of `size` bytes can be.
pub(super) fn object_max(size: u64) -> usize {
    frame::bytes_of::<ENTRY_BYTES>(usize::try_from(segments_of(size).min(SEGMENTS_MAX)).unwrap_or_default())
}

/// Segments of an image of `size` bytes.
fn segments_of(size: u64) -> u64 {
    size.div_ceil(1 << (16 + 4 * u32::from(LEVEL)))
}

/// A segment with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub session: Session,
    /// Of its page of level 3.
    pub hash: Hash,
}

/// See the module's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Manifest(pub BTreeMap<u64, Reference>);

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let entry = |(segment, reference): (&u64, &Reference)| {
            let mut bytes = [0; ENTRY_BYTES];
            let parts = [&segment.to_le_bytes()[..], &reference.session.0.to_le_bytes(), &reference.hash.0].concat();
            bytes.copy_from_slice(&parts);
            bytes
        };
        frame::seal(MAGIC, self.0.iter().map(entry))
    }

    /// The manifest of an image of `size` bytes.
    pub(super) fn decode(bytes: &[u8], size: u64) -> Result<Self, String> {
        let mut manifest = BTreeMap::new();
        let mut first_possible = 0;
        for entry in frame::unseal::<ENTRY_BYTES>(MAGIC, bytes)? {
            let (numbers, hash) = entry.split_first_chunk::<16>().ok_or("it is too short")?;
            let (segment, session) = numbers.split_first_chunk::<8>().ok_or("it is too short")?;
            let segment = u64::from_le_bytes(*segment);
            if segment >= segments_of(size) {
                return Err("it has a segment behind the end of its image".to_owned());
            }
            if segment < first_possible {
                return Err("its segments are not in ascending order".to_owned());
            }
            first_possible = segment + 1;
            let session = Session(session.try_into().map(u64::from_le_bytes).map_err(|_| "it is too short")?);
            let hash = Hash(hash.try_into().map_err(|_| "it is too short")?);
            if hash.is_zero() {
                return Err("it names a segment of zeroes".to_owned());
            }
            manifest.insert(segment, Reference { session, hash });
        }
        Ok(Self(manifest))
    }

    /// The pages above those of the segments, by level and number; those of zeroes are left out.
    pub(super) fn upper_pages(&self) -> HashMap<(u8, u64), Page> {
        let mut pages: HashMap<(u8, u64), Page> = HashMap::new();
        let mut below: BTreeMap<u64, Hash> =
            self.0.iter().map(|(segment, reference)| (*segment, reference.hash)).collect();
        for level in LEVEL + 1..=HEIGHT {
            let mut here: BTreeMap<u64, Page> = BTreeMap::new();
            for (child, hash) in below {
                let page = here.entry(child / FAN_OUT as u64).or_default();
                let position = usize::try_from(child % FAN_OUT as u64).unwrap_or_default();
                if let Some(place) = page.0.get_mut(position) {
                    *place = hash;
                }
            }
            below = here.iter().map(|(index, page)| (*index, page.hash())).collect();
            pages.extend(here.into_iter().map(|(index, page)| ((level, index), page)));
        }
        pages
    }

    /// The content root of an image of `size` bytes that consists of these segments.
    pub(super) fn root(&self, size: u64) -> Root {
        let top = self.upper_pages().get(&(HEIGHT, 0)).copied().unwrap_or_default();
        Root::new(size, top.hash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_its_bytes() {
        let reference = |seed| Reference { session: Session(seed), hash: Hash([seed as u8; 32]) };
        let manifest = Manifest([(0, reference(1)), (17, reference(2)), (4096, reference(3))].into());
        assert_eq!(Manifest::decode(&manifest.encode(), 4097 << 28).unwrap(), manifest);
        let pages = manifest.upper_pages();
        assert_eq!(pages[&(4, 1)].0[1], Hash([2; 32]));
        assert_eq!(pages[&(5, 0)].0[1], pages[&(4, 1)].hash());
        assert_eq!(pages[&(HEIGHT, 0)].0[0], pages[&(HEIGHT - 1, 0)].hash());
        assert_ne!(manifest.root(1), manifest.root(2));
    }

    #[test]
    fn what_the_root_does_not_prove_is_refused() {
        let entry = |segment: u64, seed: u8| {
            let parts = [&segment.to_le_bytes()[..], &[7; 8], &[seed; 32]].concat();
            <[u8; ENTRY_BYTES]>::try_from(parts).unwrap()
        };
        let size = (2 << 28) + 1;
        let read = |entries: &[[u8; ENTRY_BYTES]]| {
            let bytes = frame::seal(MAGIC, entries.iter().copied());
            Manifest::decode(&bytes, size).map(|manifest| (manifest.0.len(), bytes.len() <= object_max(size)))
        };
        assert_eq!(read(&[entry(0, 1), entry(1, 1), entry(2, 1)]), Ok((3, true)));
        let wrong = [
            ([entry(1, 1), entry(0, 1)], "ascending"),
            ([entry(1, 1), entry(1, 2)], "ascending"),
            ([entry(0, 1), entry(1, 0)], "zeroes"),
            ([entry(0, 1), entry(3, 1)], "behind the end"),
        ];
        for (entries, words) in wrong {
            assert!(read(&entries).unwrap_err().contains(words), "{words}");
        }
        assert_eq!((object_max(0), object_max(u64::MAX)), (frame::bytes_of::<48>(0), frame::bytes_of::<48>(1 << 21)));
    }
}
