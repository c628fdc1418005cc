//! The `Range` request field and the `Content-Range` response field for bytes, RFC 9110 section 14.
//!
//! One range is served, as the RFC allows; several are refused in words instead of being answered with the whole image,
//! which nobody who asks for parts of a terabyte wants by surprise.

use std::ops::Range;

/// Why a range cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("the Range field is malformed: expected bytes=FIRST-LAST, bytes=FIRST- or bytes=-LENGTH")]
    Malformed,
    #[error("{found} ranges are asked for, expected one: several are not supported, send a request for each")]
    Several { found: usize },
    #[error("the range has no byte in common with the {size} bytes that are there")]
    Unsatisfiable { size: u64 },
}

/// A range-spec of section 14.1.2; the numbers of a stranger, larger ones than 64 bits can say as the largest.
#[derive(Debug, Clone, Copy)]
enum Spec {
    Int { first: u64, last: u64 },
    Suffix(u64),
}

/// The bytes that a `Range` field selects of a representation of `size` bytes; never empty. `None`: the unit is not
/// bytes, and such a field must be ignored (section 14.2). Empty elements of the list are, too (section 5.6.1.2).
pub fn parse(value: &[u8], size: u64) -> Result<Option<Range<u64>>, RangeError> {
    let (unit, set) = split_at_byte(value, b'=').ok_or(RangeError::Malformed)?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return if is_token(unit) { Ok(None) } else { Err(RangeError::Malformed) };
    }
    let specs = elements(set).map(spec).collect::<Result<Vec<_>, _>>()?;
    match specs[..] {
        [] => Err(RangeError::Malformed),
        [spec] => select(spec, size).ok_or(RangeError::Unsatisfiable { size }).map(Some),
        _ => Err(RangeError::Several { found: specs.len() }),
    }
}

/// `Content-Range` of a part: `range` must not be empty and must be inside `size`.
#[must_use]
pub fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// `Content-Range` of a 416 answer.
#[must_use]
pub fn unsatisfied(size: u64) -> String {
    format!("bytes */{size}")
}

/// Section 14.1.2. A representation without bytes satisfies nothing: `Content-Range` has no word for an empty part.
fn select(spec: Spec, size: u64) -> Option<Range<u64>> {
    let range = match spec {
        Spec::Int { first, last } => first..size.min(last.saturating_add(1)),
        Spec::Suffix(length) => size.saturating_sub(length)..size,
    };
    (!range.is_empty()).then_some(range)
}

fn spec(bytes: &[u8]) -> Result<Spec, RangeError> {
    let (first, last) = split_at_byte(bytes, b'-').ok_or(RangeError::Malformed)?;
    match (first, last) {
        (b"", length) => number(length).map(Spec::Suffix),
        (first, b"") => number(first).map(|first| Spec::Int { first, last: u64::MAX }),
        (first, last) => int(number(first)?, number(last)?),
    }
}

/// An int-range whose last byte is before its first one is invalid.
fn int(first: u64, last: u64) -> Result<Spec, RangeError> {
    if first <= last { Ok(Spec::Int { first, last }) } else { Err(RangeError::Malformed) }
}

/// `1*DIGIT`.
fn number(digits: &[u8]) -> Result<u64, RangeError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(RangeError::Malformed);
    }
    let push = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Ok(digits.iter().fold(0, push))
}

/// The elements of a list without the empty ones: optional white space is around the commas only (section 5.6.1).
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let last = list.split(|byte| *byte == b',').count() - 1;
    list.split(|byte| *byte == b',')
        .enumerate()
        .map(move |(index, element)| trim_ows(element, index > 0, index < last))
        .filter(|element| !element.is_empty())
}

fn trim_ows(mut element: &[u8], start: bool, end: bool) -> &[u8] {
    while let (true, [b' ' | b'\t', rest @ ..]) = (start, element) {
        element = rest;
    }
    while let (true, [rest @ .., b' ' | b'\t']) = (end, element) {
        element = rest;
    }
    element
}

fn split_at_byte(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let (before, from) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == separator)?)?;
    Some((before, from.get(1..)?))
}

