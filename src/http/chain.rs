//! `/v1/volumes/{volume}/snapshots`: the chain, and a whole chain coming in.

#![allow(unused_qualifications, reason = "the macro of utoipa qualifies the query types that it is given")]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::audit::{Entry, Event, Origin};
use super::auth::Action;
use super::body::Upstream;
use super::caller::Caller;
use super::names::{self, Volume};
use super::problem::{Kind, Problem};
use super::put::shielded;
use super::{Gateway, answers, upload};
use crate::api::{self, ChainAnswer};
use crate::id::SnapshotId;
use crate::image::Committed;
use crate::transfer::Upload;

/// List a chain
///
/// The committed snapshots of a volume, in the order of their commits. A volume that has none has an empty chain.
#[utoipa::path(
    get,
    path = "/v1/volumes/{volume}/snapshots",
    params(("volume" = String, Path, description = "The target's volume id")),
    responses(
        (status = 200, description = "The chain", body = ChainAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn chain(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Volume(volume): Volume,
) -> Result<Json<ChainAnswer>, Problem> {
    caller.permit(Action::Chain(&volume))?;
    let chain = gateway.transfers.chain(&volume).await?;
    Ok(Json(answers::chain(&volume, &chain)))
}

/// Which snapshots a chain stream brings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainQuery {
    /// The target's ids of the snapshots in the stream, oldest first, separated by commas.
    snapshots: String,
}

/// Store a whole chain
///
/// Streams all snapshots of a volume at once, as `rbd export --export-format 2` writes them. Each becomes visible when
/// it is complete, verified and durable; if the stream breaks, those before the break stay.
#[utoipa::path(
    put,
    operation_id = "put_chain",
    path = "/v1/volumes/{volume}/snapshots",
    params(("volume" = String, Path, description = "The target's volume id"), ChainQuery),
    request_body(content = Vec<u8>, content_type = "application/vnd.ceph.rbd-image"),
    responses(
        (status = 201, description = "Stored", body = ChainAnswer),
        (status = 200, description = "All were there, with the same content", body = ChainAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn put(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Volume(volume): Volume,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let snapshots = names::snapshots(&names::query::<ChainQuery>(&parts.uri)?.snapshots)?;
    let permission = caller.permit(Action::Put(&volume, &snapshots))?;
    gateway.refuse_when_stopping()?;
    let last = snapshots.last().cloned().ok_or_else(|| Problem::new(Kind::BadRequest, "name the snapshots"))?;
    let upload = upload::chain(&parts.headers, volume.clone(), last, permission)?;
    let body = gateway.upstream(body, &parts.headers, upload.length);
    let received = receive(Arc::clone(&gateway), upload, snapshots, body, caller.origin);
    let committed = shielded(&gateway, received).await?;
    Ok((status(&committed), Json(answer(&volume, &committed))).into_response())
}

async fn receive(
    gateway: Arc<Gateway>,
    upload: Upload,
    snapshots: Vec<SnapshotId>,
    mut body: Upstream,
    origin: Origin,
) -> Result<Vec<Committed>, Problem> {
    let entry = Entry {
        volume: upload.volume.to_string(),
        snapshots: snapshots.iter().map(ToString::to_string).collect(),
        ..Entry::new(Event::Put, upload.principal.clone(), &origin)
    };
    let received = gateway.transfers.receive_chain(upload, snapshots, &mut body).await.map_err(Problem::from);
    gateway.audit.record(entry.ended(received.as_ref())).await;
    received
}

fn status(committed: &[Committed]) -> StatusCode {
    let any_new = committed.iter().any(|one| answers::status(one) == StatusCode::CREATED);
    if any_new { StatusCode::CREATED } else { StatusCode::OK }
}

fn answer(volume: &crate::id::VolumeId, committed: &[Committed]) -> ChainAnswer {
    let snapshots = committed.iter().map(|one| answers::snapshot(one.record())).collect();
    ChainAnswer { volume: volume.to_string(), snapshots, damaged: Vec::new() }
}
