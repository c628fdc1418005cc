//! What is sent in the transfers that try a writer out: images and the pieces that they are cut into.

use bytes::Bytes;

use crate::plugin::Piece;

/// Bytes that look random and are the same each time.
pub(super) fn random(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// An image with data, zeroes that are sent as data, and zeroes that are sent as such.
pub(super) fn image(size: usize) -> Vec<u8> {
    let mut bytes = random(size, size as u64);
    for (number, part) in bytes.chunks_mut(70_001).enumerate() {
        if number % 4 > 1 {
            part.fill(0);
        }
    }
    bytes
}

/// The image cut where nobody expects it: into pieces of all sizes, holes left out, zeroes told in both ways.
pub(super) fn cut(image: &[u8]) -> Vec<Piece> {
    let lengths = [1, 4096, 511, 65_536, 3, 200_000, 4095, 131_072];
    let mut pieces = Vec::new();
    let mut offset = 0_usize;
    for (number, length) in lengths.into_iter().cycle().enumerate() {
        let Some(rest) = image.get(offset..).filter(|rest| !rest.is_empty()) else { break };
        let part = rest.get(..length).unwrap_or(rest);
        let zero = part.iter().all(|byte| *byte == 0);
        match (zero, number % 3) {
            // A hole: nothing is sent for it.
            (true, 0) => {}
            (true, 1) => pieces.push(Piece::Zero { offset: offset as u64, length: part.len() as u64 }),
            _ => pieces.push(data(offset as u64, part)),
        }
        offset += part.len();
    }
    pieces
}

pub(super) fn data(offset: u64, bytes: &[u8]) -> Piece {
    Piece::Data { offset, bytes: Bytes::copy_from_slice(bytes) }
}

pub(super) fn zero(offset: u64, length: u64) -> Piece {
    Piece::Zero { offset, length }
}

/// The image after the pieces.
pub(super) fn after(base: &[u8], size: usize, pieces: &[Piece]) -> Vec<u8> {
    let mut image = base.to_vec();
    image.resize(size, 0);
    for piece in pieces {
        let (offset, length) = match piece {
            Piece::Data { offset, bytes } => (*offset, bytes.len()),
            Piece::Zero { offset, length } => (*offset, usize::try_from(*length).unwrap_or(usize::MAX)),
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(place) = image.get_mut(start..start.saturating_add(length)) else { continue };
        match piece {
            Piece::Data { bytes, .. } => place.copy_from_slice(bytes),
            Piece::Zero { .. } => place.fill(0),
        }
    }
    image
}

/// Where two images differ, in words.
pub(super) fn difference(expected: &[u8], found: &[u8]) -> Option<String> {
    if expected.len() != found.len() {
        return Some(format!("{} bytes are stored, {} were sent", found.len(), expected.len()));
    }
    let at = expected.iter().zip(found).position(|(expected, found)| expected != found)?;
    Some(format!("the byte at {at} is not the one that was sent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_image_is_the_image() {
        for size in [1, 4096, 1_048_577, 2_500_001] {
            let image = image(size);
            let pieces = cut(&image);
            assert_eq!(difference(&image, &after(&[], size, &pieces)), None, "{size}");
            let kinds = |wanted: fn(&Piece) -> bool| pieces.iter().filter(|piece| wanted(piece)).count();
            if size > 1_000_000 {
                assert!(kinds(|piece| matches!(piece, Piece::Zero { .. })) > 0);
                assert!(
                    kinds(|piece| matches!(piece, Piece::Data { bytes, .. } if crate::content::is_zero(bytes))) > 0
                );
            }
        }
    }

    #[test]
    fn differences_are_found() {
        assert_eq!(difference(b"abc", b"abd").unwrap(), "the byte at 2 is not the one that was sent");
        assert!(difference(b"abc", b"ab").unwrap().starts_with("2 bytes are stored"));
    }
}
