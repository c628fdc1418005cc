//! The manifest of a snapshot: which segments it consists of.
//!
//! An entry, of 48 bytes: the number of the segment in the image (8, little-endian), the session whose segment it is (8),
//! the hash of its page of level 3 (32); ascending. A segment without an entry is zero. The upper levels of the content
//! tree follow from the hashes, up to the root in the record, so nothing in a manifest has to be believed.

use std::collections::{BTreeMap, HashMap};

use super::frame;
use super::layout::Session;
use super::segment::LEVEL;
use crate::content::{FAN_OUT, HEIGHT, Hash, Page, Root, SIZE_MAX};

const MAGIC: &[u8; 8] = b"rsnapman";
const ENTRY_BYTES: usize = 48;
/// Largest object that a manifest can be: of an image of 64 TiB that has data in each segment, and eight times that.
pub(super) const OBJECT_MAX: usize = frame::bytes_of::<ENTRY_BYTES>(8 << 18);

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

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut manifest = BTreeMap::new();
        for entry in frame::unseal::<ENTRY_BYTES>(MAGIC, bytes)? {
            let (numbers, hash) = entry.split_first_chunk::<16>().ok_or("it is too short")?;
            let (segment, session) = numbers.split_first_chunk::<8>().ok_or("it is too short")?;
            let segment = u64::from_le_bytes(*segment);
            if segment >= SIZE_MAX >> (16 + 4 * u32::from(LEVEL)) {
                return Err("it has a segment beyond the end of any image".to_owned());
            }
            let session = Session(session.try_into().map(u64::from_le_bytes).map_err(|_| "it is too short")?);
            let hash = Hash(hash.try_into().map_err(|_| "it is too short")?);
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
        assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        let pages = manifest.upper_pages();
        assert_eq!(pages[&(4, 1)].0[1], Hash([2; 32]));
        assert_eq!(pages[&(5, 0)].0[1], pages[&(4, 1)].hash());
        assert_eq!(pages[&(HEIGHT, 0)].0[0], pages[&(HEIGHT - 1, 0)].hash());
        assert_ne!(manifest.root(1), manifest.root(2));
        let beyond = Manifest([(1 << 40, reference(1))].into());
        assert!(Manifest::decode(&beyond.encode()).is_err());
    }
}
