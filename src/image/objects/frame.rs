//! Binary objects that must not be believed when they are torn or edited.
//!
//! | part | bytes | content |
//! |---|---|---|
//! | magic | 8 | which kind it is |
//! | version | 4 | little-endian; 1 for all kinds |
//! | entries | any | all of one length, in the order that the kind says |
//! | checksum | 32 | BLAKE3 of all before it |

const VERSION: u32 = 1;
const HEADER_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 32;

/// The bytes of an object with these entries.
pub(super) fn seal<const N: usize>(magic: &[u8; 8], entries: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry);
    }
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    bytes
}

/// The entries of an object.
pub(super) fn unseal<'a, const N: usize>(magic: &[u8; 8], bytes: &'a [u8]) -> Result<&'a [[u8; N]], String> {
    let (checked, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or("it is too short")?;
    let (header, entries) = checked.split_first_chunk::<HEADER_BYTES>().ok_or("it is too short")?;
    let (kind, version) = header.split_first_chunk::<8>().ok_or("it is too short")?;
    if kind != magic {
        return Err("it is something else".to_owned());
    }
    let found = version.try_into().map(u32::from_le_bytes).unwrap_or_default();
    if found != VERSION {
        return Err(format!("it is version {found} and this rsnap reads version {VERSION}"));
    }
    if blake3::hash(checked).as_bytes() != sum {
        return Err("its checksum is wrong".to_owned());
    }
    match entries.as_chunks::<N>() {
        (entries, []) => Ok(entries),
        _ => Err("it is of the wrong length".to_owned()),
    }
}

/// The bytes of an object with at most `count` entries of `N` bytes.
pub(super) const fn bytes_of<const N: usize>(count: usize) -> usize {
    HEADER_BYTES + count * N + CHECKSUM_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = seal(b"rsnaptst", [[1_u8, 2, 3], [4, 5, 6]]);
        assert_eq!(unseal(b"rsnaptst", &bytes), Ok([[1_u8, 2, 3], [4, 5, 6]].as_slice()));
        assert_eq!(bytes.len(), bytes_of::<3>(2));
        for place in 0..bytes.len() {
            assert!(unseal::<3>(b"rsnaptst", &bytes[..place]).is_err(), "cut at {place}");
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[place] ^= 1 << bit;
                assert!(unseal::<3>(b"rsnaptst", &wrong).is_err(), "bit {bit} of byte {place}");
            }
        }
        assert!(unseal::<3>(b"rsnapxxx", &bytes).is_err());
        assert!(unseal::<4>(b"rsnaptst", &bytes).is_err());
    }
}
