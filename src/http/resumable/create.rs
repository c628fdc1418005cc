//! `POST /v1/volumes/{volume}/snapshots/{snapshot}`: an upload begins.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, ALLOW, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::{
    COMPLETE, Completeness, OFFSET, PARTIAL, completeness, fields, flag, limits, location, number, resource, tus,
};
use crate::api;
use crate::http::audit::{Entry, Event};
use crate::http::auth::Action;
use crate::http::caller::Caller;
use crate::http::coding::accepted;
use crate::http::names::Target;
use crate::http::problem::{Kind, Problem};
use crate::http::put::shielded;
use crate::http::{Gateway, answers, headers, upload};
use crate::image::ImageError;
use crate::transfer::{Created, Format, Piece, TransferError, Upload, UploadId};

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Begin an upload that can be resumed
///
/// Makes an upload of this snapshot, in the place of an unfinished one, and answers where it is. With
/// `application/octet-stream` the request may bring the first bytes of the raw image, or all of them with
/// `Upload-Complete: ?1`. With `application/vnd.ceph.rbd-diff` it brings nothing, and names the base that the changes
/// start from. With `Tus-Resumable: 1.0.0` it is a creation of tus, whose bytes are `application/offset+octet-stream`.
#[utoipa::path(
    post,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        ("upload-complete" = Option<String>, Header, description = "`?0` when more will follow, `?1` when the body is all of it"),
        ("upload-length" = Option<u64>, Header, description = "Bytes of the image; needed unless the ticket tells them"),
        ("rsnap-base" = Option<String>, Header, description = "The target's snapshot that the changes start from"),
        ("rsnap-base-root" = Option<String>, Header, description = "The content root that the sender knows the base to have"),
        ("rsnap-base-mark" = Option<String>, Header, description = "The source's mark of the base's content, instead of its root"),
        ("rsnap-content-root" = Option<String>, Header, description = "The content root that the result must have"),
    ),
    request_body(content((Vec<u8> = "application/octet-stream"), (Vec<u8> = "application/vnd.ceph.rbd-diff"))),
    responses(
        (status = 201, description = "Begun, at `Location`; or stored, when the body was all of it"),
        (status = 200, description = "It was there, with the same content", body = api::SnapshotAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(in crate::http) async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let permission = caller.permit(Action::Put(&target.volume, std::slice::from_ref(&target.snapshot)))?;
    gateway.refuse_when_stopping()?;
    let is_tus = tus::is_spoken(&parts.headers)?;
    let complete = match completeness(&parts.headers)? {
        Some(said) if !is_tus => said,
        None if !is_tus => {
            let detail = "say with `Upload-Complete: ?0` that more will follow; or send it with PUT";
            return Err(Problem::new(Kind::BadRequest, detail));
        }
        _ => Completeness::Partial,
    };
    let content = headers::content_length(&parts.headers)?;
    let declared = declared(&parts.headers, complete, content)?;
    let claims = resource::claims(&parts.headers, permission.sender.clone())?;
    let upload = upload::resumable(&parts.headers, target.volume, target.snapshot, permission, declared)?;
    let metadata = if is_tus { tus::metadata(&parts.headers)? } else { None };
    let (size, upload) = (upload.size.unwrap_or_default(), Upload { metadata, ..upload });
    let is_empty = http_body::Body::is_end_stream(&body);
    if upload.format == Format::RbdDiff && !is_empty {
        let detail = "changes go to the upload, with the range that they are about; begin it with an empty body";
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    let root = upload.root;
    let created = shielded(&gateway, begin(Arc::clone(&gateway), upload, caller)).await?;
    let id = match created {
        Created::Upload(id) => id,
        Created::Present(committed) if is_tus => {
            // tus has no other answer to a creation than where to send the bytes.
            let record = committed.record();
            return Err(ImageError::Exists { snapshot: record.snapshot.clone(), root: record.root }.into());
        }
        Created::Present(committed) => return Ok(finished(answers::committed(&committed), committed.record().size)),
    };
    let mut offset = 0;
    if !is_empty {
        let body = gateway.upstream(body, &parts.headers, content);
        offset = resource::add(&gateway, &id, Piece::Bytes { offset: 0 }, claims, body).await?.end_from(0);
    }
    if complete == Completeness::Complete && declared.is_some() {
        return resource::finish(&gateway, &id, root).await;
    }
    if is_tus && offset == size {
        resource::finish(&gateway, &id, root).await?;
    }
    Ok(begun(&id, offset, gateway.transfers.upload_age()))
}

/// The length of the representation, as far as the request tells it.
fn declared(headers: &HeaderMap, complete: Completeness, content: Option<u64>) -> Result<Option<u64>, Problem> {
    let length = fields::length(headers)?;
    match (complete, length, content) {
        (Completeness::Complete, Some(size), Some(length)) if size != length => {
            Err(TransferError::UploadLength { length, size }.into())
        }
        (Completeness::Complete, length, content) => Ok(length.or(content)),
        (Completeness::Partial, length, _) => Ok(length),
    }
}

async fn begin(gateway: Arc<Gateway>, upload: Upload, caller: Caller) -> Result<Created, Problem> {
    let entry = Entry {
        volume: upload.volume.to_string(),
        snapshots: vec![upload.snapshot.to_string()],
        ..Entry::new(Event::Upload, upload.principal.clone(), &caller.origin)
    };
    let created = gateway.transfers.create_upload(&upload).await.map_err(Problem::from);
    gateway.audit.record(entry.ended(created.as_ref())).await;
    created
}

fn begun(id: &UploadId, offset: u64, age: Duration) -> Response {
    let headers =
        [(LOCATION, location(id)), (OFFSET, number(offset)), (COMPLETE, flag(false)), accepted(), limits(age)];
    (StatusCode::CREATED, HeaderMap::from_iter(headers.into_iter().chain(tus::expiry(age)))).into_response()
}

/// Marks an answer as that of a whole upload.
pub(super) fn finished(mut response: Response, size: u64) -> Response {
    response.headers_mut().insert(COMPLETE, flag(true));
    response.headers_mut().insert(OFFSET, number(size));
    response
}

/// `OPTIONS`: that uploads can be resumed here, and their limits.
pub(in crate::http) async fn offer(State(gateway): State<Arc<Gateway>>) -> Response {
    let allowed = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
    let headers = [
        (ACCEPT_PATCH, HeaderValue::from_static(PARTIAL)),
        (ALLOW, HeaderValue::from_static(allowed)),
        (ACCEPT, HeaderValue::from_static(api::RAW)),
        accepted(),
        limits(gateway.transfers.upload_age()),
    ];
    (StatusCode::NO_CONTENT, HeaderMap::from_iter(headers.into_iter().chain(tus::offer()))).into_response()
}
