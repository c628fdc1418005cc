//! Whether a guest writes what it was given, where it belongs.
//!
//! A guest passes on chunks by their handles and cannot make bytes of its own, so it is enough to compare the places:
//! each piece must be written once, in order, at its offset, as it is or, where it is nothing but zeroes, as zeroes. A
//! guest that leaves out, moves or clears anything is ended before anything of it is committed. Hashing the stream a
//! second time was refused: it would cost more than the plugin.

use std::collections::VecDeque;

use bytes::Bytes;

use super::account::Limit;
use super::host::Breach;
use crate::content::is_zero;

/// Pieces that a guest may keep between calls.
const PIECES: usize = 1024;

/// The pieces that a guest has been given and has not written yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    offset: u64,
    length: u64,
    /// The bytes; `None`: zeroes.
    bytes: Option<Bytes>,
}

impl Ledger {
    /// The guest was given a piece.
    pub(super) fn give(&mut self, offset: u64, length: u64, bytes: Option<Bytes>) -> Result<(), Breach> {
        if self.open.len() >= PIECES {
            return Err(Breach::of(Limit::Chunks, format!("it keeps more than {PIECES} pieces")));
        }
        if length > 0 {
            self.open.push_back(Open { offset, length, bytes });
        }
        Ok(())
    }

    /// The guest writes the bytes of a chunk at `offset`.
    pub(super) fn write(&mut self, offset: u64, bytes: &Bytes) -> Result<(), Breach> {
        if bytes.is_empty() {
            return Ok(());
        }
        let next = self.next(offset)?;
        let same = |given: &Bytes| given.as_ptr() == bytes.as_ptr() && given.len() == bytes.len();
        if !next.bytes.as_ref().is_some_and(same) {
            return Err(Breach::new(format!("it writes other bytes at {offset} than it was given there")));
        }
        self.open.pop_front();
        Ok(())
    }

    /// The guest writes zeroes; they may be those of several pieces, or of a part of one.
    pub(super) fn zero(&mut self, offset: u64, length: u64) -> Result<(), Breach> {
        let (mut offset, mut length) = (offset, length);
        while length > 0 {
            let next = self.next(offset)?;
            if next.bytes.as_ref().is_some_and(|bytes| !is_zero(bytes)) {
                return Err(Breach::new(format!("it writes zeroes at {offset}, where it was given data")));
            }
            // The rest of the piece is zeroes too.
            next.bytes = None;
            let part = length.min(next.length);
            (next.offset, next.length) = (next.offset + part, next.length - part);
            if next.length == 0 {
                self.open.pop_front();
            }
            (offset, length) = (offset + part, length - part);
        }
        Ok(())
    }

    /// The guest says that it has written all.
    pub(super) fn close(&self) -> Result<(), Breach> {
        match self.open.front() {
            None => Ok(()),
            Some(left) => Err(left_out(left)),
        }
    }

    /// The piece whose turn it is, which must begin at `offset`.
    fn next(&mut self, offset: u64) -> Result<&mut Open, Breach> {
        match self.open.front_mut() {
            Some(next) if next.offset == offset => Ok(next),
            Some(next) if next.offset < offset => Err(left_out(next)),
            _ => Err(Breach::new(format!("it writes at {offset}, where it was given nothing"))),
        }
    }
}

fn left_out(piece: &Open) -> Breach {
    Breach::new(format!("it leaves out {} bytes at {}", piece.length, piece.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(pieces: &[(u64, &Bytes)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (offset, bytes) in pieces {
            ledger.give(*offset, bytes.len() as u64, Some(Bytes::clone(bytes))).unwrap();
        }
        ledger
    }

    fn words(result: Result<(), Breach>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn pieces_are_written_in_their_order_and_place() {
        let (one, two) = (Bytes::from(vec![1; 10]), Bytes::from(vec![2; 10]));
        let mut good = ledger(&[(0, &one), (10, &two)]);
        assert_eq!(words(good.close()), "it leaves out 10 bytes at 0");
        good.write(0, &one).unwrap();
        good.write(10, &two.clone()).unwrap();
        good.close().unwrap();
        assert_eq!(words(good.write(20, &one)), "it writes at 20, where it was given nothing");
        let given = || ledger(&[(0, &one), (10, &two)]);
        assert_eq!(words(given().write(10, &two)), "it leaves out 10 bytes at 0");
        assert_eq!(words(given().write(0, &two)), "it writes other bytes at 0 than it was given there");
        assert_eq!(words(given().write(5, &one)), "it leaves out 10 bytes at 0");
        assert_eq!(words(given().write(0, &one.slice(..5))), "it writes other bytes at 0 than it was given there");
        assert_eq!(
            words(given().write(0, &Bytes::from(vec![1; 10]))),
            "it writes other bytes at 0 than it was given there"
        );
    }

    #[test]
    fn zeroes_may_be_joined_and_parted_but_not_invented() {
        let (data, hole) = (Bytes::from(vec![1; 10]), Bytes::from(vec![0; 10]));
        let mut good = ledger(&[(0, &hole), (10, &hole), (20, &data)]);
        good.zero(0, 15).unwrap();
        good.zero(15, 5).unwrap();
        good.write(20, &data).unwrap();
        good.close().unwrap();
        let mut bad = ledger(&[(0, &hole), (10, &data)]);
        assert_eq!(words(bad.zero(0, 20)), "it writes zeroes at 10, where it was given data");
        assert_eq!(words(ledger(&[(0, &hole)]).zero(0, 11)), "it writes at 10, where it was given nothing");
        assert_eq!(words(Ledger::default().zero(0, 1)), "it writes at 0, where it was given nothing");
        Ledger::default().zero(0, 0).unwrap();
    }

    #[test]
    fn what_was_cleared_in_part_cannot_be_written() {
        let hole = Bytes::from(vec![0; 10]);
        let mut parted = ledger(&[(0, &hole)]);
        parted.zero(0, 5).unwrap();
        assert_eq!(words(parted.write(5, &hole)), "it writes other bytes at 5 than it was given there");
    }

    #[test]
    fn pieces_cannot_be_hoarded() {
        let mut ledger = Ledger::default();
        let full = (0..).find_map(|number| ledger.give(number, 1, None).err()).unwrap();
        assert_eq!((full.to_string().as_str(), full.limit), ("it keeps more than 1024 pieces", Some(Limit::Chunks)));
    }
}
