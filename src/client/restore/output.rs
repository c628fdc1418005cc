//! The three places that an image can go to, and how each takes zeroes.

use std::io::Write;

use super::Destination;
use super::device::Device;
use super::staged::{Leftover, Staged};
use crate::client::ClientError;
use crate::content::{GRAIN_BYTES, is_zero};

/// Zeroes that are written at once.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// An opened destination.
pub(super) enum Output {
    Staged(Staged),
    Device(Device),
    Stream(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Staged(_) => "Staged",
            Self::Device(_) => "Device",
            Self::Stream(_) => "Stream",
        })
    }
}

impl Output {
    /// Opens `destination` for an image of `size` bytes.
    pub(super) fn open(destination: Destination, size: u64) -> Result<Self, ClientError> {
        Ok(match destination {
            Destination::File { path, replace } => Self::Staged(Staged::create(path, replace)?),
            Destination::Device(path) => Self::Device(Device::open(path, size)?),
            Destination::Stream(stream) => Self::Stream(stream),
        })
    }

    /// Whether what was written so far is seen by nobody.
    pub(super) fn is_staged(&self) -> bool {
        matches!(self, Self::Staged(_))
    }

    /// What removes the file of an interrupted restore, for whoever waits for it.
    pub(super) fn leftover(&self) -> Option<Leftover> {
        match self {
            Self::Staged(staged) => Some(staged.leftover()),
            Self::Device(_) | Self::Stream(_) => None,
        }
    }

    /// Writes bytes of the image; a file keeps zeroes as holes.
    pub(super) fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ClientError> {
        if !self.is_staged() {
            return self.raw(offset, bytes);
        }
        let mut start = 0;
        while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
            let (length, zero) = run(offset + start as u64, rest);
            if let Some(run) = rest.get(..length).filter(|_| !zero) {
                self.raw(offset + start as u64, run)?;
            }
            start += length;
        }
        Ok(())
    }

    /// Writes bytes as they are.
    pub(super) fn raw(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ClientError> {
        match self {
            Self::Staged(staged) => staged.write(offset, bytes),
            Self::Device(device) => device.write(offset, bytes),
            Self::Stream(stream) => stream.write_all(bytes).map_err(ClientError::local("write", "standard output")),
        }
    }

    /// Makes `length` bytes at `offset` zero. A staged file is new, so it is zero where nobody wrote.
    pub(super) fn zero(&mut self, mut offset: u64, length: u64) -> Result<(), ClientError> {
        let end = offset + length;
        match self {
            Self::Staged(_) => return Ok(()),
            Self::Device(device) if device.zero(offset, length) => return Ok(()),
            _ => {}
        }
        while offset < end {
            let now = (end - offset).min(ZEROES.len() as u64);
            self.raw(offset, ZEROES.get(..now as usize).unwrap_or_default())?;
            offset += now;
        }
        Ok(())
    }

    /// Makes everything durable, at a length of `size` bytes.
    pub(super) fn settle(&mut self, size: u64) -> Result<(), ClientError> {
        match self {
            Self::Staged(staged) => staged.settle(size),
            Self::Device(device) => device.settle(),
            Self::Stream(stream) => stream.flush().map_err(ClientError::local("write", "standard output")),
        }
    }

    /// Makes a file visible under its name.
    pub(super) fn publish(self) -> Result<(), ClientError> {
        match self {
            Self::Staged(staged) => staged.publish(),
            Self::Device(_) | Self::Stream(_) => Ok(()),
        }
    }
}

/// The length of the first run of whole or cut grains that are all zero or all not, and which.
fn run(offset: u64, bytes: &[u8]) -> (usize, bool) {
    let grain = GRAIN_BYTES as u64;
    let first = (grain - offset % grain) as usize;
    let (head, rest) = bytes.split_at(first.min(bytes.len()));
    let zero = is_zero(head);
    let same = rest.chunks(GRAIN_BYTES).take_while(|piece| is_zero(piece) == zero);
    (head.len() + same.map(<[u8]>::len).sum::<usize>(), zero)
}
