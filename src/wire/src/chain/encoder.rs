//! Encoder of the chain stream: what real exporters write, their quirk of the protection status included.

use super::header::{DIFFS_BANNER, IMAGE_BANNER, Tag as ImageTag};
use crate::layout::Tag;
use crate::rbd_diff::records::BANNER_V2;
use crate::rbd_diff::{EncodeError, check_name, text};

/// The last byte of every diff.
pub const END: &[u8] = b"e";
/// Length of what [`data`] and [`zero`] make.
pub const RECORD_BYTES: usize = 25;

/// What stands before the diffs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader<'a> {
    /// Size of an object, as the power of two.
    pub order: u64,
    pub features: u64,
    /// Bytes.
    pub stripe_unit: u64,
    /// Objects.
    pub stripe_count: u64,
    pub metadata: &'a [(&'a str, &'a [u8])],
    /// How many diffs follow, the head included.
    pub diffs: u64,
}

/// How a protection status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Declared as one byte, and one byte.
    Byte(bool),
    /// Declared as eight bytes, and one byte, as 16.2 does.
    Misdeclared(bool),
    /// Declared as eight bytes, and eight bytes.
    Padded(bool),
}

/// What stands before the extents of one diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffHeader<'a> {
    /// Name of the snapshot before; `None` for the oldest.
    pub from: Option<&'a str>,
    /// Name of this snapshot; `None` for the head.
    pub to: Option<&'a str>,
    pub protection: Option<Protection>,
    /// Size of the image in bytes.
    pub size: u64,
}

impl ImageHeader<'_> {
    /// All bytes up to the first diff.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = IMAGE_BANNER.as_bytes().to_vec();
        for (tag, number) in [
            (ImageTag::Order, self.order),
            (ImageTag::Features, self.features),
            (ImageTag::StripeUnit, self.stripe_unit),
            (ImageTag::StripeCount, self.stripe_count),
        ] {
            begin(&mut bytes, tag.letter(), 8);
            bytes.extend(number.to_le_bytes());
        }
        for (key, value) in self.metadata {
            metadata(&mut bytes, key, value)?;
        }
        bytes.push(ImageTag::End.letter() as u8);
        bytes.extend(DIFFS_BANNER.as_bytes());
        bytes.extend(self.diffs.to_le_bytes());
        Ok(bytes)
    }
}

impl DiffHeader<'_> {
    /// Banner and header records.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = BANNER_V2.as_bytes().to_vec();
        for (tag, name) in [(Tag::From, self.from), (Tag::To, self.to)] {
            if let Some(name) = name {
                let length = check_name(name)?;
                begin(&mut bytes, tag.letter(), u64::from(length) + 4);
                bytes.extend(text(length, name));
            }
        }
        if let Some(protection) = self.protection {
            protection.encode(&mut bytes);
        }
        begin(&mut bytes, Tag::Size.letter(), 8);
        bytes.extend(self.size.to_le_bytes());
        Ok(bytes)
    }
}

impl Protection {
    fn encode(self, bytes: &mut Vec<u8>) {
        let (declared, length, status) = match self {
            Self::Byte(status) => (1, 1, status),
            Self::Misdeclared(status) => (8, 1, status),
            Self::Padded(status) => (8, 8, status),
        };
        begin(bytes, Tag::Protection.letter(), declared);
        bytes.extend(u64::from(status).to_le_bytes().into_iter().take(length));
    }
}

/// The start of a data record: exactly `length` bytes must follow.
#[must_use]
pub fn data(offset: u64, length: u64) -> [u8; RECORD_BYTES] {
    record(Tag::Write, length.saturating_add(16), offset, length)
}

/// A whole zero record.
#[must_use]
pub fn zero(offset: u64, length: u64) -> [u8; RECORD_BYTES] {
    record(Tag::Zero, 16, offset, length)
}

fn record(tag: Tag, declared: u64, offset: u64, length: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [tag.letter() as u8; RECORD_BYTES];
    let fields = [declared, offset, length].into_iter().flat_map(u64::to_le_bytes);
    bytes.iter_mut().skip(1).zip(fields).for_each(|(byte, field)| *byte = field);
    bytes
}

fn metadata(bytes: &mut Vec<u8>, key: &str, value: &[u8]) -> Result<(), EncodeError> {
    let too_long = |_| EncodeError::Metadata { key: key.to_owned() };
    let key_length = u32::try_from(key.len()).map_err(too_long)?;
    let value_length = u32::try_from(value.len()).map_err(too_long)?;
    begin(bytes, ImageTag::Metadata.letter(), u64::from(key_length) + u64::from(value_length) + 8);
    bytes.extend(text(key_length, key));
    bytes.extend(value_length.to_le_bytes());
    bytes.extend(value);
    Ok(())
}

fn begin(bytes: &mut Vec<u8>, tag: char, declared: u64) {
    bytes.push(tag as u8);
    bytes.extend(declared.to_le_bytes());
}
