//! Packs pieces of a body where that pays.
//!
//! What does not shrink goes as it is, in a frame that only wraps it: it costs some bytes for a piece, no copy, and no
//! time, because after a piece that did not shrink some are not even tried. Disks have stretches of either kind, so
//! the number of those that are left out grows slowly and falls back with the first that shrinks.

use std::io;

use bytes::{Bytes, BytesMut};
use zstd::bulk::Compressor;

/// Fast enough that a core packs more than most lines carry.
const LEVEL: i32 = 1;
/// A frame is about no more than this, so that whoever unpacks it needs no more memory.
const PIECE: usize = 1 << 20;
/// Below this, a frame would be longer than what it saves.
const LEAST: usize = 256;
/// Most pieces that go untried after one that did not shrink.
const PATIENCE: u32 = 15;
/// A block in a frame has no more than this, in bytes.
const BLOCK: usize = 128 << 10;
/// The front of a frame that only wraps: the magic number, no checksum and no length, a window of 128 KiB.
const FRONT: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];

#[derive(Default)]
pub(crate) struct Packer {
    compressor: Option<Compressor<'static>>,
    /// Pieces that are not tried, now and after the next one that does not shrink.
    untried: u32,
    pause: u32,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Packer").field("untried", &self.untried).finish_non_exhaustive()
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
        if self.untried > 0 {
            self.untried -= 1;
            return Ok(None);
        }
        let compressor = match &mut self.compressor {
            Some(there) => there,
            none => none.insert(Compressor::new(LEVEL)?),
        };
        let frame = compressor.compress(piece)?;
        if frame.len() < piece.len() / 8 * 7 {
            self.pause = 0;
            return Ok(Some(Bytes::from(frame)));
        }
        self.pause = (self.pause * 2 + 1).min(PATIENCE);
        self.untried = self.pause;
        Ok(None)
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
    fn noise_does_not_grow_and_is_hardly_tried() {
        let mut packer = Packer::default();
        let plain = noise(64 * PIECE);
        let packed: usize = packer.pack(plain.clone(), true).unwrap().iter().map(Bytes::len).sum();
        assert!(packed - plain.len() < plain.len() / 10_000, "{packed}");
        assert_eq!(packer.pause, PATIENCE);
    }

    #[test]
    fn what_shrinks_after_noise_is_found() {
        let mut packer = Packer::default();
        packer.pack(noise(64 * PIECE), true).unwrap();
        let packed: usize = packer.pack(text(64 * PIECE), true).unwrap().iter().map(Bytes::len).sum();
        assert!(packed <= (PATIENCE as usize + 1) * PIECE, "{packed}");
        let packed: usize = packer.pack(text(64 * PIECE), true).unwrap().iter().map(Bytes::len).sum();
        assert!(packed < PIECE, "{packed}");
    }
}
