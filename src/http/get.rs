//! `GET /v1/volumes/{volume}/snapshots/{snapshot}`: a snapshot goes out, raw or as a diff.
//!
//! An error in the middle must never look like an end: a raw answer always has its Content-Length, a diff its end
//! marker, and a stream that fails takes its connection (or its HTTP/2 stream) with it.

#![allow(unused_qualifications, reason = "the macro of utoipa qualifies the query types that it is given")]

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Action;
use super::caller::Caller;
use super::names::{self, Target};
use super::problem::{Kind, Problem};
use super::range::{Selection, select};
use super::{Gateway, answers};
use crate::api;
use crate::id::SnapshotId;
use crate::image::{SnapshotImage, SnapshotRecord};
use crate::transfer::{ReadPermit, Stream, TransferError};

/// How the snapshot is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct GetQuery {
    /// `raw` or `rbd-diff`; by default what `Accept` asks for, or raw.
    format: Option<String>,
    /// The snapshot of the same volume that the diff starts from; only with `rbd-diff`.
    base: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Raw,
    Diff,
}

/// Read a snapshot
///
/// The raw image, whole or one range of it, verified as it is read; or a diff that `rbd import-diff` takes, from
/// nothing or from any snapshot of the same volume that is held here.
#[utoipa::path(
    get,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        GetQuery,
        ("Range" = Option<String>, Header, description = "One range of bytes of the raw image"),
        ("If-Range" = Option<String>, Header, description = "The ETag that the range is wanted of"),
        ("If-None-Match" = Option<String>, Header, description = "ETags of what the caller has"),
    ),
    responses(
        (status = 200, description = "The snapshot", content(
            (Vec<u8> = "application/octet-stream"), (Vec<u8> = "application/vnd.ceph.rbd-diff"))),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The caller has it"),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.permit(Action::Read(&target.volume))?;
    let query: GetQuery = names::query(&uri)?;
    let layout = layout(query.format.as_deref(), &headers)?;
    let base = base(layout, query.base.as_deref())?;
    let permit = gateway.transfers.admit_read()?;
    let image = gateway.transfers.open(&target.volume, &target.snapshot).await?;
    let base = match base {
        Some(base) => Some(gateway.transfers.open(&target.volume, &base).await?),
        None => None,
    };
    let only_head = method == Method::HEAD;
    match layout {
        Layout::Raw => raw(&gateway, permit, image, &headers, only_head).await,
        Layout::Diff => Ok(diff(&gateway, permit, image, base, only_head)),
    }
}

fn layout(format: Option<&str>, headers: &HeaderMap) -> Result<Layout, Problem> {
    match format {
        Some("raw") => Ok(Layout::Raw),
        Some("rbd-diff") => Ok(Layout::Diff),
        Some(other) => Err(Problem::new(Kind::BadRequest, format!("format is raw or rbd-diff, not {other:?}"))),
        None if accepts_diff(headers) => Ok(Layout::Diff),
        None => Ok(Layout::Raw),
    }
}

fn accepts_diff(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types =
        lines.flat_map(|line| line.split(',')).map(|item| item.split(';').next().unwrap_or_default().trim());
    types.any(|essence| essence.eq_ignore_ascii_case(api::RBD_DIFF))
}

fn base(layout: Layout, base: Option<&str>) -> Result<Option<SnapshotId>, Problem> {
    match (layout, base) {
        (_, None) => Ok(None),
        (Layout::Diff, Some(base)) => Ok(Some(base.parse()?)),
        (Layout::Raw, Some(_)) => Err(Problem::new(Kind::BadRequest, "base needs format=rbd-diff")),
    }
}

async fn raw(
    gateway: &Gateway,
    permit: ReadPermit,
    image: Arc<dyn SnapshotImage>,
    headers: &HeaderMap,
    only_head: bool,
) -> Result<Response, Problem> {
    let record = image.record().clone();
    let selection = select(headers, record.size, &answers::etag(&record.root))?;
    let body = match wanted(&selection, record.size).filter(|_| !only_head) {
        Some(range) => body(gateway, begun(gateway.transfers.read_raw(permit, image, range)).await?),
        None => Body::empty(),
    };
    Ok(raw_response(&record, selection, body))
}

/// The bytes that the answer has to carry.
fn wanted(selection: &Selection, size: u64) -> Option<Range<u64>> {
    match selection {
        Selection::NotModified => None,
        Selection::Whole => Some(0..size),
        Selection::Part(range) => Some(range.clone()),
    }
}

/// Waits for the first bytes, so that what fails at once is a problem and not a cut answer.
async fn begun(mut stream: Stream) -> Result<Stream, TransferError> {
    match stream.try_next().await? {
        Some(first) => Ok(futures_util::stream::once(std::future::ready(Ok(first))).chain(stream).boxed()),
        None => Ok(stream),
    }
}

