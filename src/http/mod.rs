//! The HTTP interface: what Cinder, operators and our own command line see.
//!
//! Handlers translate and decide nothing about data: a request becomes a call on [`Transfers`], its result becomes an
//! answer, and errors become problems in one place. Everything that can be refused is refused before a byte of a body
//! is read, because the caller may be about to send a terabyte. What must not die with its request (a commit, a
//! deletion) runs on the drain's tracker.

mod answers;
mod audit;
pub mod auth;
mod body;
mod caller;
mod chain;
mod check;
mod coding;
mod delete;
mod get;
mod headers;
mod names;
mod observe;
mod openapi;
mod plan;
mod problem;
mod put;
mod range;
mod ready;
mod repair;
mod resumable;
mod server;
mod sites;
#[cfg(test)]
mod tests;
mod ticket;
mod tree;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post, put};

use crate::cluster::Cluster;
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::tls::Live;
use crate::transfer::Transfers;
pub use audit::{Audit, AuditError};
pub use auth::Authority;
use body::Upstream;
pub use problem::{Kind, Problem};

/// What the handlers share.
pub struct Gateway {
    pub transfers: Arc<Transfers>,
    /// Which gateways there are.
    pub cluster: Cluster,
    pub authority: Arc<Authority>,
    pub audit: Audit,
    pub drain: Drain,
    pub metrics: Arc<Metrics>,
    /// What callers verify at this gateway's address.
    pub certificate: Live,
    /// How long a body may be silent.
    pub idle_timeout: Duration,
    /// Why the gateway cannot take transfers, such as a failing store; `None` when it can.
    pub fault: Box<dyn Fn() -> Option<String> + Send + Sync>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Gateway").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway that stops takes nothing new, so that what runs can end.
    fn refuse_when_stopping(&self) -> Result<(), Problem> {
        match self.drain.is_stopping() {
            true => Err(crate::transfer::TransferError::Stopping.into()),
            false => Ok(()),
        }
    }

    /// The body of a PUT, of which `declared` bytes shall come.
    fn upstream(&self, body: Body, headers: &HeaderMap, declared: Option<u64>) -> Upstream {
        Upstream::new(body, headers, declared, self.idle_timeout, self.drain.clone())
    }
}

/// Paths as the OpenAPI document has them, with their handlers.
fn routes() -> [(&'static str, MethodRouter<Arc<Gateway>>); 14] {
    [
        ("/server", get(server::server)),
        ("/v1/volumes/{volume}/snapshots", get(chain::chain).put(chain::put)),
        ("/v1/volumes/{volume}/snapshots/{snapshot}", snapshot()),
        ("/v1/volumes/{volume}/snapshots/{snapshot}/uploads", get(resumable::list)),
        ("/v1/volumes/{volume}/snapshots/{snapshot}/uploads/{upload}", upload()),
        ("/v1/volumes/{volume}/snapshots/{snapshot}/plan", post(plan::plan)),
        ("/v1/volumes/{volume}/snapshots/{snapshot}/tree", get(tree::tree)),
        ("/v1/volumes/{volume}/snapshots/{snapshot}/check", get(check::check)),
        ("/v1/volumes/{volume}/snapshots/{snapshot}/repair", post(repair::repair)),
        ("/v1/servers", get(server::servers)),
        ("/v1/sites/{name}", get(sites::site)),
        (ready::PATH, get(ready::ready)),
        ("/openapi.json", get(openapi::document)),
        ("/", get(openapi::pointer)),
    ]
}

fn snapshot() -> MethodRouter<Arc<Gateway>> {
    let methods = put(put::put).get(get::get).delete(delete::delete).post(resumable::create).options(resumable::offer);
    methods.layer(from_fn(resumable::answer))
}

fn upload() -> MethodRouter<Arc<Gateway>> {
    let methods = get(resumable::state).head(resumable::look).patch(resumable::append).delete(resumable::cancel);
    methods.post(resumable::overridden).layer(from_fn(resumable::answer))
}

/// The whole interface.
pub fn router(gateway: Gateway) -> Router {
    let gateway = Arc::new(gateway);
    let routed = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    routed
        .fallback(|| async { Problem::new(Kind::NoPath, "GET /openapi.json lists the paths") })
        .method_not_allowed_fallback(|| async { Problem::new(Kind::Method, "GET /openapi.json lists the methods") })
        .layer(from_fn_with_state(Arc::clone(&gateway), observe::observe))
        .with_state(gateway)
}
