//! One face for the formats that carry one snapshot.
//!
//! An enum and not a trait object: there are two, they are known here, and a match costs the payload path nothing.

use crate::error::Error;
use crate::event::Event;
use crate::{raw, rbd_diff};

/// Decodes one snapshot's stream.
#[derive(Debug)]
pub enum SnapshotDecoder {
    Raw(raw::Decoder),
    RbdDiff(rbd_diff::Decoder),
}

impl SnapshotDecoder {
    /// A raw image of `size` bytes.
    #[must_use]
    pub fn raw(size: u64) -> Self {
        Self::Raw(raw::Decoder::new(size))
    }

    /// An `rbd export-diff` stream, version 1.
    #[must_use]
    pub fn rbd_diff() -> Self {
        Self::RbdDiff(rbd_diff::Decoder::new())
    }

    /// The next event, taken from the front of `input`. `None`: all input is used up. Ask until `None`, also with an
    /// empty input when the body has ended: an event may need no byte. After an error it stays in error.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        match self {
            Self::Raw(decoder) => decoder.next(input),
            Self::RbdDiff(decoder) => decoder.next(input),
        }
    }

    /// Whether the stream is complete. Call it when the input has ended.
    pub fn finish(&self) -> Result<(), Error> {
        match self {
            Self::Raw(decoder) => decoder.finish(),
            Self::RbdDiff(decoder) => decoder.finish(),
        }
    }

    /// Bytes taken from the input so far.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        match self {
            Self::Raw(decoder) => decoder.consumed(),
            Self::RbdDiff(decoder) => decoder.consumed(),
        }
    }
}
