//! Which bytes of a snapshot a GET wants (RFC 9110, sections 13 and 14).

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use rsnap_wire::range::{RangeError, parse};

use super::headers::one;
use super::problem::{Kind, Problem};

/// What to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    Whole,
    Part(Range<u64>),
    /// The caller has it already.
    NotModified,
}

/// Chooses among the `size` bytes with the entity tag `etag`.
pub(super) fn select(headers: &HeaderMap, size: u64, etag: &str) -> Result<Selection, Problem> {
    if has_already(headers, etag) {
        return Ok(Selection::NotModified);
    }
    let Some(range) = one(headers, &RANGE)? else { return Ok(Selection::Whole) };
    if one(headers, &IF_RANGE)?.is_some_and(|validator| validator != etag) {
        return Ok(Selection::Whole);
    }
    match parse(range.as_bytes(), size) {
        Ok(Some(part)) => Ok(Selection::Part(part)),
        Ok(None) => Ok(Selection::Whole),
        Err(fault @ RangeError::Unsatisfiable { .. }) => Err(Problem::range(size, fault.to_string())),
        Err(fault) => Err(Problem::new(Kind::BadRequest, fault.to_string())),
    }
}

/// `If-None-Match` compares weakly: a `W/` before the tag does not count.
fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const ETAG: &str = "\"rsnap1:00\"";

    fn ask(lines: &[(&'static str, &'static str)]) -> Result<Selection, Kind> {
        let parse = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = lines.iter().map(parse).collect();
        select(&headers, 100, ETAG).map_err(|problem| problem.kind())
    }

    #[test]
    fn ranges_are_selected() {
        assert_eq!(ask(&[]), Ok(Selection::Whole));
        assert_eq!(ask(&[("range", "bytes=10-19")]), Ok(Selection::Part(10..20)));
        assert_eq!(ask(&[("range", "bytes=90-")]), Ok(Selection::Part(90..100)));
        assert_eq!(ask(&[("range", "bytes=-5")]), Ok(Selection::Part(95..100)));
        assert_eq!(ask(&[("range", "lines=1-2")]), Ok(Selection::Whole));
        assert_eq!(ask(&[("range", "bytes=100-")]), Err(Kind::Range));
        assert_eq!(ask(&[("range", "bytes=9-3")]), Err(Kind::BadRequest));
        assert_eq!(ask(&[("range", "bytes=1-2,5-6")]), Err(Kind::BadRequest));
    }

    #[test]
    fn a_changed_snapshot_is_sent_whole() {
        let range = ("range", "bytes=10-19");
        assert_eq!(ask(&[range, ("if-range", ETAG)]), Ok(Selection::Part(10..20)));
        assert_eq!(ask(&[range, ("if-range", "\"rsnap1:11\"")]), Ok(Selection::Whole));
        assert_eq!(ask(&[range, ("if-range", "W/\"rsnap1:00\"")]), Ok(Selection::Whole));
        assert_eq!(ask(&[range, ("if-range", "Mon, 23 Nov 2026 00:00:00 GMT")]), Ok(Selection::Whole));
    }

    #[test]
    fn what_the_caller_has_is_not_sent() {
        for tags in [ETAG, "*", "\"a\", \"rsnap1:00\"", "W/\"rsnap1:00\""] {
            assert_eq!(ask(&[("if-none-match", tags)]), Ok(Selection::NotModified), "{tags}");
        }
        assert_eq!(ask(&[("if-none-match", "\"rsnap1:11\"")]), Ok(Selection::Whole));
    }
}
