//! What the fuzz targets of the stream formats share: an input with a start that is already right, the same input whole
//! and in pieces, and the invariants of events.
//!
//! libFuzzer does not guess a banner of twelve bytes in a bounded number of runs: the first byte of its input chooses
//! how much of a good stream stands before the rest. The second one is the size of the pieces.

use rsnap_wire::{Error, Event};

/// How a stream ended: what was said before, and whether it was refused.
pub type Outcome = (Vec<Item>, Result<(), Error>);

/// An event without borrowed data; parts of one record are put together.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Data(u64, Vec<u8>),
    Other(String),
}

/// Splits libFuzzer's bytes into a stream and the size of its pieces; `None` if they are too few.
#[must_use]
pub fn input(bytes: &[u8], starts: &[&[u8]]) -> Option<(Vec<u8>, usize)> {
    let [start, piece, rest @ ..] = bytes else { return None };
    let start = starts.get(usize::from(*start) % starts.len())?;
    Some(([start, rest].concat(), usize::from(*piece) + 1))
}

/// Adds an event of one diff.
pub fn push(items: &mut Vec<Item>, event: &Event<'_>) {
    match (event, items.last_mut()) {
        (Event::Data { offset, bytes }, Some(Item::Data(start, data))) if *start + data.len() as u64 == *offset => {
            data.extend(*bytes);
        }
        (Event::Data { offset, bytes }, _) => items.push(Item::Data(*offset, bytes.to_vec())),
        (other, _) => items.push(Item::Other(format!("{other:?}"))),
    }
}

/// Extents of one diff ascend and stay inside the size that it gave.
#[derive(Debug, Default)]
pub struct Bounds {
    size: Option<u64>,
    end: u64,
}

impl Bounds {
    /// # Panics
    /// When the event breaks an invariant.
    pub fn check(&mut self, event: &Event<'_>) {
        match event {
            Event::Size(size) => assert_eq!(self.size.replace(*size), None, "two sizes"),
            Event::Data { offset, bytes } => self.extent(*offset, bytes.len() as u64),
            Event::Zero { offset, length } => self.extent(*offset, *length),
            Event::End => assert!(self.size.is_some(), "an end without a size"),
            Event::From(name) | Event::To(name) => assert!((1..=4096).contains(&name.len()), "a name out of bounds"),
            Event::Protected(_) => {}
        }
    }

    fn extent(&mut self, offset: u64, length: u64) {
        assert!(length > 0, "an empty extent");
        assert!(offset >= self.end, "extents that go back");
        self.end = offset.checked_add(length).expect("an extent beyond 64 bits");
        assert!(self.end <= self.size.expect("an extent without a size"), "an extent beyond the image");
    }
}

/// An error is inside what was consumed, and nothing is consumed that was not there.
///
/// # Panics
/// When it is not so.
pub fn check_error(error: &Error, consumed: u64, length: usize) {
    assert!(error.offset <= consumed && consumed <= length as u64, "an error outside the stream: {error}");
    assert!(!error.to_string().is_empty());
}
