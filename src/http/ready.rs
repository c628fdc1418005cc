//! `GET /readyz`: whether this gateway takes transfers, for the balancer before it.
//!
//! Open to all, on the listener that it is about: what answers is the way that callers take, with its certificate and
//! its places. The operator's listener has the same and more, and stays on loopback: a balancer that had to reach it
//! would reach the names of all volumes too. Why a gateway is not ready is therefore not told here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::Gateway;

/// Where it is asked.
pub(super) const PATH: &str = "/readyz";

/// Whether this gateway takes transfers
///
/// For balancers. 503 while it stops and while a store does not answer.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "It does"),
        (status = 503, description = "It does not: send no callers here"),
    )
)]
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> (StatusCode, &'static str) {
    match gateway.drain.is_stopping() || (gateway.fault)().is_some() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        false => (StatusCode::OK, "ready\n"),
    }
}
