//! Encoder of version 1: headers of records only, so that payload goes out from where it lies.
//!
//! It holds no state: who sends knows the order of its extents already, and the decoder is there to check it in tests.

use super::records::BANNER_V1;
use crate::layout::{NAME_BYTES, Tag};

/// The first bytes of every stream.
pub const BANNER: &[u8] = BANNER_V1.as_bytes();
/// The last byte of every stream.
pub const END: &[u8] = b"e";
/// Length of what [`data`] and [`zero`] make.
pub const RECORD_BYTES: usize = 17;

/// What stands before the extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Name of the snapshot that this one is a change of; `None`: of zeroes.
    pub from: Option<&'a str>,
    /// Name of this snapshot.
    pub to: Option<&'a str>,
    /// Size of the image in bytes.
    pub size: u64,
}

/// What cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a snapshot name has {found} bytes, expected 1 to {NAME_BYTES} without NUL")]
    Name { found: usize },
    #[error("the metadata of key {key:?} has more bytes than the format can say, expected less than 4 GiB")]
    Metadata { key: String },
}

impl Header<'_> {
    /// Banner and header records.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = BANNER.to_vec();
        for (tag, name) in [(Tag::From, self.from), (Tag::To, self.to)] {
            if let Some(name) = name {
                bytes.push(tag.letter() as u8);
                bytes.extend(text(check_name(name)?, name));
            }
        }
        bytes.push(Tag::Size.letter() as u8);
        bytes.extend(self.size.to_le_bytes());
        Ok(bytes)
    }
}

/// The start of a data record: exactly `length` bytes must follow.
#[must_use]
pub fn data(offset: u64, length: u64) -> [u8; RECORD_BYTES] {
    record(Tag::Write, offset, length)
}

/// A whole zero record.
#[must_use]
pub fn zero(offset: u64, length: u64) -> [u8; RECORD_BYTES] {
    record(Tag::Zero, offset, length)
}

fn record(tag: Tag, offset: u64, length: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [tag.letter() as u8; RECORD_BYTES];
    let fields = offset.to_le_bytes().into_iter().chain(length.to_le_bytes());
    bytes.iter_mut().skip(1).zip(fields).for_each(|(byte, field)| *byte = field);
    bytes
}

/// The length of a name that a decoder takes.
pub(crate) fn check_name(name: &str) -> Result<u32, EncodeError> {
    let found = name.len();
    match u32::try_from(found) {
        Ok(length) if (1..=NAME_BYTES).contains(&length.into()) && !name.contains('\0') => Ok(length),
        _ => Err(EncodeError::Name { found }),
    }
}

/// Length and bytes of a text.
pub(crate) fn text(length: u32, text: &str) -> impl Iterator<Item = u8> {
    length.to_le_bytes().into_iter().chain(text.bytes())
}
