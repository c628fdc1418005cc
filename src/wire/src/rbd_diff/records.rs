//! One diff from its banner to its end marker, in both framings.
//!
//! Version 2 puts the payload's length in front of each payload and says the same otherwise, so one machine reads both:
//!
//! ```text
//! Banner → Tag ─┬→ Length ─┬→ NameLength → Name ──────────────→ Tag    f t
//!          ↑    │ (v2 only)├→ Size ───────────────────────────→ Tag    s
//!          │    └──────────├→ Protection → Padding → PaddingRest → Tag  p (v2 only)
//!          │               ├→ Extent ─→ Data ─────────────────→ Tag    w
//!          │               └→ Extent ─────────────────────────→ Tag    z
//!          └→ Done                                                     e
//! ```

use crate::cursor::{Cursor, bounded, text};
use crate::error::{Error, Fault};
use crate::event::Event;
use crate::layout::{Layout, NAME_BYTES, Tag};

pub(crate) const BANNER_V1: &str = "rbd diff v1\n";
pub(crate) const BANNER_V2: &str = "rbd diff v2\n";
const NAME: &str = "the snapshot name";
/// What 16.2 declares for a protection status of one byte.
const PROTECTION_DECLARED: u64 = 8;

/// What stands between a tag and its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Version 1: nothing.
    Bare,
    /// Version 2: the payload's length, 64 bits.
    Lengths,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Banner,
    Tag,
    Length(Tag),
    NameLength(Tag),
    Name(Tag, usize),
    Size,
    Protection,
    Padding,
    PaddingRest,
    Extent(Tag),
    Data { offset: u64, left: u64 },
    Done,
}

enum Step<'i> {
    Event(Event<'i>),
    Again,
    Wait,
}

/// The machine. The cursor is the caller's: offsets go on over many diffs.
#[derive(Debug)]
pub(crate) struct Records {
    framing: Framing,
    state: State,
    layout: Layout,
    /// Offset of the tag of the current record.
    tag_offset: u64,
    /// Length of the current record's payload, where the framing declares it.
    declared: Option<u64>,
}

impl Records {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, state: State::Banner, layout: Layout::default(), tag_offset: 0, declared: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Offset of the tag of the record that gave the last event.
    pub(crate) fn tag_offset(&self) -> u64 {
        self.tag_offset
    }

    pub(crate) fn finish(&self, cursor: &Cursor) -> Result<(), Error> {
        let (expected, wanted) = match self.state {
            State::Banner => ("the banner", BANNER_V1.len() as u64),
            State::Tag | State::Padding => ("a record tag", 1),
            State::Length(_) => ("the length of a record", 8),
            State::NameLength(_) => ("the length of a name", 4),
            State::Name(_, length) => (NAME, length as u64),
            State::Size => ("the image size", 8),
            State::Protection => ("the protection status", 1),
            State::PaddingRest => ("the padding of the protection status", PROTECTION_DECLARED - 1),
            State::Extent(_) => ("offset and length of an extent", 16),
            State::Data { left, .. } => ("data", left),
            State::Done => return Ok(()),
        };
        Err(cursor.truncated(expected, wanted))
    }