/// Section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_100(value: &str) -> Result<Option<Range<u64>>, RangeError> {
        parse(value.as_bytes(), 100)
    }

    #[test]
    fn one_range_is_selected() {
        for (value, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-99", 0..100),
            ("bytes=10-19", 10..20),
            ("bytes=10-", 10..100),
            ("bytes=-1", 99..100),
            ("bytes=-100", 0..100),
            ("bytes=007-008", 7..9),
            ("BYTES=1-2", 1..3),
        ] {
            assert_eq!(of_100(value), Ok(Some(range)), "{value}");
        }
    }

    #[test]
    fn what_is_beyond_the_end_is_left_out() {
        assert_eq!(of_100("bytes=90-100"), Ok(Some(90..100)));
        assert_eq!(of_100("bytes=90-99999999999999999999999999"), Ok(Some(90..100)));
        assert_eq!(of_100("bytes=-101"), Ok(Some(0..100)));
        assert_eq!(of_100("bytes=-99999999999999999999999999"), Ok(Some(0..100)));
        assert_eq!(parse(b"bytes=0-18446744073709551615", u64::MAX), Ok(Some(0..u64::MAX)));
    }

    #[test]
    fn nothing_in_common_is_unsatisfiable() {
        for value in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999999-"] {
            assert_eq!(of_100(value), Err(RangeError::Unsatisfiable { size: 100 }), "{value}");
        }
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(parse(value.as_bytes(), 0), Err(RangeError::Unsatisfiable { size: 0 }), "{value}");
        }
    }

    #[test]
    fn several_are_not_supported() {
        assert_eq!(of_100("bytes=0-1,2-3"), Err(RangeError::Several { found: 2 }));
        assert_eq!(of_100("bytes=0-1 , -5\t,,500-"), Err(RangeError::Several { found: 3 }));
    }

    #[test]
    fn empty_elements_are_ignored() {
        assert_eq!(of_100("bytes=0-1,"), Ok(Some(0..2)));
        assert_eq!(of_100("bytes=, ,0-1 ,\t"), Ok(Some(0..2)));
        assert_eq!(of_100("bytes=,"), Err(RangeError::Malformed));
    }

    #[test]
    fn other_units_are_ignored() {
        assert_eq!(of_100("blocks=0-1"), Ok(None));
        assert_eq!(of_100("x-unit=anything, at \"all\""), Ok(None));
    }

    #[test]
    fn near_misses_are_malformed() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "=0-1",
            "bytes 0-1",
            "bytes =0-1",
            "bytes= 0-1",
            "bytes=0-1 ",
            "bytes=0 -1",
            "bytes=0- 1",
            "bytes=-",
            "bytes=1",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=--1",
            "bytes=1--2",
            "bytes=1-2-3",
            "bytes=2-1",
            "bytes=1-2;3",
            "bytes=0-1,a",
            "bytes=0-1,2-1",
            "bytes=\u{661}-",
            "bytes=1.5-2",
            "by tes=0-1",
            "bytes:0-1",
        ] {
            assert_eq!(of_100(value), Err(RangeError::Malformed), "{value:?}");
        }
    }

    #[test]
    fn a_part_is_named_by_its_last_byte() {
        assert_eq!(content_range(&(0..500), 1234), "bytes 0-499/1234");
        assert_eq!(unsatisfied(1234), "bytes */1234");
    }

    proptest! {
        #[test]
        fn a_selected_range_has_bytes_inside_the_size(value: Vec<u8>, size: u64) {
            let with_unit = [b"bytes=".as_slice(), &value].concat();
            for value in [&value, &with_unit] {
                if let Ok(Some(range)) = parse(value, size) {
                    prop_assert!(!range.is_empty() && range.end <= size);
                }
            }
        }

        #[test]
        fn a_range_is_what_it_says(first: u64, length in 1..=u64::MAX, size: u64) {
            let last = first.saturating_add(length - 1);
            let expected = first..last.saturating_add(1).min(size);
            let selected = parse(format!("bytes={first}-{last}").as_bytes(), size);
            if expected.is_empty() {
                prop_assert_eq!(selected, Err(RangeError::Unsatisfiable { size }));
            } else {
                prop_assert_eq!(selected, Ok(Some(expected)));
            }
        }
    }
}
