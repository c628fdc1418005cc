//! The part before the diffs: properties and metadata of the image, and how many diffs follow.
//!
//! A record that is not known is a fault, where `rbd import` skips it: a property that we do not know may say that the
//! data means something else.

use super::decoder::{Event, Limits};
use crate::cursor::{Cursor, bounded, text};
use crate::error::{Error, Fault};

pub(super) const IMAGE_BANNER: &str = "rbd image v2\n";
pub(super) const DIFFS_BANNER: &str = "rbd image diffs v2\n";
const KEY: &str = "the metadata key";
const VALUE: &str = "the metadata value";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Order,
    Features,
    StripeUnit,
    StripeCount,
    Metadata,
    End,
}

impl Tag {
    pub(super) fn letter(self) -> char {
        match self {
            Self::Order => 'O',
            Self::Features => 'T',
            Self::StripeUnit => 'U',
            Self::StripeCount => 'C',
            Self::Metadata => 'M',
            Self::End => 'E',
        }
    }

    fn from_byte(found: u8) -> Result<Self, Fault> {
        [Self::Order, Self::Features, Self::StripeUnit, Self::StripeCount, Self::Metadata, Self::End]
            .into_iter()
            .find(|tag| tag.letter() == char::from(found))
            .ok_or(Fault::Tag { found, expected: "O T U C M E" })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Banner,
    Tag,
    Length(Tag),
    Number(Tag),
    KeyLength { declared: u64 },
    Key { length: usize, declared: u64 },
    ValueLength { expected: u64 },
    Value { length: usize },
    DiffsBanner,
    Count,
    Done,
}

/// The machine of the part before the diffs.
#[derive(Debug)]
pub(super) struct Header {
    state: State,
    limits: Limits,
    seen: u8,
    key: String,
}

impl Header {
    pub(super) fn new(limits: Limits) -> Self {
        Self { state: State::Banner, limits, seen: 0, key: String::new() }
    }

    /// The error for an input that ends here. The header is never the end of a stream.
    pub(super) fn truncated(&self, cursor: &Cursor) -> Error {
        let (expected, wanted) = match self.state {
            State::Banner => ("the banner of the image", IMAGE_BANNER.len() as u64),
            State::Tag => ("a record tag", 1),
            State::Length(_) => ("the length of a record", 8),
            State::Number(_) => ("a property of the image", 8),
            State::KeyLength { .. } => ("the length of a metadata key", 4),
            State::Key { length, .. } => (KEY, length as u64),
            State::ValueLength { .. } => ("the length of a metadata value", 4),
            State::Value { length } => (VALUE, length as u64),
            State::DiffsBanner | State::Done => ("the banner of the diffs", DIFFS_BANNER.len() as u64),
            State::Count => ("the number of diffs", 8),
        };
        cursor.truncated(expected, wanted)
    }

    /// The next event; the last one is [`Event::Diffs`].
    pub(super) fn next(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Event<'static>>, Error> {
        loop {
            let before = self.state;
            let event = self.step(cursor, input)?;
            if event.is_some() || self.state == before {
                return Ok(event);
            }
        }
    }

    fn step(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Event<'static>>, Error> {
        match self.state {
            State::Banner => self.banner(cursor, input)?,
            State::Tag => self.tag(cursor, input)?,
            State::Length(tag) => self.length(tag, cursor, input)?,
            State::Number(tag) => return Ok(self.number(tag, cursor, input)),
            State::KeyLength { declared } => self.key_length(declared, cursor, input)?,
            State::Key { length, declared } => self.key(length, declared, cursor, input)?,
            State::ValueLength { expected } => self.value_length(expected, cursor, input)?,
            State::Value { length } => return Ok(self.value(length, cursor, input)),
            State::DiffsBanner => self.diffs_banner(cursor, input)?,
            State::Count => return self.count(cursor, input),
            State::Done => {}
        }
        Ok(None)
    }

