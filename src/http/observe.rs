//! What every request leaves behind: an id, a span, a log line, a count.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::Gateway;
use super::audit::Origin;
use super::problem::{Kind, Reported};
use super::ready;
use crate::accept::Peer;
use crate::secret::random_text;

/// Response header: the request's id in the gateway's log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn observe(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let id = random_text(9);
    let peer = request.extensions().get::<Peer>().copied();
    let span = span(&id, peer, &request);
    let method = label(request.method());
    let is_probe = request.uri().path() == ready::PATH;
    request.extensions_mut().insert(Origin { peer, request: id.clone() });
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| report(&response, start, is_probe));
    gateway.metrics.responded(method, response.status().as_u16());
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The query stays out of the log: it is long, and what matters of it is logged by name.
fn span(id: &str, peer: Option<Peer>, request: &Request) -> Span {
    let peer = peer.map(|Peer(address)| tracing::field::display(address));
    let (method, path) = (request.method(), request.uri().path());
    tracing::info_span!("request", id, peer, %method, path, volume = Empty, snapshot = Empty, principal = Empty)
}

/// Probes come every few seconds from each balancer, and what they find is told where it begins.
fn report(response: &Response, start: Instant, is_probe: bool) {
    let (status, seconds) = (response.status().as_u16(), start.elapsed().as_secs_f64());
    match response.extensions().get::<Reported>() {
        None if is_probe => tracing::debug!(status, seconds, "answer a probe"),
        None => tracing::info!(status, seconds, "answer"),
        Some(Reported { kind, text }) if needs_a_human(*kind) => {
            tracing::error!(status, seconds, problem = kind.name(), text, "answer with a problem");
        }
        Some(Reported { kind, text }) => {
            tracing::info!(status, seconds, problem = kind.name(), text, "answer with a problem");
        }
    }
}

fn needs_a_human(kind: Kind) -> bool {
    matches!(kind, Kind::Internal | Kind::Storage | Kind::Damaged | Kind::Full | Kind::PluginFailed)
}

/// One of a fixed set, for counters.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
