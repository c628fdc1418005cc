//! Fields out of an input that is cut anywhere.
//!
//! A field is copied, a payload is lent. The copy costs some tens of bytes for each record and saves every decoder the
//! two cases "whole in this input" and "begun in an earlier one".

use crate::error::{Error, Fault};

/// Where we are in a stream, and the unfinished field.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    consumed: u64,
    held: Vec<u8>,
    field: u64,
}

impl Cursor {
    /// Bytes taken from the input so far.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// An error at the field that was taken last.
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        fault.at(self.field)
    }

    /// An error at the next byte.
    pub(crate) fn fault_ahead(&self, fault: Fault) -> Error {
        fault.at(self.consumed)
    }

    /// The error for an input that ends inside or before a field of `wanted` bytes.
    pub(crate) fn truncated(&self, expected: &'static str, wanted: u64) -> Error {
        let missing = wanted.saturating_sub(self.held.len() as u64);
        self.fault_ahead(Fault::Truncated { expected, missing })
    }

    /// Takes a field of `N` bytes, once all of it is there.
    pub(crate) fn array<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        if !self.fill(N, input) {
            return None;
        }
        let array = self.held.as_slice().try_into().ok();
        self.held.clear();
        array
    }

    pub(crate) fn u32(&mut self, input: &mut &[u8]) -> Option<u32> {
        self.array(input).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, input: &mut &[u8]) -> Option<u64> {
        self.array(input).map(u64::from_le_bytes)
    }

    /// Takes a field of `wanted` bytes, once all of it is there. Memory follows what came, not what is wanted.
    pub(crate) fn bytes(&mut self, wanted: usize, input: &mut &[u8]) -> Option<Vec<u8>> {
        self.fill(wanted, input).then(|| std::mem::take(&mut self.held))
    }

    /// Takes `N` bytes that must be the banner.
    pub(crate) fn banner<const N: usize>(
        &mut self,
        expected: &'static str,
        input: &mut &[u8],
    ) -> Result<Option<()>, Error> {
        match self.array::<N>(input) {
            None => Ok(None),
            Some(found) if found == expected.as_bytes() => Ok(Some(())),
            Some(_) => Err(self.fault(Fault::Banner { expected })),
        }
    }

    /// Lends what is there of a payload that has `left` more bytes; `None` when nothing is there.
    pub(crate) fn payload<'i>(&mut self, left: u64, input: &mut &'i [u8]) -> Option<&'i [u8]> {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (part, rest) = input.split_at_checked(length)?;
        *input = rest;
        self.consumed += part.len() as u64;
        (!part.is_empty()).then_some(part)
    }

    fn fill(&mut self, wanted: usize, input: &mut &[u8]) -> bool {
        if self.held.is_empty() {
            self.field = self.consumed;
        }
        let missing = wanted.saturating_sub(self.held.len());
        let part = self.payload(missing as u64, input).unwrap_or_default();
        self.held.extend_from_slice(part);
        self.held.len() >= wanted
    }
}

/// Text of a name: UTF-8, and no NUL, at which every C program would cut it.
pub(crate) fn text(what: &'static str, bytes: Vec<u8>) -> Result<String, Fault> {
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(Fault::NotText { what }),
    }
}

/// The length of something that must not be empty and is held in memory.
pub(crate) fn bounded(what: &'static str, found: u64, limit: u64) -> Result<usize, Fault> {
    match usize::try_from(found) {
        Ok(0) => Err(Fault::Empty { what }),
        Ok(length) if found <= limit => Ok(length),
        _ => Err(Fault::TooLong { what, found, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_whole_however_it_was_cut() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.u32(&mut [1, 2].as_slice()), None);
        assert_eq!(cursor.u32(&mut [].as_slice()), None);
        let mut input = [3, 4, 5].as_slice();
        assert_eq!(cursor.u32(&mut input), Some(0x0403_0201));
        assert_eq!(input, [5]);
        assert_eq!(cursor.consumed(), 4);
    }

    #[test]
    fn a_fault_is_where_its_field_began() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.u32(&mut [0; 7].as_slice()), Some(0));
        assert_eq!(cursor.u32(&mut [0; 1].as_slice()), None);
        assert_eq!(cursor.u32(&mut [0; 3].as_slice()), Some(0));
        assert_eq!(cursor.fault(Fault::Trailing).offset, 4);
        assert_eq!(cursor.fault_ahead(Fault::Trailing).offset, 8);
    }

    #[test]
    fn memory_follows_what_came() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.bytes(usize::MAX, &mut [1; 10].as_slice()), None);
        assert!(cursor.held.capacity() < 100);
        assert_eq!(cursor.truncated("x", 12).fault, Fault::Truncated { expected: "x", missing: 2 });
    }

    #[test]
    fn a_name_has_a_bound_and_no_nul() {
        assert_eq!(bounded("n", 4096, 4096), Ok(4096));
        assert_eq!(bounded("n", 4097, 4096), Err(Fault::TooLong { what: "n", found: 4097, limit: 4096 }));
        assert_eq!(bounded("n", 0, 4096), Err(Fault::Empty { what: "n" }));
        assert_eq!(text("n", vec![0xff]), Err(Fault::NotText { what: "n" }));
        assert_eq!(text("n", b"a\0b".to_vec()), Err(Fault::NotText { what: "n" }));
        assert_eq!(text("n", "é".into()), Ok("é".to_owned()));
    }
}
