//! Packs pieces of a body where that pays.
//!
//! What does not shrink goes as it is, in a frame that only wraps it: that costs some bytes for a piece, and no copy. Whether
//! it would shrink is tried with samples of it, which cost a fiftieth of the whole. To leave out some pieces after one that
//! did not shrink was refused: a disk with stretches of either kind was seen to have only the wrong ones tried.

use std::io;

use bytes::{Bytes, BytesMut};
use zstd::bulk::Compressor;

/// Fast enough that a core packs more than most lines carry.
const LEVEL: i32 = 1;
/// A frame is about no more than this, so that whoever unpacks it needs no more memory.
const PIECE: usize = 1 << 20;
/// Below this, a frame would be longer than what it saves.
const LEAST: usize = 256;
/// Samples of a piece, and their length; a piece that is not much longer is tried itself.
const SAMPLES: usize = 4;
const SAMPLE: usize = 4 << 10;
/// A block in a frame has no more than this, in bytes.
const BLOCK: usize = 128 << 10;
/// The front of a frame that only wraps: the magic number, no checksum and no length, a window of 128 KiB.
const FRONT: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];

#[derive(Default)]
pub(crate) struct Packer {
    compressor: Option<Compressor<'static>>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    /// The frames of these bytes, in parts that follow each other. Without `is_tried` they are only wrapped.
    pub(crate) fn pack(&mut self, mut bytes: Bytes, is_tried: bool) -> io::Result<Vec<Bytes>> {
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            match if is_tried { self.squeeze(&piece)? } else { None } {
                Some(frame) => parts.push(frame),
                None => wrap(piece, &mut parts),
            }
        }
        Ok(parts)
    }

    /// A frame that is smaller by an eighth at least.
    fn squeeze(&mut self, piece: &[u8]) -> io::Result<Option<Bytes>> {
        if piece.len() < LEAST {
            return Ok(None);
        }
        if piece.len() >= 4 * SAMPLES * SAMPLE {
            let starts = piece.chunks(piece.len() / SAMPLES);
            let samples: Vec<u8> = starts.flat_map(|part| part.iter().take(SAMPLE)).copied().collect();
            if self.shrink(&samples)?.is_none() {
                return Ok(None);
            }
        }
        Ok(self.shrink(piece)?.map(Bytes::from))
    }

    fn shrink(&mut self, plain: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let compressor = match &mut self.compressor {
            Some(there) => there,
            none => none.insert(Compressor::new(LEVEL)?),
        };
        let frame = compressor.compress(plain)?;
        Ok(Some(frame).filter(|frame| frame.len() < plain.len() / 8 * 7))
    }
}

/// A frame with the bytes as they are.
fn wrap(mut piece: Bytes, parts: &mut Vec<Bytes>) {
    let mut front = BytesMut::from(&FRONT[..]);
    while !piece.is_empty() {
        let block = piece.split_to(piece.len().min(BLOCK));
        // The last block's mark, the kind 0 for bytes as they are, and the length.
        let header = u32::from(piece.is_empty()) | (block.len() as u32) << 3;
        front.extend_from_slice(header.to_le_bytes().get(..3).unwrap_or_default());
        parts.extend([front.split().freeze(), block]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Unpacker;
    use super::*;

    fn noise(length: usize) -> Bytes {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn text(length: usize) -> Bytes {
        b"a volume has much that is said twice. ".iter().copied().cycle().take(length).collect()
    }

    fn unpack(parts: &[Bytes]) -> Vec<u8> {
        let packed = parts.concat();
        // Others read it as well.
        let stock = zstd::decode_all(&packed[..]).unwrap();
        let mut unpacker = Unpacker::new(stock.len() as u64).unwrap();
        unpacker.push(Bytes::from(packed)).unwrap();
        let mut plain = Vec::new();
        while let Some(bytes) = unpacker.next().unwrap() {
            plain.extend_from_slice(&bytes);
        }
        unpacker.finish().unwrap();
        assert!(plain == stock);
        plain
    }

    #[test]
    fn all_lengths_come_back() {
        let mut packer = Packer::default();
        for length in [1, 17, 255, 256, 65_536, BLOCK - 1, BLOCK, BLOCK + 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            for plain in [text(length), noise(length), vec![0; length].into()] {
                for is_tried in [true, false] {
                    let parts = packer.pack(plain.clone(), is_tried).unwrap();
                    assert!(unpack(&parts) == plain, "{length} bytes");
                }
            }
        }
        assert!(packer.pack(Bytes::new(), true).unwrap().is_empty());
    }

    #[test]
    fn noise_does_not_grow() {
        let plain = noise(64 * PIECE);
        let packed: usize = Packer::default().pack(plain.clone(), true).unwrap().iter().map(Bytes::len).sum();
        assert!(packed - plain.len() < plain.len() / 10_000, "{packed}");
    }

    #[test]
    fn what_shrinks_between_noise_is_found() {
        let (noise, text) = (noise(PIECE), text(PIECE));
        for step in [2, 3, 4] {
            let mixed =
                (0..60).flat_map(|piece| if piece % step == 0 { noise.clone() } else { text.clone() }).collect();
            let packed: usize = Packer::default().pack(mixed, true).unwrap().iter().map(Bytes::len).sum();
            assert!(packed < 60 / step * PIECE + PIECE, "{packed} with noise in each {step}.");
        }
    }
}
