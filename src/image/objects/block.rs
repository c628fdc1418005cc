//! One block as an object.
//!
//! Format 1, integers little-endian:
//!
//! | part | bytes | content |
//! |---|---|---|
//! | magic | 8 | `rsnapblk` |
//! | version | 1 | 1 |
//! | codec | 1 | 0: as it is; 1: zstd |
//! | reserved | 2 | zero |
//! | plain length | 4 | bytes of the block, always 1 MiB in this version |
//! | payload | rest | |
//!
//! There is no checksum: the name of a block is the hash of its plain bytes, and no reader believes less. What is
//! decompressed is bounded by the plain length, whatever the payload says of itself.

use crate::content::{BLOCK_BYTES, Page, hash_leaves};

const MAGIC: &[u8; 8] = b"rsnapblk";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const HEADER_BYTES: usize = 16;
/// Fast enough that a core compresses more than a network carries.
const LEVEL: i32 = 1;

/// Largest object that a block can be.
pub(super) const OBJECT_MAX: usize = HEADER_BYTES + BLOCK_BYTES;

/// The page of level 1 above a block; its hash names the block.
pub(super) fn page_of(plain: &[u8]) -> Page {
    let mut page = Page::default();
    for (hash, leaf) in page.0.iter_mut().zip(hash_leaves(plain)) {
        *hash = leaf;
    }
    page
}

/// The object of a block, compressed where that saves an eighth of it.
pub(super) fn encode(plain: &[u8]) -> Vec<u8> {
    let compressed = zstd::bulk::compress(plain, LEVEL).ok().filter(|bytes| bytes.len() < plain.len() / 8 * 7);
    let (codec, payload) = compressed.as_ref().map_or((PLAIN, plain), |bytes| (ZSTD, bytes.as_slice()));
    let mut object = Vec::with_capacity(HEADER_BYTES + payload.len());
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&[VERSION, codec, 0, 0]);
    object.extend_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
    object.extend_from_slice(payload);
    object
}

/// The plain bytes of a block whose page is `expected`.
pub(super) fn decode(object: &[u8], expected: &Page) -> Result<Vec<u8>, String> {
    let plain = unpack(object)?;
    match page_of(&plain) == *expected {
        true => Ok(plain),
        false => Err("its bytes do not have the hash recorded at the commit".to_owned()),
    }
}

/// The bytes in an object, a whole block, whatever they are.
pub(super) fn unpack(object: &[u8]) -> Result<Vec<u8>, String> {
    let (header, payload) = object.split_first_chunk::<HEADER_BYTES>().ok_or("it is too short for a block")?;
    let (magic, rest) = header.split_first_chunk::<8>().ok_or("it is too short for a block")?;
    let [version, codec, 0, 0, length @ ..] = rest else { return Err("it is not a block of rsnap".to_owned()) };
    if magic != MAGIC {
        return Err("it is not a block of rsnap".to_owned());
    }
    if *version != VERSION {
        return Err(format!("it is version {version} and this rsnap reads version {VERSION}"));
    }
    if length != (BLOCK_BYTES as u32).to_le_bytes() {
        return Err("its plain length is not that of a block".to_owned());
    }
    let plain = match *codec {
        PLAIN => payload.to_vec(),
        ZSTD => {
            zstd::bulk::decompress(payload, BLOCK_BYTES).map_err(|fault| format!("it cannot be unpacked: {fault}"))?
        }
        _ => return Err(format!("its codec {codec} is unknown")),
    };
    match plain.len() == BLOCK_BYTES {
        true => Ok(plain),
        false => Err("it is cut".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise() -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(BLOCK_BYTES).collect()
    }

    #[test]
    fn a_block_survives_its_object_and_is_small_where_it_can_be() {
        let (text, noise) = (vec![7; BLOCK_BYTES], noise());
        assert!(encode(&text).len() < 1000);
        assert_eq!(encode(&noise).len(), OBJECT_MAX);
        for plain in [text, noise] {
            assert_eq!(decode(&encode(&plain), &page_of(&plain)).unwrap(), plain);
        }
    }

    #[test]
    fn every_byte_of_it_counts() {
        for plain in [vec![7; BLOCK_BYTES], noise()] {
            let (object, page) = (encode(&plain), page_of(&plain));
            let places = (0..64).chain((64..object.len()).step_by(9973)).filter(|place| *place < object.len());
            for place in places {
                let mut wrong = object.clone();
                wrong[place] ^= 4;
                assert!(decode(&wrong, &page).map_or(true, |read| read == plain), "byte {place}");
                let cut = decode(&object[..place], &page);
                assert!(cut.is_err(), "cut at {place}");
            }
            assert!(decode(&object, &Page::default()).is_err());
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0; 300 << 20], 1).unwrap();
        let mut object = encode(&[7; BLOCK_BYTES])[..HEADER_BYTES].to_vec();
        object.extend_from_slice(&bomb);
        assert!(object.len() < OBJECT_MAX, "{}", object.len());
        let refused = decode(&object, &Page::default()).unwrap_err();
        assert!(refused.contains("cannot be unpacked"), "{refused}");
    }

    #[test]
    fn a_later_version_is_refused_with_its_number() {
        let mut object = encode(&[7; BLOCK_BYTES]);
        object[8] = 9;
        assert!(decode(&object, &Page::default()).unwrap_err().contains("version 9"));
    }
}
