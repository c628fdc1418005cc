//! The stream of `rbd export --export-format 2`: a whole image with all its snapshots.
//!
//! An image header, then one diff of version 2 for each snapshot, oldest first, each from the one before, and at last
//! the head, which has no name. The diffs speak of the same things as version 1, so their events are the same.

mod decoder;
mod encoder;
mod header;
mod links;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Event, Limits};
pub use encoder::{DiffHeader, END, ImageHeader, Protection, RECORD_BYTES, data, zero};
