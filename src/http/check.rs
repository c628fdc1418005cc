//! `GET /v1/volumes/{volume}/snapshots/{snapshot}/check`: stored bytes are read again and compared with their hashes.

#![allow(unused_qualifications, reason = "the macro of utoipa qualifies the query types that it is given")]

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Action;
use super::caller::Caller;
use super::names::{self, Target};
use super::problem::Problem;
use super::{Gateway, answers};
use crate::api::{self, CheckLine};
use crate::image::Damage;
use crate::transfer::{Finding, TransferError};

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckQuery {
    /// The byte of the image to begin at, to continue after a check that was cut off.
    #[serde(default)]
    from: u64,
}

/// Check what is stored
///
/// Reads all stored bytes of a snapshot and compares them with the content tree. The answer is JSON, one object a line,
/// as the check goes on: progress, damaged extents, and `done` at the end; without it the check was cut off. It gives
/// way to transfers, and ends when the caller closes the connection. One at a time on a gateway.
#[utoipa::path(
    get,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/check",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        CheckQuery,
    ),
    responses(
        (status = 200, description = "What is found, a line each", body = CheckLine, content_type = "application/x-ndjson"),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn check(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
    method: Method,
    uri: Uri,
) -> Result<Response, Problem> {
    caller.permit(Action::Read(&target.volume))?;
    let query: CheckQuery = names::query(&uri)?;
    gateway.refuse_when_stopping()?;
    let permit = gateway.transfers.admit_read()?;
    let image = gateway.transfers.open(&target.volume, &target.snapshot).await?;
    let described = [(CONTENT_TYPE, HeaderValue::from_static(api::CHECK_LINES))];
    let [_, root] = answers::identity(&image.record().root);
    if method == Method::HEAD {
        return Ok((described, [root]).into_response());
    }
    let span = tracing::Span::current();
    let findings = gateway.transfers.inspect(permit, image, query.from).await?;
    let stopping = gateway.drain.clone();
    let lines = findings.take_until(async move { stopping.cutting().await }).map(move |found| {
        let line = found.map(|finding| line(&finding));
        line.inspect_err(|error| span.in_scope(|| log(error)))
    });
    Ok((described, [root], Body::from_stream(lines)).into_response())
}

fn log(error: &TransferError) {
    tracing::error!(%error, "check a snapshot; the response is cut");
}

fn line(finding: &Finding) -> Bytes {
    let line = match finding.clone() {
        Finding::Progress { position, read } => CheckLine::Progress { position, read },
        Finding::Damaged(Damage { bytes, detail, is_mendable: mendable }) => {
            let length = bytes.end.saturating_sub(bytes.start);
            CheckLine::Damaged { offset: bytes.start, length, detail, mendable }
        }
        Finding::Done { read, damaged } => CheckLine::Done { read, damaged },
    };
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_that_reads_back() {
        let detail = "two\nlines".to_owned();
        let damage = Damage { bytes: 65_536..131_072, detail: detail.clone(), is_mendable: true };
        let bytes = line(&Finding::Damaged(damage));
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read: CheckLine = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read, CheckLine::Damaged { offset: 65_536, length: 65_536, detail, mendable: true });
    }
}
