//! Writing the records of an rbd-diff, in ascending order.
//!
//! Runs of zeroes grow over as many pieces as they have, because they cost nothing to hold; data goes out as it comes.

use bytes::Bytes;
use rsnap_wire::rbd_diff;

use super::writer::{Halt, StreamWriter};
use crate::client::ClientError;

/// A run of zeroes that may still grow.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Offset and length.
    zeroes: Option<(u64, u64)>,
}

impl Records {
    /// Begins a stream: the names of the base and of the snapshot, and the size of the image.
    pub(super) fn begin(writer: &mut StreamWriter, from: Option<&str>, to: &str, size: u64) -> Result<Self, Halt> {
        let header = rbd_diff::Header { from, to: Some(to), size }.encode();
        writer.write(Bytes::from(header.map_err(|fault| ClientError::Usage(fault.to_string()))?))?;
        Ok(Self::default())
    }

    pub(super) fn data(&mut self, offset: u64, bytes: Bytes, writer: &mut StreamWriter) -> Result<(), Halt> {
        self.flush(writer)?;
        writer.write(Bytes::copy_from_slice(&rbd_diff::data(offset, bytes.len() as u64)))?;
        writer.write(bytes)
    }

    pub(super) fn zero(&mut self, offset: u64, length: u64, writer: &mut StreamWriter) -> Result<(), Halt> {
        if let Some((start, held)) = &mut self.zeroes
            && *start + *held == offset
        {
            *held += length;
            return Ok(());
        }
        self.flush(writer)?;
        self.zeroes = Some((offset, length));
        Ok(())
    }

    /// A record of no bytes at `position` says that we are still there; a growing run of zeroes stays open.
    pub(super) fn breathe(&self, position: u64, writer: &mut StreamWriter) -> Result<(), Halt> {
        let offset = self.zeroes.map_or(position, |(offset, _)| offset);
        writer.breathe(&rbd_diff::zero(offset, 0))
    }

    /// The end marker, once `prove` has nothing against it.
    pub(super) fn end(
        mut self,
        writer: &mut StreamWriter,
        prove: impl FnOnce() -> Result<(), ClientError>,
    ) -> Result<(), Halt> {
        self.flush(writer)?;
        prove()?;
        writer.write(Bytes::from_static(rbd_diff::END))
    }

    fn flush(&mut self, writer: &mut StreamWriter) -> Result<(), Halt> {
        match self.zeroes.take() {
            Some((offset, length)) => writer.write(Bytes::copy_from_slice(&rbd_diff::zero(offset, length))),
            None => Ok(()),
        }
    }
}
