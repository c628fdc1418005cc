//! Strings on their way to C and back.

use std::ffi::{CStr, CString, c_char};

use crate::error::{EINVAL, ERANGE, Error};

/// Longest list or string that is taken from the library, in bytes: image metadata can be large, but not endless.
const LIST_MAX: usize = 64 << 20;

/// `text` for C. A zero byte in it is refused.
pub(crate) fn to_c(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::new(format!("use {text:?} as a name, because of its zero byte"), EINVAL))
}

/// The bytes up to the first zero byte as text.
pub(crate) fn until_zero(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// Strings that each end with a zero byte, one after the other.
pub(crate) fn zero_separated(bytes: &[u8]) -> Vec<String> {
    let mut strings: Vec<String> =
        bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    strings.pop();
    strings
}

/// The string at `text`; empty for a null pointer.
///
/// # Safety
/// `text` is null or points to a string that ends with a zero byte and does not change meanwhile.
pub(crate) unsafe fn from_c(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Repeats a call that fills buffers, with the lengths that it asks for, until they suffice. The call answers
/// `-ERANGE` if they do not, and sets the lengths in both cases.
pub(crate) fn growing<const N: usize>(
    action: impl Fn() -> String,
    mut lengths: [usize; N],
    mut call: impl FnMut(&mut [Vec<u8>; N], &mut [usize; N]) -> i64,
) -> Result<[Vec<u8>; N], Error> {
    loop {
        let mut buffers = lengths.map(|length| vec![0; length]);
        let before = lengths;
        let answer = call(&mut buffers, &mut lengths);
        if answer >= 0 {
            for (buffer, length) in buffers.iter_mut().zip(lengths) {
                buffer.truncate(length);
            }
            return Ok(buffers);
        }
        let grown = lengths.iter().zip(before).any(|(now, before)| *now > before);
        if answer != -i64::from(ERANGE) || !grown || lengths.iter().any(|length| *length > LIST_MAX) {
            return Err(Error::new(action(), i32::try_from(answer).unwrap_or(ERANGE)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_strings_are_split() {
        assert_eq!(zero_separated(b"one\0two\0\0"), ["one", "two", ""]);
        assert!(zero_separated(b"").is_empty());
        assert_eq!(until_zero(b"abc\0def"), "abc");
        assert_eq!(until_zero(b"abc"), "abc");
    }

    #[test]
    fn a_zero_byte_in_a_name_is_refused() {
        assert_eq!(to_c("a\0b").unwrap_err().code(), EINVAL);
        assert!(to_c("a b").is_ok());
    }

    #[test]
    fn buffers_grow_as_asked_and_not_for_ever() {
        let mut calls = 0;
        let buffers = growing(
            || "list".to_owned(),
            [1],
            |buffers, lengths| {
                calls += 1;
                lengths[0] = 3;
                if buffers[0].len() < 3 { -i64::from(ERANGE) } else { 0 }
            },
        );
        assert_eq!((buffers.unwrap()[0].len(), calls), (3, 2));
        let stubborn = growing(|| "list".to_owned(), [1], |_, _| -i64::from(ERANGE));
        assert_eq!(stubborn.unwrap_err().code(), ERANGE);
        let endless = growing(
            || "list".to_owned(),
            [1],
            |_, lengths| {
                lengths[0] *= 1024;
                -i64::from(ERANGE)
            },
        );
        assert_eq!(endless.unwrap_err().code(), ERANGE);
    }
}
