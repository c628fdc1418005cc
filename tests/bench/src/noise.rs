//! Incompressible bytes, faster than any disk: splitmix64.
//!
//! Random devices and ciphers were refused: the kernel's generator gives some hundred MB/s, and data that is the same
//! for the same seed makes a run repeatable.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The unit in which data is made and spread unless asked otherwise, in bytes.
pub(crate) const EXTENT: u64 = 1 << 20;

/// An endless source of incompressible bytes.
#[derive(Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for bytes in buffer.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            bytes.iter_mut().zip(word).for_each(|(byte, value)| *byte = value);
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

/// Where extents of `length` bytes lie that spread `data` bytes evenly over `size`.
pub(crate) fn spread(data: u64, size: u64, length: u64) -> Result<impl Iterator<Item = u64>> {
    let stride = stride(data, size, length)?;
    Ok((0..data / length).map(move |extent| extent * stride))
}

/// As [`spread`], each extent somewhere in its share of the image: a pattern that no reader can guess.
pub(crate) fn scatter(data: u64, size: u64, length: u64, seed: u64) -> Result<impl Iterator<Item = u64>> {
    let stride = stride(data, size, length)?;
    let mut noise = Noise::new(seed);
    Ok((0..data / length).map(move |extent| extent * stride + noise.next() % (stride / length) * length))
}

fn stride(data: u64, size: u64, length: u64) -> Result<u64> {
    ensure!(data >= length && data.is_multiple_of(length) && data <= size, "{data} bytes do not fit into {size}");
    Ok(size / (data / length) / length * length)
}

fn extent_buffer() -> Result<Vec<u8>> {
    Ok(vec![0; usize::try_from(EXTENT)?])
}

/// Makes a file of `size` bytes with `data` bytes in it.
pub(crate) fn file(path: &Path, data: u64, size: u64, seed: u64) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.set_len(size).with_context(|| format!("{} cannot have {size} bytes", path.display()))?;
    let (mut noise, mut buffer) = (Noise::new(seed), extent_buffer()?);
    for offset in spread(data, size, EXTENT)? {
        noise.fill(&mut buffer);
        file.write_all_at(&buffer, offset).with_context(|| format!("cannot write {}", path.display()))?;
    }
    file.sync_all().with_context(|| format!("cannot flush {}", path.display()))
}

/// Writes `data` bytes.
pub(crate) fn stream(out: &mut impl Write, data: u64, seed: u64) -> Result<()> {
    let (mut noise, mut buffer) = (Noise::new(seed), extent_buffer()?);
    let mut left = data;
    while left > 0 {
        noise.fill(&mut buffer);
        let part = buffer.get(..usize::try_from(left.min(EXTENT))?).unwrap_or_default();
        out.write_all(part).context("cannot write to standard output")?;
        left -= u64::try_from(part.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_their_length_and_repeat() {
        let make = |seed| {
            let mut out = Vec::new();
            stream(&mut out, EXTENT + 5, seed).unwrap();
            out
        };
        assert_eq!(make(1).len() as u64, EXTENT + 5);
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn data_is_spread_to_the_end() {
        let offsets: Vec<u64> = spread(4 * EXTENT, 40 * EXTENT, EXTENT).unwrap().collect();
        assert_eq!(offsets, [0, 10 * EXTENT, 20 * EXTENT, 30 * EXTENT]);
        assert!(spread(2 * EXTENT, EXTENT, EXTENT).is_err());
        assert_eq!(spread(2 * EXTENT, 2 * EXTENT, EXTENT).unwrap().last(), Some(EXTENT));
    }

    #[test]
    fn scattered_extents_do_not_overlap() {
        let offsets: Vec<u64> = scatter(1 << 20, 64 << 20, 4096, 3).unwrap().collect();
        assert_eq!(offsets.len(), 256);
        assert!(offsets.windows(2).all(|pair| pair[0] + 4096 <= pair[1]));
        assert!(offsets.iter().all(|offset| offset % 4096 == 0 && *offset < 64 << 20));
    }
}
