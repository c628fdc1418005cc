//! Decoder of the chain stream.

use super::header::Header;
use super::links::Links;
use crate::cursor::Cursor;
use crate::error::{Error, Fault};
use crate::event::Event as DiffEvent;
use crate::rbd_diff::records::{Framing, Records};

/// How much of a chain we are ready to hold or to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most diffs, the head included.
    pub diffs: u64,
    /// Longest key and longest value of the image's metadata, in bytes, each. One of each is held at a time.
    pub metadata_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { diffs: 65_536, metadata_bytes: 64 * 1024 }
    }
}

/// One step of a chain stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'i> {
    /// Size of an object, as the power of two.
    Order(u64),
    /// Feature bits of the image.
    Features(u64),
    /// Bytes.
    StripeUnit(u64),
    /// Objects.
    StripeCount(u64),
    /// Metadata of the image. Keys that begin with `conf_` configure librbd: never hand them on.
    Metadata { key: String, value: Vec<u8> },
    /// How many diffs follow: the snapshots, oldest first, and the head.
    Diffs(u64),
    /// An event of the diff at hand; [`DiffEvent::End`] ends it.
    Diff(DiffEvent<'i>),
    /// The last diff has ended.
    End,
}

/// Decodes an `rbd export --export-format 2` stream.
#[derive(Debug)]
pub struct Decoder {
    cursor: Cursor,
    phase: Phase,
    failed: Option<Error>,
}

#[derive(Debug)]
enum Phase {
    Header(Header),
    Diff(Records, Links),
    End,
    Done,
}

impl Decoder {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { cursor: Cursor::default(), phase: Phase::Header(Header::new(limits)), failed: None }
    }

    /// The next event, taken from the front of `input`; `None` when more input is needed or the end was reached. After
    /// an error it repeats the error.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.advance(input).inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Whether the last diff has ended. Call it when the input has ended.
    pub fn finish(&self) -> Result<(), Error> {
        match (&self.failed, &self.phase) {
            (Some(error), _) => Err(error.clone()),
            (None, Phase::Header(header)) => Err(header.truncated(&self.cursor)),
            (None, Phase::Diff(records, _)) => records.finish(&self.cursor),
            (None, Phase::End | Phase::Done) => Ok(()),
        }
    }

    /// Bytes taken from the input so far.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.cursor.consumed()
    }

    fn advance<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        match &mut self.phase {
            Phase::Header(header) => {
                let event = header.next(&mut self.cursor, input)?;
                self.after_header(&event);
                Ok(event)
            }
            Phase::Diff(..) => self.diff(input),
            Phase::End => Ok(Some(self.end())),
            Phase::Done if input.is_empty() => Ok(None),
            Phase::Done => Err(self.cursor.fault_ahead(Fault::Trailing)),
        }
    }

    fn after_header(&mut self, event: &Option<Event<'_>>) {
        if let Some(Event::Diffs(count)) = event {
            self.phase = Phase::Diff(Records::new(Framing::Lengths), Links::new(*count));
        }
    }

    fn diff<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        let Phase::Diff(records, links) = &mut self.phase else { return Ok(None) };
        let Some(event) = records.next(&mut self.cursor, input)? else { return Ok(None) };
        links.take(&event).map_err(|fault| fault.at(records.tag_offset()))?;
        if event == DiffEvent::End {
            *records = Records::new(Framing::Lengths);
            if links.left() == 0 {
                self.phase = Phase::End;
            }
        }
        Ok(Some(Event::Diff(event)))
    }

    fn end(&mut self) -> Event<'static> {
        self.phase = Phase::Done;
        Event::End
    }
}
