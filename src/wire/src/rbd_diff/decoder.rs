//! Decoder of version 1: banner, records, nothing after the end marker.

use super::records::{Framing, Records};
use crate::cursor::Cursor;
use crate::error::{Error, Fault};
use crate::event::Event;

/// Decodes an `rbd export-diff` stream.
#[derive(Debug)]
pub struct Decoder {
    cursor: Cursor,
    records: Records,
    failed: Option<Error>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    #[must_use]
    pub fn new() -> Self {
        Self { cursor: Cursor::default(), records: Records::new(Framing::Bare), failed: None }
    }

    /// The next event, taken from the front of `input`; `None` when more input is needed or the end was reached. After
    /// an error it repeats the error.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.advance(input).inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Whether the end marker was seen. Call it when the input has ended.
    pub fn finish(&self) -> Result<(), Error> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.records.finish(&self.cursor),
        }
    }

    /// Bytes taken from the input so far.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.cursor.consumed()
    }

    fn advance<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        if self.records.is_done() && !input.is_empty() {
            return Err(self.cursor.fault_ahead(Fault::Trailing));
        }
        self.records.next(&mut self.cursor, input)
    }
}
