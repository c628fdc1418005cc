//! A packed body, unpacked piece by piece as it comes.

use std::io;

use bytes::{Buf as _, Bytes};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

/// The largest window that a frame may ask for, as a power of two: the 8 MiB of RFC 9659.
const WINDOW_LOG_MAX: u32 = 23;
/// What is unpacked at once: two of the format's blocks.
const PIECE: usize = 256 << 10;
/// How many packed bytes plain ones may become at most, with frames and blocks that bring nothing: their share, and what
/// an empty body may have.
const SHARE: u64 = 8;
const SLACK: u64 = 1 << 20;

/// Why a body cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("it is not zstd as it is spoken here, with windows of at most 8 MiB and without dictionaries: {0}")]
    Malformed(String),
    #[error("it unpacks to more than the {0} bytes that it can be about")]
    TooLong(u64),
    /// Everything that came before is right.
    #[error("it ends inside of a frame")]
    Cut,
}

/// Unpacks one body.
pub(crate) struct Unpacker {
    decoder: Decoder<'static>,
    packed: Bytes,
    /// Plain bytes that may come yet, and packed ones that may bring them.
    left: u64,
    packed_left: u64,
    most: u64,
    /// A frame was begun and has not ended.
    is_inside: bool,
    /// There may be more than was asked for in what was pushed.
    is_full: bool,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Unpacker").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Unpacker {
    /// For a body of at most `most` plain bytes.
    pub(crate) fn new(most: u64) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        let packed_left = most.saturating_add(most / SHARE).saturating_add(SLACK);
        Ok(Self { decoder, packed: Bytes::new(), left: most, packed_left, most, is_inside: false, is_full: false })
    }

    /// Takes the next packed bytes, once [`Unpacker::next`] has nothing more of the last ones.
    pub(crate) fn push(&mut self, packed: Bytes) -> Result<(), UnpackError> {
        let length = packed.len() as u64;
        self.packed_left = self.packed_left.checked_sub(length).ok_or(UnpackError::TooLong(self.most))?;
        self.packed = packed;
        Ok(())
    }

    /// The next plain bytes; `None` when more packed ones are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, UnpackError> {
        while !self.packed.is_empty() || self.is_full {
            let mut piece = Vec::with_capacity(PIECE);
            let (mut input, mut output) = (InBuffer::around(&self.packed), OutBuffer::around(&mut piece));
            let ran = self.decoder.run(&mut input, &mut output);
            let hint = ran.map_err(|fault| UnpackError::Malformed(fault.to_string()))?;
            let (taken, made) = (input.pos(), output.pos());
            self.packed.advance(taken);
            self.is_full = made == PIECE;
            // Between two frames, a call that brings nothing and takes nothing hints at what the next one needs.
            self.is_inside = hint > 0 && (self.is_inside || taken > 0 || made > 0);
            self.left = self.left.checked_sub(made as u64).ok_or(UnpackError::TooLong(self.most))?;
            if made > 0 {
                return Ok(Some(Bytes::from(piece)));
            }
        }
        Ok(None)
    }

    /// The body has ended.
    pub(crate) fn finish(&self) -> Result<(), UnpackError> {
        if self.is_inside { Err(UnpackError::Cut) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Unpacks a body that comes in pieces of this length.
    fn unpack(packed: &[u8], step: usize, most: u64) -> Result<Vec<u8>, UnpackError> {
        let mut unpacker = Unpacker::new(most).unwrap();
        let mut plain = Vec::new();
        for piece in packed.chunks(step) {
            unpacker.push(Bytes::copy_from_slice(piece))?;
            while let Some(bytes) = unpacker.next()? {
                assert!(bytes.len() <= PIECE);
                plain.extend_from_slice(&bytes);
            }
        }
        unpacker.finish().map(|()| plain)
    }

    fn text() -> Vec<u8> {
        (0..400_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect()
    }

    fn with_window(log: u32, plain: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(log)).unwrap();
        encoder.write_all(plain).unwrap();
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn frames_follow_each_other_and_come_in_any_pieces() {
        let text = text();
        let (first, second) = text.split_at(700_000);
        // Between them one that brings nothing, and one that is to be skipped.
        let frames = [
            zstd::bulk::compress(first, 1).unwrap(),
            zstd::bulk::compress(&[], 1).unwrap(),
            vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3],
            zstd::bulk::compress(second, 19).unwrap(),
        ]
        .concat();
        for step in [1, 7, 4096, usize::MAX] {
            assert!(unpack(&frames, step, text.len() as u64).unwrap() == text, "in pieces of {step}");
        }
        assert!(unpack(&[], 1, 0).unwrap().is_empty());
    }

    #[test]
    fn a_cut_is_seen_wherever_it_is() {
        let packed = zstd::bulk::compress(&text(), 1).unwrap();
        for end in (1..packed.len()).step_by(997).chain([1, 3, 4, 5, packed.len() - 1]) {
            assert_eq!(unpack(&packed[..end], 4096, u64::MAX), Err(UnpackError::Cut), "cut at {end}");
        }
    }

    #[test]
    fn what_is_right_before_a_cut_comes_out() {
        let text = text();
        let mut packed = zstd::bulk::compress(&text, 1).unwrap();
        packed.extend_from_slice(&zstd::bulk::compress(&text, 1).unwrap()[..100]);
        let mut unpacker = Unpacker::new(u64::MAX).unwrap();
        unpacker.push(Bytes::from(packed)).unwrap();
        let mut plain = Vec::new();
        while let Some(bytes) = unpacker.next().unwrap() {
            plain.extend_from_slice(&bytes);
        }
        assert!(plain == text);
        assert_eq!(unpacker.finish(), Err(UnpackError::Cut));
    }

    #[test]
    fn zeroes_are_legal_up_to_the_length_and_a_bomb_is_not() {
        let zeroes = vec![0; 64 << 20];
        let packed = zstd::bulk::compress(&zeroes, 1).unwrap();
        assert!(packed.len() < 8192, "{}", packed.len());
        assert_eq!(unpack(&packed, usize::MAX, 64 << 20).unwrap().len(), 64 << 20);
        let most = (64 << 20) - 1;
        assert_eq!(unpack(&packed, usize::MAX, most), Err(UnpackError::TooLong(most)));
    }

    #[test]
    fn frames_that_bring_nothing_have_an_end() {
        let empty = zstd::bulk::compress(&[], 1).unwrap();
        assert!(unpack(&empty.repeat(1000), 64, 10).unwrap().is_empty());
        let many = empty.repeat((SLACK as usize + 100) / empty.len());
        assert_eq!(unpack(&many, 4096, 10), Err(UnpackError::TooLong(10)));
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0x40, 0][..], &vec![7; 4 << 20]].concat();
        assert_eq!(unpack(&skipped, 4096, 10), Err(UnpackError::TooLong(10)));
    }

    #[test]
    fn what_it_is_not_is_refused() {
        let malformed = |packed: &[u8]| matches!(unpack(packed, 4096, u64::MAX), Err(UnpackError::Malformed(_)));
        let text = text();
        let packed = zstd::bulk::compress(&text, 1).unwrap();
        assert!(malformed(b"hello, world"));
        assert!(malformed(&[&packed[..], b"and more"].concat()));
        // A frame of one byte as it is, for those who have dictionary 7.
        let with_dictionary = [0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x38, 7, 9, 0, 0, 1];
        assert!(malformed(&with_dictionary));
        assert!(unpack(&with_window(WINDOW_LOG_MAX, &text), 4096, u64::MAX).unwrap() == text);
        assert!(malformed(&with_window(WINDOW_LOG_MAX + 1, &text)));
        assert!(malformed(&with_window(27, &text)));
    }

    #[test]
    fn no_flipped_byte_does_harm() {
        let text = text();
        let packed = zstd::bulk::compress(&text, 1).unwrap();
        for place in (0..64).chain((64..packed.len()).step_by(499)) {
            let mut wrong = packed.clone();
            wrong[place] ^= 0x55;
            // Whatever comes out, it is not more than was asked for.
            if let Ok(plain) = unpack(&wrong, 4096, text.len() as u64) {
                assert!(plain.len() <= text.len());
            }
        }
    }
}
