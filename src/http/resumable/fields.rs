//! The draft's header fields. They are structured fields: what does not parse counts as not there.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName};

use super::{COMPLETE, LENGTH, OFFSET, tus};
use crate::api;
use crate::http::headers::one;
use crate::http::problem::{Kind, Problem};

const VERSION: HeaderName = HeaderName::from_static("upload-draft-interop-version");
const RANGE: HeaderName = HeaderName::from_static(api::RANGE);
/// The interop versions whose requests mean the same as those of 8.
const VERSIONS: std::ops::RangeInclusive<u64> = 6..=8;

/// What `Upload-Complete` says of a request's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Completeness {
    /// More will come.
    Partial,
    /// It is the end.
    Complete,
}

/// The version of the draft whose clients take an offset that is the length for the end.
const HASTY: u64 = 6;

/// Whether the request comes from such a client, or from one of tus.
pub(super) fn is_hasty(headers: &HeaderMap) -> Result<bool, Problem> {
    Ok(tus::is_spoken(headers)? || one(headers, &VERSION)?.and_then(integer) == Some(HASTY))
}

/// `Upload-Complete`, where the request speaks a version of the draft that is known here.
pub(in crate::http) fn completeness(headers: &HeaderMap) -> Result<Option<Completeness>, Problem> {
    if let Some(text) = one(headers, &VERSION)?
        && !integer(text).is_some_and(|version| VERSIONS.contains(&version))
    {
        let detail = format!("speak version {} to {} of the draft, not {text:?}", VERSIONS.start(), VERSIONS.end());
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    Ok(one(headers, &COMPLETE)?.and_then(|text| match item(text) {
        "?0" => Some(Completeness::Partial),
        "?1" => Some(Completeness::Complete),
        _ => None,
    }))
}

pub(super) fn offset(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    Ok(one(headers, &OFFSET)?.and_then(integer))
}

pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    Ok(one(headers, &LENGTH)?.and_then(integer))
}

/// The range of the image that a request of changes is about: `first-end`, without the byte at `end`.
pub(super) fn range(headers: &HeaderMap) -> Result<Range<u64>, Problem> {
    let text = one(headers, &RANGE)?.unwrap_or_default();
    let parts = text.split_once('-').and_then(|(start, end)| Some(integer(start)?..integer(end)?));
    parts.ok_or_else(|| {
        let detail = format!("say with `{RANGE}: FIRST-END` which bytes of the image the changes are about");
        Problem::new(Kind::BadRequest, detail)
    })
}

/// An item without its parameters, which mean nothing here.
fn item(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim_end()
}

/// A structured integer that is not negative: at most 15 digits.
fn integer(text: &str) -> Option<u64> {
    let digits = item(text);
    let fits = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::headers;

    fn complete(text: &str) -> Option<Completeness> {
        completeness(&headers(&[("upload-complete", text)])).unwrap()
    }

    #[test]
    fn what_does_not_parse_is_not_there() {
        assert_eq!(complete("?1"), Some(Completeness::Complete));
        assert_eq!(complete("?0;x=1"), Some(Completeness::Partial));
        for wrong in ["1", "true", "?2", "", "?1 ?0"] {
            assert_eq!(complete(wrong), None, "{wrong:?}");
        }
        assert_eq!(offset(&headers(&[("upload-offset", "123456789012345")])).unwrap(), Some(123_456_789_012_345));
        for wrong in ["-1", "+1", "1.5", "", "1234567890123456", "0x1", "\"1\""] {
            assert_eq!(offset(&headers(&[("upload-offset", wrong)])).unwrap(), None, "{wrong:?}");
            assert_eq!(length(&headers(&[("upload-length", wrong)])).unwrap(), None, "{wrong:?}");
        }
        assert!(offset(&headers(&[("upload-offset", "1"), ("upload-offset", "1")])).is_err());
    }

    #[test]
    fn only_known_versions_are_spoken() {
        let spoken = |text| completeness(&headers(&[("upload-draft-interop-version", text)])).is_ok();
        assert!(spoken("6") && spoken("7") && spoken("8"));
        for other in ["5", "9", "", "8a"] {
            assert!(!spoken(other), "{other:?}");
        }
    }

    #[test]
    fn a_range_has_two_ends() {
        let read = |text| range(&headers(&[("rsnap-range", text)])).ok();
        assert_eq!(read("0-1048576"), Some(0..1_048_576));
        for wrong in ["", "0", "-", "0-", "-5", "a-b", "0-1-2"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
