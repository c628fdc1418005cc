//! The one place where an error becomes an answer: RFC 9457 problem details.
//!
//! A problem has two texts. `detail` is written for the caller; `internal` is for the log and never leaves. Which of
//! an error's words a caller may read is decided here, variant by variant, so that a new error cannot leak a path or
//! a host name by being convenient to print.

mod catalogue;
mod transfer;

pub use catalogue::Kind;
pub(super) use catalogue::table;

use axum::Json;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::resumable::{COMPLETE as UPLOAD_COMPLETE, OFFSET as UPLOAD_OFFSET};
use crate::api;
use crate::id::NameError;

/// Media type of a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    detail: String,
    internal: Option<String>,
    /// Bytes of the snapshot, when a range of it was asked for.
    size: Option<u64>,
    /// The offset that was given, and the one that an upload goes on at.
    offsets: Option<(u64, u64)>,
    /// The coding that would be taken.
    coding: Option<&'static str>,
}

/// What the log and the counters know of a problem: an extension of its response.
#[derive(Debug, Clone)]
pub(super) struct Reported {
    pub(super) kind: Kind,
    pub(super) text: String,
}

impl Problem {
    /// A problem whose `detail` says what happened and what to do.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), internal: None, size: None, offsets: None, coding: None }
    }

    /// A problem whose cause is for the log alone.
    pub(super) fn hidden(kind: Kind, cause: impl ToString) -> Self {
        let detail = "the gateway's log has the cause, under the id in this response's x-request-id header";
        Self { internal: Some(cause.to_string()), ..Self::new(kind, detail) }
    }

    /// A problem with words for the caller, and a cause for the log.
    pub(super) fn because(kind: Kind, detail: impl Into<String>, cause: impl ToString) -> Self {
        Self { internal: Some(cause.to_string()), ..Self::new(kind, detail) }
    }

    /// A range that lies outside the `size` bytes that are there.
    pub(super) fn range(size: u64, detail: impl Into<String>) -> Self {
        Self { size: Some(size), ..Self::new(Kind::Range, detail) }
    }

    /// Bytes that begin elsewhere than where they are wanted.
    pub(super) fn offset(given: u64, expected: u64) -> Self {
        let detail = format!("the bytes begin at {given}, and the upload goes on at {expected}");
        Self { offsets: Some((given, expected)), ..Self::new(Kind::UploadOffset, detail) }
    }

    /// A body with a coding other than the one that is taken here.
    pub(super) fn coding(taken: &'static str, detail: impl Into<String>) -> Self {
        Self { coding: Some(taken), ..Self::new(Kind::Coding, detail) }
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The text for the log.
    pub(super) fn text(&self) -> &str {
        self.internal.as_deref().unwrap_or(&self.detail)
    }

    fn body(&self) -> api::Problem {
        api::Problem {
            kind: self.kind.urn(),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            transfer: None,
            provided_offset: self.offsets.map(|(given, _)| given),
            expected_offset: self.offsets.map(|(_, expected)| expected),
        }
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(Kind::BadName, error.to_string())
    }
}

fn unsatisfied(size: u64) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::try_from(rsnap_wire::range::unsatisfied(size)).ok().map(|value| (CONTENT_RANGE, value))
}

/// What a caller who shows nothing, or nothing that counts, is told to show (RFC 6750).
fn challenge(kind: Kind) -> Option<(HeaderName, HeaderValue)> {
    let text = match kind {
        Kind::Unauthorized | Kind::BadCertificate => "Bearer realm=\"rsnap\"",
        Kind::BadToken | Kind::BadTicket | Kind::ExpiredTicket => "Bearer realm=\"rsnap\", error=\"invalid_token\"",
        _ => return None,
    };
    Some((WWW_AUTHENTICATE, HeaderValue::from_static(text)))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.body())).into_response();
        let retry = self.kind.retry_after().map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
        let range = self.size.and_then(unsatisfied);
        let offset = self.offsets.map(|(_, expected)| (UPLOAD_OFFSET, HeaderValue::from(expected)));
        let complete = self.offsets.map(|_| (UPLOAD_COMPLETE, HeaderValue::from_static("?0")));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        let coding = self.coding.map(|taken| (ACCEPT_ENCODING, HeaderValue::from_static(taken)));
        let all = [retry, challenge(self.kind), range, offset, complete, coding];
        response.headers_mut().extend(all.into_iter().flatten());
        response.extensions_mut().insert(Reported { kind: self.kind, text: self.text().to_owned() });
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_problem_is_what_the_rfc_says() {
        let response = Problem::new(Kind::Busy, "try again").into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "5");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: api::Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.kind.as_str(), problem.status), ("urn:rsnap:problem:busy", 503));
        assert_eq!(problem.detail, "try again");
    }

    #[tokio::test]
    async fn a_hidden_cause_stays_in_the_log() {
        let problem = Problem::hidden(Kind::Storage, "open /srv/secret: denied");
        assert!(problem.text().contains("/srv/secret"));
        let body = problem.into_response().into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("/srv/secret"));
    }

    #[test]
    fn a_stranger_is_told_what_to_show_and_a_range_what_there_is() {
        let response = Problem::new(Kind::ExpiredTicket, "").into_response();
        assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));
        let response = Problem::range(100, "").into_response();
        assert_eq!(response.headers()["content-range"], "bytes */100");
    }
}
