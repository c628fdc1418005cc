//! `/v1/volumes/{volume}/snapshots/{snapshot}/uploads/{upload}`: how far it is, its next piece, its end.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::create::finished;
use super::{Completeness, PARTIAL, completeness, describe, fields, id, progress, progress_of, tus};
use crate::api::{self, UploadAnswer, UploadsAnswer};
use crate::content::{Root, SIZE_MAX};
use crate::http::audit::{Entry, Event};
use crate::http::auth::{Action, Permission};
use crate::http::body::Upstream;
use crate::http::caller::Caller;
use crate::http::coding::{PlainClaims, Unpacking, accepted, most, plain_claims};
use crate::http::names::{Target, Upload};
use crate::http::problem::{Kind, Problem};
use crate::http::put::shielded;
use crate::http::{Gateway, answers, headers};
use crate::image::Ranges;
use crate::transfer::{Claims, Format, Piece, TransferError, UploadId, UploadState};

fn permit(caller: &Caller, upload: &Upload) -> Result<Permission, Problem> {
    caller.permit(Action::Put(&upload.volume, std::slice::from_ref(&upload.snapshot)))
}

/// The uploads of a snapshot
///
/// Unfinished ones, and those that were finished not long ago.
#[utoipa::path(
    get,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/uploads",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
    ),
    responses(
        (status = 200, description = "The uploads", body = UploadsAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(in crate::http) async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
) -> Result<([(HeaderName, HeaderValue); 1], Json<UploadsAnswer>), Problem> {
    let permission = caller.permit(Action::Put(&target.volume, std::slice::from_ref(&target.snapshot)))?;
    let uploads = gateway.transfers.uploads(&target.volume, &target.snapshot).await?;
    let uploads = uploads.iter().map(|state| describe(state, permission.sender.as_deref())).collect();
    Ok(([accepted()], Json(UploadsAnswer { uploads })))
}

/// One upload
///
/// With what of it is durable. Whoever sends plain bytes to it is ended, so that what is told stays true.
#[utoipa::path(
    get,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/uploads/{upload}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        ("upload" = String, Path, description = "The upload, as `Location` named it"),
    ),
    responses(
        (status = 200, description = "The upload", body = UploadAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(in crate::http) async fn state(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    upload: Upload,
) -> Result<(HeaderMap, Json<UploadAnswer>), Problem> {
    let permission = permit(&caller, &upload)?;
    let state = gateway.transfers.upload(&id(upload)).await?;
    let headers = progress_of(&state, gateway.transfers.upload_age());
    Ok((headers, Json(describe(&state, permission.sender.as_deref()))))
}

/// The offset of an upload
#[utoipa::path(
    head,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/uploads/{upload}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        ("upload" = String, Path, description = "The upload, as `Location` named it"),
    ),
    responses(
        (status = 204, description = "`Upload-Offset`, `Upload-Length`, `Upload-Complete` and `Upload-Limit` say it"),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(in crate::http) async fn look(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    upload: Upload,
    headers: HeaderMap,
) -> Result<(StatusCode, HeaderMap), Problem> {
    permit(&caller, &upload)?;
    let (id, is_hasty) = (id(upload), fields::is_hasty(&headers)?);
    let mut state = gateway.transfers.upload(&id).await?;
    if is_hasty && state.is_whole() {
        gateway.refuse_when_stopping()?;
        finish(&gateway, &id, None).await?;
        state = gateway.transfers.upload(&id).await?;
    }
    Ok((StatusCode::NO_CONTENT, progress_of(&state, gateway.transfers.upload_age())))
}

/// Add to an upload
///
/// `application/partial-upload`: bytes of the raw image from `Upload-Offset` on, which must be where the upload is.
/// `application/vnd.ceph.rbd-diff`: what differs from the base in the range `Rsnap-Range`; several may be sent at once.
/// `Upload-Complete: ?1` asks for the commit, and is answered as a PUT would be. With `Tus-Resumable: 1.0.0`, bytes come as
/// `application/offset+octet-stream`, and the commit with the last one. Each body may be packed; offsets and
/// ranges count bytes of the image, whatever went over the line.
#[utoipa::path(
    patch,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/uploads/{upload}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        ("upload" = String, Path, description = "The upload, as `Location` named it"),
        ("upload-complete" = Option<String>, Header, description = "`?1` when nothing will follow"),
        ("upload-offset" = Option<u64>, Header, description = "Where plain bytes begin"),
        ("content-encoding" = Option<String>, Header, description = "`zstd`, with windows of at most 8 MiB"),
        ("rsnap-range" = Option<String>, Header, description = "`FIRST-END` of changes, without the byte at END"),
        ("rsnap-content-root" = Option<String>, Header, description = "With `?1`: the content root that the result must have"),
    ),
    request_body(content((Vec<u8> = "application/partial-upload"), (Vec<u8> = "application/offset+octet-stream"), (Vec<u8> = "application/vnd.ceph.rbd-diff"))),
    responses(
        (status = 204, description = "Taken, and durable"),
        (status = 201, description = "Complete, and stored", body = api::SnapshotAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(in crate::http) async fn append(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    upload: Upload,
    request: Request,
) -> Result<Response, Problem> {
    let permission = permit(&caller, &upload)?;
    gateway.refuse_when_stopping()?;
    let (parts, body) = request.into_parts();
    let id = id(upload);
    let complete = completeness(&parts.headers)?;
    let (piece, end) = piece(&parts.headers, complete)?;
    let (is_last, is_empty) = (end == End::Here, http_body::Body::is_end_stream(&body));
    let content = headers::content_length(&parts.headers)?;
    let root = headers::root(&parts.headers)?;
    let claims = claims(&parts.headers, permission.sender)?;
    if is_empty && end != End::Later {
        let state = check_end(&gateway, &id, &piece, &parts.headers).await?;
        return match end {
            End::WhenWhole if state.offset() < state.size => Ok(added(&gateway, state.offset(), state.size, false)),
            End::WhenWhole => finish_with(&gateway, &id, root, state.size).await,
            End::Here | End::Later => finish(&gateway, &id, root).await,
        };
    }
    if let Piece::Bytes { offset } = piece {
        check_length(&gateway, &id, offset, claims.length.filter(|_| is_last), &parts.headers).await?;
    }
    let most = match &piece {
        // More than the image is refused as such.
        Piece::Bytes { .. } => SIZE_MAX,
        Piece::Changes { range } => most(Format::RbdDiff, Some(range.end.saturating_sub(range.start))),
    };
    let unpacking = Unpacking::of(&parts.headers, most)?;
    let body = gateway.upstream(body, &parts.headers, content).unpacked(unpacking);
    let durable = add(&gateway, &id, piece, claims, body).await?;
    if is_last {
        return finish(&gateway, &id, root).await;
    }
    let size = gateway.transfers.upload_size(&id).await?;
    match durable.end_from(0) {
        offset if end == End::WhenWhole && offset == size => finish_with(&gateway, &id, root, size).await,
        offset => Ok(added(&gateway, offset, size, false)),
    }
}

/// What was sent is durable.
fn added(gateway: &Gateway, offset: u64, size: u64, is_complete: bool) -> Response {
    let headers = progress(offset, size, is_complete, gateway.transfers.upload_age());
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Commits with the last byte, and answers as to any other.
async fn finish_with(
    gateway: &Arc<Gateway>,
    id: &UploadId,
    root: Option<Root>,
    size: u64,
) -> Result<Response, Problem> {
    finish(gateway, id, root).await?;
    Ok(added(gateway, size, size, true))
}

/// Give an upload up
#[utoipa::path(
    delete,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/uploads/{upload}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        ("upload" = String, Path, description = "The upload, as `Location` named it"),
    ),
    responses(
        (status = 204, description = "Gone, and its space is free"),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(in crate::http) async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    upload: Upload,
) -> Result<StatusCode, Problem> {
    permit(&caller, &upload)?;
    shielded(&gateway, give_up(Arc::clone(&gateway), id(upload), caller)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn give_up(gateway: Arc<Gateway>, id: UploadId, caller: Caller) -> Result<(), Problem> {
    let entry = Entry {
        volume: id.volume.to_string(),
        snapshots: vec![id.snapshot.to_string()],
        ..Entry::new(Event::Cancel, caller.label(), &caller.origin)
    };
    let cancelled = gateway.transfers.cancel(&id).await.map_err(Problem::from);
    gateway.audit.record(entry.ended(cancelled.as_ref())).await;
    cancelled
}

/// When the commit is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By another request.
    Later,
    /// With this one.
    Here,
    /// With the one that brings the last byte.
    WhenWhole,
}

/// What the request brings, and whether it is the last one.
fn piece(headers: &HeaderMap, complete: Option<Completeness>) -> Result<(Piece, End), Problem> {
    headers::refuse_parts(headers)?;
    let missing = |name| Problem::new(Kind::BadRequest, format!("the header {name} is missing or malformed"));
    let offset = || fields::offset(headers)?.ok_or_else(|| missing("Upload-Offset"));
    let is_tus = tus::is_spoken(headers)?;
    match headers::media_type(headers)?.as_deref() {
        Some(PARTIAL) => {
            let end = match complete.ok_or_else(|| missing("Upload-Complete"))? {
                Completeness::Complete => End::Here,
                Completeness::Partial if fields::is_hasty(headers)? => End::WhenWhole,
                Completeness::Partial => End::Later,
            };
            Ok((Piece::Bytes { offset: offset()? }, end))
        }
        Some(api::TUS_BYTES) if is_tus => Ok((Piece::Bytes { offset: offset()? }, End::WhenWhole)),
        Some(api::TUS_BYTES) => Err(missing("Tus-Resumable")),
        Some(api::RBD_DIFF) => Ok((Piece::Changes { range: fields::range(headers)? }, End::Later)),
        _ => Err(Problem::new(
            Kind::MediaType,
            format!("send it with `Content-Type: {PARTIAL}` or `Content-Type: {}`", api::RBD_DIFF),
        )),
    }
}

pub(super) fn claims(headers: &HeaderMap, sender: Option<String>) -> Result<Claims, Problem> {
    headers::refuse_whole_digests(headers)?;
    let PlainClaims { length, digests, digest_trailers } = plain_claims(headers)?;
    let has_digest = !headers::digests(headers)?.is_empty() || headers::announced(headers).digests.any();
    Ok(Claims { length, digests, digest_trailers, has_digest, sender })
}

/// A request without content that may be the last: nothing before it may be missing.
async fn check_end(
    gateway: &Gateway,
    id: &UploadId,
    piece: &Piece,
    headers: &HeaderMap,
) -> Result<UploadState, Problem> {
    let state = gateway.transfers.upload(id).await?;
    if let Piece::Bytes { offset } = piece {
        let (given, expected) = (*offset, state.offset());
        if expected != given {
            return Err(TransferError::UploadOffset { given, expected }.into());
        }
        check_declared(state.size, fields::length(headers)?)?;
    }
    Ok(state)
}

/// Lengths that a request tells, or implies, must be that of the image.
async fn check_length(
    gateway: &Gateway,
    id: &UploadId,
    offset: u64,
    last: Option<u64>,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let size = gateway.transfers.upload_size(id).await?;
    check_declared(size, fields::length(headers)?)?;
    check_declared(size, last.map(|length| offset.saturating_add(length)))
}

fn check_declared(size: u64, length: Option<u64>) -> Result<(), Problem> {
    match length.filter(|length| *length != size) {
        None => Ok(()),
        Some(length) => Err(TransferError::UploadLength { length, size }.into()),
    }
}

/// Adds a piece; goes on to its end when the client goes away.
pub(super) async fn add(
    gateway: &Arc<Gateway>,
    id: &UploadId,
    piece: Piece,
    claims: Claims,
    mut body: Upstream,
) -> Result<Ranges, Problem> {
    let (shared, id) = (Arc::clone(gateway), id.clone());
    let work = async move { Ok(shared.transfers.append(&id, &piece, claims, &mut body).await?) };
    shielded(gateway, work).await
}

/// Commits, and answers as a PUT does.
pub(super) async fn finish(gateway: &Arc<Gateway>, id: &UploadId, root: Option<Root>) -> Result<Response, Problem> {
    let (shared, id) = (Arc::clone(gateway), id.clone());
    let work = async move { Ok(shared.transfers.complete(&id, root).await?) };
    let committed = shielded(gateway, work).await?;
    Ok(finished(answers::committed(&committed), committed.record().size))
}
