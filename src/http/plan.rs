//! `POST /v1/volumes/{volume}/snapshots/{snapshot}/plan`: what to send.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::Gateway;
use super::auth::Action;
use super::caller::Caller;
use super::coding::accepted;
use super::headers::media_type;
use super::names::Target;
use super::problem::{Kind, Problem};
use crate::api::{self, PlanAnswer, PlanRequest};

/// Largest plan request, in bytes: a chain of some ten thousand snapshots.
const REQUEST_MAX: usize = 8 << 20;

/// Plan a transfer
///
/// Tells what to send for one wanted snapshot: nothing, all of it, or the changes since a base that both sides have.
#[utoipa::path(
    post,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/plan",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's id of the wanted snapshot"),
    ),
    request_body = PlanRequest,
    responses(
        (status = 200, description = "The plan, with its reason in words", body = PlanAnswer),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(super) async fn plan(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    target: Target,
    request: Request,
) -> Result<([(HeaderName, HeaderValue); 1], Json<PlanAnswer>), Problem> {
    let permission = caller.permit(Action::Plan(&target.volume, &target.snapshot))?;
    let (parts, body) = request.into_parts();
    require_json(&parts.headers)?;
    let wanted = tokio::time::timeout(gateway.idle_timeout, read(body)).await;
    let wanted = wanted.map_err(|_| Problem::new(Kind::Idle, "the request did not come to its end in time"))??;
    let sender = permission.sender.as_deref();
    let plan = gateway.transfers.plan(&target.volume, &target.snapshot, sender, &wanted).await?;
    Ok(([accepted()], Json(plan)))
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers)?.as_deref() {
        None | Some("application/json") => Ok(()),
        Some(_) => Err(Problem::new(Kind::MediaType, "send it with `Content-Type: application/json`")),
    }
}

async fn read(body: Body) -> Result<PlanRequest, Problem> {
    let body =
        Limited::new(body, REQUEST_MAX).collect().await.map_err(|error| match error.is::<LengthLimitError>() {
            true => Problem::new(Kind::TooLarge, format!("a plan request has at most {REQUEST_MAX} bytes")),
            false => Problem::new(Kind::Cut, error.to_string()),
        })?;
    let read = serde_json::from_slice(&body.to_bytes());
    read.map_err(|error| Problem::new(Kind::BadRequest, format!("the plan request: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kind(body: impl Into<Body>) -> Kind {
        read(body.into()).await.unwrap_err().kind()
    }

    #[tokio::test]
    async fn a_request_is_read_strictly_and_bounded() {
        let good = "{\"wanted\":\"s2\",\"chain\":[{\"id\":\"s2\",\"size\":4096}]}";
        assert_eq!(read(Body::from(good)).await.unwrap().wanted, "s2");
        assert_eq!(kind("{\"wanted\":\"s2\"}").await, Kind::BadRequest);
        assert_eq!(kind("{\"wanted\":\"s2\",\"chain\":[],\"bases\":[]}").await, Kind::BadRequest);
        assert_eq!(kind("").await, Kind::BadRequest);
        assert_eq!(kind(vec![b' '; REQUEST_MAX + 1]).await, Kind::TooLarge);
    }
}