    fn banner(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<(), Error> {
        if cursor.banner::<{ IMAGE_BANNER.len() }>(IMAGE_BANNER, input)?.is_some() {
            self.state = State::Tag;
        }
        Ok(())
    }

    fn diffs_banner(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<(), Error> {
        if cursor.banner::<{ DIFFS_BANNER.len() }>(DIFFS_BANNER, input)?.is_some() {
            self.state = State::Count;
        }
        Ok(())
    }

    fn tag(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<(), Error> {
        let Some([found]) = cursor.array(input) else { return Ok(()) };
        let tag = Tag::from_byte(found).map_err(|fault| cursor.fault(fault))?;
        self.once(tag).map_err(|fault| cursor.fault(fault))?;
        self.state = if tag == Tag::End { State::DiffsBanner } else { State::Length(tag) };
        Ok(())
    }

    fn once(&mut self, tag: Tag) -> Result<(), Fault> {
        let bit = 1 << tag as u8;
        if self.seen & bit != 0 && tag != Tag::Metadata {
            return Err(Fault::Repeated { tag: tag.letter() });
        }
        self.seen |= bit;
        Ok(())
    }

    fn length(&mut self, tag: Tag, cursor: &mut Cursor, input: &mut &[u8]) -> Result<(), Error> {
        let Some(found) = cursor.u64(input) else { return Ok(()) };
        self.state = match (tag, found) {
            (Tag::Metadata, declared) => State::KeyLength { declared },
            (_, 8) => State::Number(tag),
            _ => return Err(cursor.fault(Fault::RecordLength { tag: tag.letter(), found, expected: 8 })),
        };
        Ok(())
    }

    fn number(&mut self, tag: Tag, cursor: &mut Cursor, input: &mut &[u8]) -> Option<Event<'static>> {
        let number = cursor.u64(input)?;
        self.state = State::Tag;
        match tag {
            Tag::Order => Some(Event::Order(number)),
            Tag::Features => Some(Event::Features(number)),
            Tag::StripeUnit => Some(Event::StripeUnit(number)),
            Tag::StripeCount => Some(Event::StripeCount(number)),
            Tag::Metadata | Tag::End => None,
        }
    }

    fn key_length(&mut self, declared: u64, cursor: &mut Cursor, input: &mut &[u8]) -> Result<(), Error> {
        let Some(found) = cursor.u32(input) else { return Ok(()) };
        let length = bounded(KEY, found.into(), self.limits.metadata_bytes).map_err(|fault| cursor.fault(fault))?;
        self.state = State::Key { length, declared };
        Ok(())
    }

    fn key(&mut self, length: usize, declared: u64, cursor: &mut Cursor, input: &mut &[u8]) -> Result<(), Error> {
        let Some(bytes) = cursor.bytes(length, input) else { return Ok(()) };
        self.key = text(KEY, bytes).map_err(|fault| cursor.fault(fault))?;
        let before_value = 8 + length as u64;
        let expected = declared.checked_sub(before_value).ok_or_else(|| {
            let tag = Tag::Metadata.letter();
            cursor.fault(Fault::RecordLength { tag, found: declared, expected: before_value })
        })?;
        self.state = State::ValueLength { expected };
        Ok(())
    }

    fn value_length(&mut self, expected: u64, cursor: &mut Cursor, input: &mut &[u8]) -> Result<(), Error> {
        let Some(found) = cursor.u32(input).map(u64::from) else { return Ok(()) };
        let limit = self.limits.metadata_bytes;
        self.state = match usize::try_from(found) {
            _ if found != expected => {
                let tag = Tag::Metadata.letter();
                return Err(cursor.fault(Fault::RecordLength { tag, found: expected, expected: found }));
            }
            Ok(length) if found <= limit => State::Value { length },
            _ => return Err(cursor.fault(Fault::TooLong { what: VALUE, found, limit })),
        };
        Ok(())
    }

    fn value(&mut self, length: usize, cursor: &mut Cursor, input: &mut &[u8]) -> Option<Event<'static>> {
        let value = cursor.bytes(length, input)?;
        self.state = State::Tag;
        Some(Event::Metadata { key: std::mem::take(&mut self.key), value })
    }

    fn count(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Event<'static>>, Error> {
        let Some(found) = cursor.u64(input) else { return Ok(None) };
        let limit = self.limits.diffs;
        if !(1..=limit).contains(&found) {
            return Err(cursor.fault(Fault::DiffCount { found, limit }));
        }
        self.state = State::Done;
        Ok(Some(Event::Diffs(found)))
    }
}
