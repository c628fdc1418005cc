//! Uploads over HTTP: the IETF draft "Resumable Uploads for HTTP", interop versions 6 to 8, and tus 1.0. Both are ways to
//! say the same, and end in the same code.
//!
//! An upload is made with POST on its snapshot and has a path of its own below it. A POST may bring the first bytes, or
//! none, and then the upload's path is known before anything is sent: this gateway sends no `104`, because the library
//! below cannot. The representation is the raw image, so an offset is a place in the image; a client that can tell what
//! changed sends ranges of changes to the same upload instead, several at a time.
//!
//! A stream of `rbd export-diff` has no offsets that mean anything to the program that makes it, so it is not taken here
//! and goes with one PUT.

mod create;
mod fields;
mod resource;
mod tus;

pub(super) use create::{__path_create, create, offer};
pub(super) use fields::{Completeness, completeness};
pub(super) use resource::{
    __path_append, __path_cancel, __path_list, __path_look, __path_state, append, cancel, list, look, state,
};
pub(super) use tus::{__path_overridden, answer, overridden};

use std::time::{Duration, SystemTime};

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::answers;
use super::coding::accepted;
use super::names::Upload;
use crate::api::{UploadAnswer, UploadRange};
use crate::content::SIZE_MAX;
use crate::transfer::{UploadId, UploadState};

pub(super) const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
pub(super) const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const LIMIT: HeaderName = HeaderName::from_static("upload-limit");
/// Media type of plain bytes that go on where the last ones ended.
const PARTIAL: &str = "application/partial-upload";

fn path(id: &UploadId) -> String {
    format!("/v1/volumes/{}/snapshots/{}/uploads/{}", id.volume, id.snapshot, id.transfer)
}

fn number(value: u64) -> HeaderValue {
    HeaderValue::from(value)
}

fn flag(is_complete: bool) -> HeaderValue {
    HeaderValue::from_static(if is_complete { "?1" } else { "?0" })
}

/// What this gateway takes, and how long an upload that nobody works on stays from now on.
fn limits(age: Duration) -> (HeaderName, HeaderValue) {
    let text = format!("max-size={SIZE_MAX}, min-size=0, max-age={}", age.as_secs());
    (LIMIT, HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("min-size=0")))
}

/// How long an upload stays that was last worked on then.
fn rest(age: Duration, touched: SystemTime) -> Duration {
    age.saturating_sub(touched.elapsed().unwrap_or_default())
}

/// How far an upload is, for [`progress`].
fn progress_of(state: &UploadState, age: Duration) -> HeaderMap {
    let mut headers = progress(state.offset(), state.size, state.committed.is_some(), rest(age, state.touched));
    headers.extend(tus::told(state.metadata.as_deref()));
    headers
}

/// The headers that say how far an upload is, and how long it stays.
fn progress(offset: u64, size: u64, is_complete: bool, rest: Duration) -> HeaderMap {
    let headers = [
        (OFFSET, number(offset)),
        (LENGTH, number(size)),
        (COMPLETE, flag(is_complete)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        accepted(),
        limits(rest),
    ];
    headers.into_iter().chain(tus::expiry(rest).filter(|_| !is_complete)).collect()
}

/// The mark is told to the `sender` who gave it: to others it proves nothing.
fn describe(state: &UploadState, sender: Option<&str>) -> UploadAnswer {
    let mark = state.source.source_mark.as_ref().filter(|mark| state.source.has_mark(Some(mark), sender));
    UploadAnswer {
        path: path(&state.id),
        volume: state.id.volume.to_string(),
        snapshot: state.id.snapshot.to_string(),
        size: state.size,
        base: state.base.as_ref().map(ToString::to_string),
        source_volume: state.source.source_volume.clone(),
        source_snapshot: state.source.source_snapshot.clone(),
        source_mark: mark.map(ToString::to_string),
        durable: state.durable.iter().map(|range| UploadRange { start: range.start, end: range.end }).collect(),
        touched: answers::moment(state.touched),
        committed: state.committed.as_ref().map(answers::snapshot),
    }
}

fn id(upload: Upload) -> UploadId {
    UploadId { volume: upload.volume, snapshot: upload.snapshot, transfer: upload.upload }
}

/// Where a client finds the upload, by the name under which it reached us.
fn location(id: &UploadId) -> HeaderValue {
    let uri = path(id).parse::<Uri>().map(|uri| uri.to_string()).unwrap_or_default();
    HeaderValue::try_from(uri).unwrap_or(HeaderValue::from_static(""))
}