    pub(crate) fn next<'i>(&mut self, cursor: &mut Cursor, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        loop {
            match self.step(cursor, input)? {
                Step::Event(event) => return Ok(Some(event)),
                Step::Wait => return Ok(None),
                Step::Again => {}
            }
        }
    }

    fn step<'i>(&mut self, cursor: &mut Cursor, input: &mut &'i [u8]) -> Result<Step<'i>, Error> {
        let step = match self.state {
            State::Banner => self.banner(cursor, input)?,
            State::Tag => self.tag(cursor, input)?,
            State::Length(tag) => self.length(tag, cursor, input)?,
            State::NameLength(tag) => self.name_length(tag, cursor, input)?,
            State::Name(tag, length) => self.name(tag, length, cursor, input)?,
            State::Size => self.size(cursor, input),
            State::Protection => self.protection(cursor, input)?,
            State::Padding => self.padding(input),
            State::PaddingRest => self.padding_rest(cursor, input)?,
            State::Extent(tag) => self.extent(tag, cursor, input)?,
            State::Data { offset, left } => self.data(offset, left, cursor, input),
            State::Done => None,
        };
        Ok(step.unwrap_or(Step::Wait))
    }

    fn banner<'i>(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Step<'i>>, Error> {
        let banner = cursor.banner::<{ BANNER_V1.len() }>(self.framing.banner(), input)?;
        Ok(banner.map(|()| self.go(State::Tag)))
    }

    fn tag<'i>(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Step<'i>>, Error> {
        let Some([byte]) = cursor.array(input) else { return Ok(None) };
        let tag = self.framing.tag(byte).map_err(|fault| cursor.fault(fault))?;
        self.layout.admit(tag).map_err(|fault| cursor.fault(fault))?;
        self.tag_offset = cursor.consumed() - 1;
        self.declared = None;
        Ok(Some(match (tag, self.framing) {
            (Tag::End, _) => {
                self.state = State::Done;
                Step::Event(Event::End)
            }
            (_, Framing::Bare) => self.go(first_field(tag)),
            (_, Framing::Lengths) => self.go(State::Length(tag)),
        }))
    }

    fn length<'i>(&mut self, tag: Tag, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Step<'i>>, Error> {
        let Some(found) = cursor.u64(input) else { return Ok(None) };
        let expected = match tag {
            Tag::Size => 8,
            Tag::Zero => 16,
            Tag::Protection if found == PROTECTION_DECLARED => found,
            Tag::Protection => 1,
            Tag::From | Tag::To | Tag::Write | Tag::End => found,
        };
        check_length(tag, found, expected).map_err(|fault| cursor.fault(fault))?;
        self.declared = Some(found);
        Ok(Some(self.go(first_field(tag))))
    }

    fn name_length<'i>(&mut self, tag: Tag, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Step<'i>>, Error> {
        let Some(found) = cursor.u32(input).map(u64::from) else { return Ok(None) };
        let length = bounded(NAME, found, NAME_BYTES).map_err(|fault| cursor.fault(fault))?;
        self.check_declared(tag, found + 4).map_err(|fault| cursor.fault(fault))?;
        Ok(Some(self.go(State::Name(tag, length))))
    }

    fn name<'i>(
        &mut self,
        tag: Tag,
        length: usize,
        cursor: &mut Cursor,
        input: &mut &[u8],
    ) -> Result<Option<Step<'i>>, Error> {
        let Some(bytes) = cursor.bytes(length, input) else { return Ok(None) };
        let name = text(NAME, bytes).map_err(|fault| cursor.fault(fault))?;
        self.state = State::Tag;
        Ok(Some(Step::Event(if tag == Tag::From { Event::From(name) } else { Event::To(name) })))
    }

    fn size<'i>(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Option<Step<'i>> {
        let size = cursor.u64(input)?;
        self.layout.set_size(size);
        self.state = State::Tag;
        Some(Step::Event(Event::Size(size)))
    }

    fn protection<'i>(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Step<'i>>, Error> {
        let Some([found]) = cursor.array(input) else { return Ok(None) };
        if found > 1 {
            return Err(cursor.fault(Fault::Protection { found }));
        }
        self.state = if self.declared == Some(1) { State::Tag } else { State::Padding };
        Ok(Some(Step::Event(Event::Protected(found == 1))))
    }

    /// Decides what a declared length of 8 meant: 16.2 writes one byte all the same, so a tag follows, and no tag is
    /// zero. A zero is the second byte of a status that really has eight.
    fn padding<'i>(&mut self, input: &[u8]) -> Option<Step<'i>> {
        let next = *input.first()?;
        Some(self.go(if next == 0 { State::PaddingRest } else { State::Tag }))
    }

    fn padding_rest<'i>(&mut self, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Step<'i>>, Error> {
        match cursor.array(input) {
            None => Ok(None),
            Some([0, 0, 0, 0, 0, 0, 0]) => Ok(Some(self.go(State::Tag))),
            Some(_) => Err(cursor.fault(Fault::Padding)),
        }
    }

    fn extent<'i>(&mut self, tag: Tag, cursor: &mut Cursor, input: &mut &[u8]) -> Result<Option<Step<'i>>, Error> {
        let Some(field) = cursor.array::<16>(input) else { return Ok(None) };
        let (offset, length) = halves(u128::from_le_bytes(field));
        self.layout.extent(offset, length).map_err(|fault| cursor.fault(fault))?;
        if tag == Tag::Write {
            self.check_declared(tag, length.saturating_add(16)).map_err(|fault| cursor.fault(fault))?;
        }
        Ok(Some(self.begin_extent(tag, offset, length)))
    }

    fn begin_extent<'i>(&mut self, tag: Tag, offset: u64, length: u64) -> Step<'i> {
        self.state = State::Tag;
        match (tag, length) {
            (_, 0) => Step::Again,
            (Tag::Write, left) => self.go(State::Data { offset, left }),
            (_, length) => Step::Event(Event::Zero { offset, length }),
        }
    }

    fn data<'i>(&mut self, offset: u64, left: u64, cursor: &mut Cursor, input: &mut &'i [u8]) -> Option<Step<'i>> {
        let bytes = cursor.payload(left, input)?;
        let length = bytes.len() as u64;
        self.state = match left - length {
            0 => State::Tag,
            left => State::Data { offset: offset + length, left },
        };
        Some(Step::Event(Event::Data { offset, bytes }))
    }

    fn go<'i>(&mut self, state: State) -> Step<'i> {
        self.state = state;
        Step::Again
    }

    /// Whether the declared length, where there is one, is that of the fields.
    fn check_declared(&self, tag: Tag, of_fields: u64) -> Result<(), Fault> {
        self.declared.map_or(Ok(()), |found| check_length(tag, found, of_fields))
    }
}

impl Framing {
    fn banner(self) -> &'static str {
        match self {
            Self::Bare => BANNER_V1,
            Self::Lengths => BANNER_V2,
        }
    }

    fn tag(self, found: u8) -> Result<Tag, Fault> {
        match (self, Tag::from_byte(found)) {
            (Self::Bare, None | Some(Tag::Protection)) => Err(Fault::Tag { found, expected: "f t s w z e" }),
            (Self::Lengths, None) => Err(Fault::Tag { found, expected: "f t p s w z e" }),
            (_, Some(tag)) => Ok(tag),
        }
    }
}

fn first_field(tag: Tag) -> State {
    match tag {
        Tag::From | Tag::To => State::NameLength(tag),
        Tag::Protection => State::Protection,
        Tag::Size => State::Size,
        Tag::Write | Tag::Zero => State::Extent(tag),
        Tag::End => State::Done,
    }
}

fn check_length(tag: Tag, found: u64, expected: u64) -> Result<(), Fault> {
    if found == expected { Ok(()) } else { Err(Fault::RecordLength { tag: tag.letter(), found, expected }) }
}

fn halves(both: u128) -> (u64, u64) {
    (both as u64, (both >> 64) as u64)
}
