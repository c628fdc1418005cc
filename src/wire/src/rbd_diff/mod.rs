//! The stream of `rbd export-diff`, version 1.
//!
//! Little endian, no padding, no length, no checksum: whether it is whole shows only in its end marker, and whether it
//! is right only in a digest from outside.

mod decoder;
mod encoder;
pub(crate) mod records;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::{BANNER, END, EncodeError, Header, RECORD_BYTES, data, zero};
pub(crate) use encoder::{check_name, text};
