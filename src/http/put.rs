//! `PUT /v1/volumes/{volume}/snapshots/{snapshot}`: one snapshot comes in.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use axum::response::Response;
use tracing::Instrument as _;

use super::audit::{Entry, Event, Origin};
use super::auth::Action;
use super::body::Upstream;
use super::caller::Caller;
use super::coding::{self, Unpacking};
use super::names::Target;
use super::problem::{Kind, Problem};
use super::{Gateway, answers, headers, resumable, upload};
use crate::api;
use crate::image::Committed;
use crate::transfer::Upload;

/// Store a snapshot
///
/// Streams one snapshot into the storage: a raw image, or a diff as `rbd export-diff` writes it. It becomes visible
/// only when it is complete, verified and durable, and then at once. The same request again, after a lost answer,
/// finds it and succeeds. Send `Expect: 100-continue` so that a refusal costs no body. Digests and the content root may
/// come as a header or, announced with `Trailer`, after the body. The body may be packed, which the answers of a plan and of
/// `OPTIONS` say with `Accept-Encoding`; the image's size must then come from the ticket.
#[utoipa::path(
    put,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        ("rsnap-base" = Option<String>, Header, description = "The target's snapshot that the diff starts from"),
        ("rsnap-base-root" = Option<String>, Header, description = "The content root that the sender knows the base to have"),
        ("rsnap-base-mark" = Option<String>, Header, description = "The source's mark of the base's content, instead of its root"),
        ("rsnap-content-root" = Option<String>, Header, description = "The content root that the result must have; also as trailer"),
        ("rsnap-source-volume" = Option<String>, Header, description = "The volume's id at the source"),
        ("rsnap-source-snapshot" = Option<String>, Header, description = "The snapshot's id at the source"),
        ("rsnap-source-mark" = Option<String>, Header, description = "A mark that the source gives to this content and to no other"),
        ("Content-Digest" = Option<String>, Header, description = "RFC 9530, sha-256 or sha-512; also as trailer; Repr-Digest is the same"),
        ("rsnap-body-digest" = Option<String>, Header, description = "Trailer only: BLAKE3 of the plain body, 64 hexadecimal digits"),
        ("content-encoding" = Option<String>, Header, description = "`zstd`, with windows of at most 8 MiB; lengths and RFC 9530 digests are then of the packed bytes"),
    ),
    request_body(content((Vec<u8> = "application/octet-stream"), (Vec<u8> = "application/vnd.ceph.rbd-diff"))),
    responses(
        (status = 201, description = "Stored", body = api::SnapshotAnswer),
        (status = 200, description = "It was there, with the same content", body = api::SnapshotAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn put(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
    request: Request,
) -> Result<Response, Problem> {
    if resumable::completeness(request.headers())? == Some(resumable::Completeness::Partial) {
        return resumable::create(State(gateway), caller, target, request).await;
    }
    let (parts, body) = request.into_parts();
    let permission = caller.permit(Action::Put(&target.volume, std::slice::from_ref(&target.snapshot)))?;
    gateway.refuse_when_stopping()?;
    let upload = upload::single(&parts.headers, target.volume, target.snapshot, permission)?;
    let declared = headers::content_length(&parts.headers)?;
    let unpacking = Unpacking::of(&parts.headers, coding::most(upload.format, upload.size))?;
    let body = gateway.upstream(body, &parts.headers, declared).unpacked(unpacking);
    if let Some(present) = gateway.transfers.admit(&upload).await? {
        take_unasked(body, &parts.headers).await?;
        return Ok(answers::committed(&present));
    }
    let committed = shielded(&gateway, receive(Arc::clone(&gateway), upload, body, caller.origin)).await?;
    Ok(answers::committed(&committed))
}

/// A success must not be answered into the middle of a body: unlike a refusal, clients do not look up for it. Who
/// waits for `100 Continue` needs not send it.
async fn take_unasked(body: Upstream, headers: &HeaderMap) -> Result<(), Problem> {
    match headers.contains_key(EXPECT) {
        true => Ok(()),
        false => Ok(body.discard().await?),
    }
}

/// Runs on the drain's tracker: neither a client that goes away nor a stop cancels it half-way.
pub(super) async fn shielded<T: Send + 'static>(
    gateway: &Gateway,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let ended = gateway.drain.spawn(work.in_current_span()).await;
    ended.unwrap_or_else(|crash| Err(Problem::hidden(Kind::Internal, crash)))
}

async fn receive(
    gateway: Arc<Gateway>,
    upload: Upload,
    mut body: Upstream,
    origin: Origin,
) -> Result<Committed, Problem> {
    let entry = Entry {
        volume: upload.volume.to_string(),
        snapshots: vec![upload.snapshot.to_string()],
        ..Entry::new(Event::Put, upload.principal.clone(), &origin)
    };
    let received = gateway.transfers.receive(upload, &mut body).await.map_err(Problem::from);
    gateway.audit.record(entry.ended(received.as_ref())).await;
    received
}
