//! A raw image that comes through a pipe: read once, in order, of a size that was said before.

use std::io::{self, Read};

use super::Blocks;
use crate::client::ClientError;
use crate::content::BLOCK_BYTES;

/// An image on its way through a pipe.
pub struct Sequential<R> {
    reader: R,
    size: u64,
    path: String,
}

impl<R> std::fmt::Debug for Sequential<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sequential").field("path", &self.path).field("size", &self.size).finish_non_exhaustive()
    }
}

impl<R: Read + Send> Sequential<R> {
    /// `reader` must give exactly `size` bytes; `path` is its name in errors.
    pub fn new(reader: R, size: u64, path: &str) -> Self {
        Self { reader, size, path: path.to_owned() }
    }
}

impl<R: Read + Send> Blocks for Sequential<R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn next(&mut self, block: u64) -> Result<Option<u64>, ClientError> {
        Ok((block.saturating_mul(BLOCK_BYTES as u64) < self.size).then_some(block))
    }

    fn read(&mut self, block: u64, buffer: &mut [u8]) -> Result<(), ClientError> {
        let left = self.size.saturating_sub(block.saturating_mul(BLOCK_BYTES as u64));
        let inside = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let (data, past) = buffer.split_at_mut(inside);
        past.fill(0);
        self.reader.read_exact(data).map_err(|fault| match fault.kind() {
            io::ErrorKind::UnexpectedEof => {
                ClientError::Changed(format!("{} ended before the {} bytes of --size", self.path, self.size))
            }
            _ => ClientError::Local { action: "read", path: self.path.clone(), fault },
        })
    }

    fn prove(&mut self) -> Result<(), ClientError> {
        let more = self.reader.read(&mut [0]).map_err(ClientError::local("read", &self.path))?;
        match more {
            0 => Ok(()),
            _ => Err(ClientError::Changed(format!("{} has more than the {} bytes of --size", self.path, self.size))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: usize, size: u64) -> Result<(), ClientError> {
        let bytes = vec![1; given];
        let mut source = Sequential::new(&bytes[..], size, "-");
        let mut buffer = vec![0; BLOCK_BYTES];
        let mut block = 0;
        while let Some(next) = source.next(block)? {
            source.read(next, &mut buffer)?;
            block = next + 1;
        }
        source.prove()
    }

    #[test]
    fn the_size_must_be_exact() {
        for size in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1] {
            read(size, size as u64).unwrap();
            assert!(matches!(read(size + 1, size as u64), Err(ClientError::Changed(_))), "{size}");
            assert!(size == 0 || matches!(read(size - 1, size as u64), Err(ClientError::Changed(_))), "{size}");
        }
    }
}
