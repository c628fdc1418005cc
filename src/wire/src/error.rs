//! Why a stream is refused: where, and what was expected there.
//!
//! One type for all formats, so that whoever receives a stream reports every fault in the same way.

/// A fault in a stream, at a byte of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the stream: {fault}")]
pub struct Error {
    /// Where the field at fault begins, in bytes from the start of the stream; of a truncated stream its length.
    pub offset: u64,
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the stream ends here, expected {expected} (at least {missing} more bytes)")]
    Truncated { expected: &'static str, missing: u64 },
    #[error("expected the end of the stream, found more bytes")]
    Trailing,
    #[error("expected the banner {expected:?}")]
    Banner { expected: &'static str },
    #[error("unknown record tag 0x{found:02x}, expected one of {expected}")]
    Tag { found: u8, expected: &'static str },
    #[error("record '{tag}' comes a second time, expected it once at most")]
    Repeated { tag: char },
    #[error("record '{tag}' comes after an extent, expected it before the first one")]
    Late { tag: char },
    #[error("record '{tag}' comes before the image size, expected record 's' first")]
    SizeMissing { tag: char },
    #[error("record '{tag}' declares {found} bytes, expected {expected}")]
    RecordLength { tag: char, found: u64, expected: u64 },
    #[error("{what} has {found} bytes, expected at most {limit}")]
    TooLong { what: &'static str, found: u64, limit: u64 },
    #[error("{what} is empty, expected at least one byte")]
    Empty { what: &'static str },
    #[error("{what} is not UTF-8 without NUL bytes")]
    NotText { what: &'static str },
    #[error("the protection status is 0x{found:02x}, expected 0x00 or 0x01")]
    Protection { found: u8 },
    #[error("the padding of the protection status is not zero")]
    Padding,
    #[error("the extent at {offset} with {length} bytes ends beyond 64 bits, expected an end inside the image")]
    Overflow { offset: u64, length: u64 },
    #[error("the extent at {offset} with {length} bytes ends beyond the image, expected an end up to {size}")]
    Beyond { offset: u64, length: u64, size: u64 },
    #[error(
        "the extent at {offset} goes back, expected extents in ascending order without overlap, from {expected} on"
    )]
    Order { offset: u64, expected: u64 },
    #[error("the stream has {found} diffs, expected 1 to {limit}")]
    DiffCount { found: u64, limit: u64 },
    #[error("the diff starts from {}, expected {}", snapshot(.found), snapshot(.expected))]
    Base { found: Option<String>, expected: Option<String> },
    #[error("the diff names no snapshot, expected record 't' in all but the last one")]
    Unnamed,
    #[error("the last diff names a snapshot ({found:?}), expected the head without record 't'")]
    NamedHead { found: String },
}

impl Fault {
    pub(crate) fn at(self, offset: u64) -> Error {
        Error { offset, fault: self }
    }
}

fn snapshot(name: &Option<String>) -> String {
    name.as_ref().map_or_else(|| "nothing".to_owned(), |name| format!("snapshot {name:?}"))
}
