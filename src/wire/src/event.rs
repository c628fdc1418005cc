//! What one snapshot's stream says, in the order in which it says it.

/// One step of a snapshot's stream. Data seen before a later error is worth nothing: only [`Event::End`] followed by a
/// successful `finish` makes a stream complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'i> {
    /// The source's name of the snapshot that this one is a change of. At most once, before the first extent.
    From(String),
    /// The source's name of this snapshot. At most once, before the first extent.
    To(String),
    /// Whether the source protects this snapshot against deletion. Only in a chain stream, before the first extent.
    Protected(bool),
    /// Size of the image in bytes. Exactly once, before the first extent.
    Size(u64),
    /// Bytes at `offset` of the image; a part of a record, never empty.
    Data { offset: u64, bytes: &'i [u8] },
    /// `length` zeroes at `offset` of the image, at least one.
    Zero { offset: u64, length: u64 },
    /// The end marker.
    End,
}
