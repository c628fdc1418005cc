//! `POST /v1/volumes/{volume}/snapshots/{snapshot}/repair`: damaged bytes of a stored snapshot come back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};

use super::Gateway;
use super::audit::{Entry, Event, Origin};
use super::auth::Action;
use super::body::Upstream;
use super::caller::Caller;
use super::coding::refuse_codings;
use super::headers::{content_length, media_type, refuse_parts};
use super::names::Target;
use super::problem::{Kind, Problem};
use super::put::shielded;
use crate::api::{self, RepairAnswer};
use crate::transfer::ReadPermit;

/// Repair a snapshot
///
/// Takes whole leaves (64 KiB, aligned; the last one ends with the image) of a snapshot that is stored here, as data of
/// an rbd-diff from nothing with the snapshot's size. Each must have exactly the hash that the content tree records, so
/// a snapshot can be healed and never changed; bytes that are right already are not written. The answer comes when all
/// of it is durable. It waits for no transfer: while one writes the volume, it is refused as busy.
#[utoipa::path(
    post,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/repair",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
    ),
    request_body(content = Vec<u8>, content_type = "application/vnd.ceph.rbd-diff"),
    responses(
        (status = 200, description = "What was sent is stored", body = RepairAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn repair(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
    request: Request,
) -> Result<Json<RepairAnswer>, Problem> {
    let (parts, body) = request.into_parts();
    let permission = caller.permit(Action::Put(&target.volume, std::slice::from_ref(&target.snapshot)))?;
    gateway.refuse_when_stopping()?;
    refuse_parts(&parts.headers)?;
    refuse_codings(&parts.headers)?;
    match media_type(&parts.headers)?.as_deref() {
        Some(api::RBD_DIFF) => {}
        _ => {
            let detail = format!("send it with `Content-Type: {}`", api::RBD_DIFF);
            return Err(Problem::new(Kind::MediaType, detail));
        }
    }
    let body = gateway.upstream(body, &parts.headers, content_length(&parts.headers)?);
    let permit = gateway.transfers.admit_read()?;
    let entry = entry(&target, permission.principal, &caller.origin);
    shielded(&gateway, mend(Arc::clone(&gateway), permit, target, body, entry)).await.map(Json)
}

fn entry(target: &Target, principal: String, origin: &Origin) -> Entry {
    let (volume, snapshots) = (target.volume.to_string(), vec![target.snapshot.to_string()]);
    Entry { volume, snapshots, ..Entry::new(Event::Repair, principal, origin) }
}

async fn mend(
    gateway: Arc<Gateway>,
    permit: ReadPermit,
    target: Target,
    mut body: Upstream,
    entry: Entry,
) -> Result<RepairAnswer, Problem> {
    let mended = gateway.transfers.mend(permit, &target.volume, &target.snapshot, &mut body).await;
    let mended = mended.map_err(Problem::from);
    gateway.audit.record(entry.ended(mended.as_ref())).await;
    mended.map(|mended| RepairAnswer { received: mended.received, written: mended.written })
}
