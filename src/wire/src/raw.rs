//! The raw image: its bytes from first to last, nothing else.
//!
//! It carries neither size nor end marker, so both are the declared size: a stream is complete when exactly that many
//! bytes came. "As long as it lasts" was refused, it takes a cut connection for an end.

use crate::error::{Error, Fault};
use crate::event::Event;

/// Decodes a raw image of a declared size. Says [`Event::Size`], the data, [`Event::End`].
#[derive(Debug)]
pub struct Decoder {
    size: u64,
    received: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data,
    Done,
    Overrun,
}

impl Decoder {
    /// `size` is the size of the image in bytes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { size, received: 0, state: State::Size }
    }

    /// The next event, taken from the front of `input`; `None` when more input is needed or the end was
    /// reached. After an error it repeats the error.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        match self.state {
            State::Size => Ok(Some(self.size())),
            State::Data if self.received == self.size => Ok(Some(self.end())),
            State::Data => Ok(self.data(input)),
            State::Done if input.is_empty() => Ok(None),
            State::Done | State::Overrun => Err(self.overrun()),
        }
    }

    /// Whether all bytes came. Call it when the input has ended.
    pub fn finish(&self) -> Result<(), Error> {
        match self.size - self.received {
            _ if self.state == State::Overrun => Err(Fault::Trailing.at(self.received)),
            0 => Ok(()),
            missing => Err(Fault::Truncated { expected: "the rest of the image", missing }.at(self.received)),
        }
    }

    /// Bytes taken from the input so far.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.received
    }

    fn size(&mut self) -> Event<'static> {
        self.state = State::Data;
        Event::Size(self.size)
    }

    fn end(&mut self) -> Event<'static> {
        self.state = State::Done;
        Event::End
    }

    fn overrun(&mut self) -> Error {
        self.state = State::Overrun;
        Fault::Trailing.at(self.received)
    }

    fn data<'i>(&mut self, input: &mut &'i [u8]) -> Option<Event<'i>> {
        let left = usize::try_from(self.size - self.received).unwrap_or(usize::MAX);
        let (bytes, rest) = input.split_at_checked(left.min(input.len()))?;
        let offset = self.received;
        *input = rest;
        self.received += bytes.len() as u64;
        (!bytes.is_empty()).then_some(Event::Data { offset, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(decoder: &mut Decoder, mut input: &'static [u8]) -> Result<Vec<Event<'static>>, Error> {
        let mut events = Vec::new();
        while let Some(event) = decoder.next(&mut input)? {
            events.push(event);
        }
        Ok(events)
    }

    #[test]
    fn data_has_running_offsets() {
        let mut decoder = Decoder::new(5);
        let first = [Event::Size(5), Event::Data { offset: 0, bytes: b"ab" }];
        assert_eq!(events(&mut decoder, b"ab").unwrap(), first);
        assert_eq!(events(&mut decoder, b"").unwrap(), []);
        let second = [Event::Data { offset: 2, bytes: b"cde" }, Event::End];
        assert_eq!(events(&mut decoder, b"cde").unwrap(), second);
        assert_eq!(decoder.finish(), Ok(()));
        assert_eq!(decoder.consumed(), 5);
    }

    #[test]
    fn an_empty_image_ends_at_once() {
        let mut decoder = Decoder::new(0);
        assert_eq!(events(&mut decoder, b"").unwrap(), [Event::Size(0), Event::End]);
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn one_byte_less_is_truncated() {
        let mut decoder = Decoder::new(3);
        events(&mut decoder, b"ab").unwrap();
        let fault = Fault::Truncated { expected: "the rest of the image", missing: 1 };
        assert_eq!(decoder.finish(), Err(fault.at(2)));
    }

    #[test]
    fn one_byte_more_is_an_error_at_the_size() {
        assert_eq!(events(&mut Decoder::new(3), b"abcd"), Err(Fault::Trailing.at(3)));
        let mut decoder = Decoder::new(3);
        events(&mut decoder, b"abc").unwrap();
        assert_eq!(decoder.finish(), Ok(()));
        assert_eq!(events(&mut decoder, b"d"), Err(Fault::Trailing.at(3)));
        assert_eq!(decoder.finish(), Err(Fault::Trailing.at(3)));
    }
}
