//! What stands between hyper and the router for each request of a connection.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::service::TowerToHyperService;

use super::activity::{Activity, Watched};
use super::linger::{Ended, Lingering};
use super::opening::Entry;
use crate::accept::Peer;
use crate::tls::ClientCertificate;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) router: TowerToHyperService<Router>,
    pub(super) peer: Peer,
    /// What the peer has shown of itself.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    pub(super) activity: Arc<Activity>,
    pub(super) entry: Arc<Entry>,
}

impl Requests {
    /// On HTTP/1, a connection is over after a request that was not read whole, and after one from a stranger, who
    /// would keep a place otherwise.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Watched>, hyper::Error> {
        self.entry.arrived();
        let handling = self.activity.handle();
        let (request, ended) = self.prepare(request);
        let mut response = match self.router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let stranger = response.status() == StatusCode::UNAUTHORIZED;
        if ended.is_some_and(|ended| stranger || !ended.get()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        drop(handling);
        Ok(response.map(|body| Watched { body, activity: Arc::clone(&self.activity) }))
    }

    /// Tells the router who asks; on HTTP/1, where it concerns the connection, gives whether the body has ended.
    fn prepare(&self, request: Request<Incoming>) -> (Request<Body>, Option<Ended>) {
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(self.peer);
        if let Some(certificate) = &self.certificate {
            parts.extensions.insert(Arc::clone(certificate));
        }
        let is_http1 = parts.version != Version::HTTP_2;
        let body = Lingering::new(incoming, is_http1 && parts.headers.contains_key(EXPECT));
        let ended = is_http1.then(|| body.ended());
        (Request::from_parts(parts, Body::new(body)), ended)
    }
}
