//! `DELETE /v1/volumes/{volume}/snapshots/{snapshot}`: a snapshot goes away.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::Gateway;
use super::audit::{Entry, Event, Origin};
use super::auth::Action;
use super::caller::Caller;
use super::names::Target;
use super::problem::Problem;
use super::put::shielded;
use crate::api;

/// Delete a snapshot
///
/// The other snapshots of the chain stay byte for byte what they were. A ticket that was issued before cannot make it
/// again.
#[utoipa::path(
    delete,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
) -> Result<StatusCode, Problem> {
    caller.permit(Action::Delete)?;
    let principal = caller.label();
    shielded(&gateway, remove(Arc::clone(&gateway), target, principal, caller.origin)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(gateway: Arc<Gateway>, target: Target, principal: String, origin: Origin) -> Result<(), Problem> {
    let entry = Entry {
        volume: target.volume.to_string(),
        snapshots: vec![target.snapshot.to_string()],
        ..Entry::new(Event::Delete, principal, &origin)
    };
    let deleted = gateway.transfers.delete(&target.volume, &target.snapshot).await.map_err(Problem::from);
    gateway.audit.record(entry.ended(deleted.as_ref())).await;
    deleted
}