fn raw_response(record: &SnapshotRecord, selection: Selection, body: Body) -> Response {
    let (status, range) = match selection {
        Selection::NotModified => return (StatusCode::NOT_MODIFIED, answers::identity(&record.root)).into_response(),
        Selection::Whole => (StatusCode::OK, 0..record.size),
        Selection::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let shown = rsnap_wire::range::content_range(&range, record.size);
    let length = range.end.saturating_sub(range.start);
    let mut response = (status, answers::identity(&record.root), body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(api::RAW));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(shown) = HeaderValue::try_from(shown)
    {
        headers.insert(CONTENT_RANGE, shown);
    }
    response
}

/// The content root is that of the snapshot; the entity tag would be that of the diff, which has none.
fn diff(
    gateway: &Gateway,
    permit: ReadPermit,
    image: Arc<dyn SnapshotImage>,
    base: Option<Arc<dyn SnapshotImage>>,
    only_head: bool,
) -> Response {
    let [_, root] = answers::identity(&image.record().root);
    let described =
        [(CONTENT_TYPE, HeaderValue::from_static(api::RBD_DIFF)), (VARY, HeaderValue::from_static("accept"))];
    let body = if only_head { Body::empty() } else { body(gateway, gateway.transfers.read_diff(permit, image, base)) };
    (described, [root], body).into_response()
}

fn body(gateway: &Gateway, stream: Stream) -> Body {
    let (span, metrics) = (tracing::Span::current(), Arc::clone(&gateway.metrics));
    let counted = stream.inspect_ok(move |bytes: &Bytes| {
        metrics.sent_bytes.inc_by(u64::try_from(bytes.len()).unwrap_or_default());
    });
    Body::from_stream(counted.inspect_err(move |error| span.in_scope(|| log(error))))
}

fn log(error: &TransferError) {
    tracing::error!(%error, "read a snapshot; the response is cut");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Hash, Root};
    use crate::image::Identity;

    fn record() -> SnapshotRecord {
        SnapshotRecord {
            volume: "v1".parse().unwrap(),
            snapshot: "s1".parse().unwrap(),
            name: "snapshot-s1".parse().unwrap(),
            size: 100,
            root: Root::new(100, Hash::ZERO),
            identity: Identity::default(),
            base: None,
            created_ms: 0,
            stored: 0,
        }
    }

    #[test]
    fn a_raw_answer_has_its_length_and_a_part_its_place() {
        let whole = raw_response(&record(), Selection::Whole, Body::from(vec![0; 100]));
        assert_eq!(whole.status(), 200);
        assert_eq!(
            (&whole.headers()["content-length"], &whole.headers()["accept-ranges"]),
            (&"100".parse().unwrap(), &"bytes".parse().unwrap())
        );
        assert!(!whole.headers().contains_key("content-range"));
        let part = raw_response(&record(), Selection::Part(10..20), Body::from(vec![0; 10]));
        assert_eq!((part.status().as_u16(), &part.headers()["content-length"]), (206, &"10".parse().unwrap()));
        assert_eq!(part.headers()["content-range"], "bytes 10-19/100");
    }

    #[test]
    fn what_is_not_modified_is_not_read() {
        assert_eq!(wanted(&Selection::NotModified, 100), None);
        let same = raw_response(&record(), Selection::NotModified, Body::empty());
        assert_eq!(same.status(), 304);
        assert!(same.headers().contains_key("etag"));
    }

    #[test]
    fn the_layout_is_asked_for_by_name_or_by_type() {
        let accept = |text: &str| HeaderMap::from_iter([(ACCEPT, text.parse().unwrap())]);
        let of = |format, text| layout(format, &accept(text)).map_err(|problem| problem.kind());
        assert_eq!(of(None, "*/*"), Ok(Layout::Raw));
        assert_eq!(of(None, "text/html, application/vnd.ceph.rbd-diff;q=0.9"), Ok(Layout::Diff));
        assert_eq!(of(Some("raw"), "application/vnd.ceph.rbd-diff"), Ok(Layout::Raw));
        assert_eq!(of(Some("rbd-diff"), "*/*"), Ok(Layout::Diff));
        assert_eq!(of(Some("qcow2"), "*/*"), Err(Kind::BadRequest));
    }

    #[test]
    fn a_base_needs_a_diff() {
        assert_eq!(base(Layout::Diff, Some("s0")).unwrap().unwrap().as_str(), "s0");
        assert_eq!(base(Layout::Raw, Some("s0")).unwrap_err().kind(), Kind::BadRequest);
        assert_eq!(base(Layout::Diff, Some("../s0")).unwrap_err().kind(), Kind::BadName);
    }
}
