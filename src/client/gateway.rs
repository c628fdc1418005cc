//! The calls of the gateway's interface.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, StatusCode};
use serde::Serialize;
use tokio::net::TcpStream;

use super::answer::Answer;
use super::body::UploadBody;
use super::connection::exchange;
use super::kept::Connections;
use super::{ClientError, Endpoint, Limits, Rate, Trust};
use crate::api::{
    ChainAnswer, PlanAnswer, PlanRequest, ServerAnswer, ServersAnswer, SiteAnswer, SnapshotAnswer, UploadsAnswer,
};
use crate::coding::ZSTD;
use crate::id::{SiteName, SnapshotId, VolumeId};

/// A gateway, or several of one site of which any will do, and the permission to talk to it.
#[derive(Clone)]
pub struct Gateway {
    endpoints: Arc<[Endpoint]>,
    trust: Trust,
    /// `None`: the certificate that we show says who we are.
    authorization: Option<Arc<HeaderValue>>,
    limits: Limits,
    rate: Rate,
    connections: Connections,
    /// Its `ip:port`, when the permission is a ticket for it that somebody else asked for.
    granted: Option<String>,
    /// One of its answers has said so.
    takes_zstd: Arc<AtomicBool>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gateway").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// What a ticket is asked for.
#[derive(Debug, Clone)]
pub struct Permission {
    pub volume: VolumeId,
    /// One, or for a chain all that it brings, oldest first.
    pub snapshots: Vec<SnapshotId>,
    /// Bytes of the largest image.
    pub size: u64,
}

/// The gateway for one transfer, authorised by a ticket.
#[derive(Debug, Clone)]
pub struct Ticketed {
    pub gateway: Gateway,
    /// Its `ip:port`.
    pub server: String,
}

impl Gateway {
    /// `token` is shown to this gateway as a bearer token; without one, what `trust` shows must be enough.
    pub fn new(endpoint: Endpoint, trust: Trust, token: Option<&str>, limits: Limits) -> Result<Self, ClientError> {
        Self::any_of(vec![endpoint], trust, token, limits)
    }

    /// The gateways are asked in this order, until one takes the question.
    pub fn any_of(
        endpoints: Vec<Endpoint>,
        trust: Trust,
        token: Option<&str>,
        limits: Limits,
    ) -> Result<Self, ClientError> {
        let authorization = token.map(bearer).transpose()?.map(Arc::new);
        Ok(Self {
            endpoints: endpoints.into(),
            trust,
            authorization,
            limits,
            rate: Rate::default(),
            connections: Connections::default(),
            granted: None,
            takes_zstd: Arc::default(),
        })
    }

    /// The gateway that an answer of `GET /server` names, with the ticket in it: somebody with an account at that site
    /// has asked, and whoever sends has none.
    pub fn granted(answer: &ServerAnswer, trust: Trust, limits: Limits) -> Result<Self, ClientError> {
        let ticket = answer.ticket.as_deref().ok_or_else(|| ClientError::Protocol("it has no ticket".to_owned()))?;
        let gateway = Self::new(Endpoint::answered(answer)?, trust.showing_none(), Some(ticket), limits)?;
        Ok(Self { granted: Some(answer.server.clone()), ..gateway })
    }

    /// The address that it was given by, or the first one.
    #[must_use]
    pub fn name(&self) -> String {
        self.endpoints.first().map(Endpoint::authority).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Whether it takes packed bodies, as far as is known.
    pub(super) fn takes_zstd(&self) -> bool {
        self.takes_zstd.load(Ordering::Relaxed)
    }

    /// The same, with all connections together not faster than this.
    #[must_use]
    pub fn limited(self, rate: Rate) -> Self {
        // What was kept has the other rate.
        Self { rate, connections: Connections::default(), ..self }
    }

    /// All gateways of the site, as this one knows them.
    pub async fn servers(&self) -> Result<ServersAnswer, ClientError> {
        self.get("/v1/servers", HeaderMap::new()).await?.json().await
    }

    /// `GET /server` with a wish: the gateway to talk to and a ticket for it.
    pub async fn ticket(&self, wish: &Permission) -> Result<Ticketed, ClientError> {
        if let Some(server) = &self.granted {
            return Ok(Ticketed { gateway: self.clone(), server: server.clone() });
        }
        let snapshots: Vec<_> = wish.snapshots.iter().map(SnapshotId::as_str).collect();
        let path = format!("/server?volume={}&snapshot={}&size={}", wish.volume, snapshots.join(","), wish.size);
        let answer: ServerAnswer = self.get(&path, HeaderMap::new()).await?.json().await?;
        let gateway = Self::granted(&answer, self.trust.clone(), self.limits)?.limited(self.rate.clone());
        Ok(Ticketed { gateway, server: answer.server })
    }

    pub async fn plan(
        &self,
        volume: &VolumeId,
        snapshot: &SnapshotId,
        request: &PlanRequest,
    ) -> Result<PlanAnswer, ClientError> {
        let path = format!("{}/plan", snapshot_path(volume, snapshot));
        self.post(&path, request).await?.json().await
    }

    pub async fn chain(&self, volume: &VolumeId) -> Result<ChainAnswer, ClientError> {
        self.get(&collection_path(volume), HeaderMap::new()).await?.json().await
    }

    /// What the gateway says of one snapshot.
    pub async fn find(&self, volume: &VolumeId, snapshot: &SnapshotId) -> Result<SnapshotAnswer, ClientError> {
        let chain = self.chain(volume).await?;
        let held: Vec<_> = chain.snapshots.iter().map(|snapshot| snapshot.snapshot.clone()).collect();
        chain.snapshots.into_iter().find(|one| one.snapshot == snapshot.as_str()).ok_or_else(|| {
            let held = if held.is_empty() { "no snapshot of it".to_owned() } else { held.join(", ") };
            ClientError::Missing(format!("the gateway has no snapshot {snapshot} of volume {volume}; it has {held}"))
        })
    }

    pub async fn site(&self, name: &SiteName) -> Result<SiteAnswer, ClientError> {
        self.get(&format!("/v1/sites/{name}"), HeaderMap::new()).await?.json().await
    }

    pub async fn delete(&self, volume: &VolumeId, snapshot: &SnapshotId) -> Result<(), ClientError> {
        let path = snapshot_path(volume, snapshot);
        let answer = self.call(Method::DELETE, &path, HeaderMap::new(), Bytes::new()).await?;
        answer.success().await.map(drop)
    }

    /// The unfinished transfers of a snapshot; `None` from a gateway that knows of no such thing.
    pub async fn uploads(
        &self,
        volume: &VolumeId,
        snapshot: &SnapshotId,
    ) -> Result<Option<UploadsAnswer>, ClientError> {
        let path = format!("{}/uploads", snapshot_path(volume, snapshot));
        let answer = self.get(&path, HeaderMap::new()).await?;
        if is_unknown(answer.status()) { Ok(None) } else { answer.json().await.map(Some) }
    }

    /// Begins one; gives its path. `None`: the gateway wants one PUT.
    pub(super) async fn begin_upload(
        &self,
        volume: &VolumeId,
        snapshot: &SnapshotId,
        headers: HeaderMap,
    ) -> Result<Option<String>, ClientError> {
        let answer = self.call(Method::POST, &snapshot_path(volume, snapshot), headers, Bytes::new()).await?;
        if is_unknown(answer.status()) {
            return Ok(None);
        }
        let answer = answer.success().await?;
        match (answer.status(), answer.header(LOCATION.as_str())) {
            (StatusCode::CREATED, Some(path)) if path.starts_with('/') => Ok(Some(path.to_owned())),
            (StatusCode::OK, _) => Err(ClientError::Cut("the snapshot came there from elsewhere".to_owned())),
            _ => Err(ClientError::Protocol("it does not say where the upload is".to_owned())),
        }
    }

    /// Sends a piece.
    pub(super) async fn patch(&self, path: &str, headers: HeaderMap, body: UploadBody) -> Result<Answer, ClientError> {
        let endpoint = self.endpoints.first().ok_or_else(nobody)?;
        self.ask(endpoint, (Method::PATCH, path), headers, body).await
    }

    /// Asks for the commit of what is there.
    pub(super) async fn complete_upload(&self, path: &str, headers: HeaderMap) -> Result<SnapshotAnswer, ClientError> {
        self.call(Method::PATCH, path, headers, Bytes::new()).await?.json().await
    }

    pub async fn cancel_upload(&self, path: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, path, HeaderMap::new(), Bytes::new()).await?.success().await.map(drop)
    }

    /// How long a connection to this gateway takes to open; `None` when it does not.
    pub(super) async fn round_trip(&self) -> Option<Duration> {
        let (endpoint, start) = (self.endpoints.first()?, Instant::now());
        let opened = TcpStream::connect((endpoint.host(), endpoint.port()));
        tokio::time::timeout(self.limits.connect, opened).await.ok()?.ok()?;
        Some(start.elapsed())
    }

    pub(super) async fn get(&self, path: &str, headers: HeaderMap) -> Result<Answer, ClientError> {
        self.call(Method::GET, path, headers, Bytes::new()).await
    }

    async fn post(&self, path: &str, document: &impl Serialize) -> Result<Answer, ClientError> {
        let document = serde_json::to_vec(document).map_err(|fault| ClientError::Protocol(fault.to_string()))?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        self.call(Method::POST, path, headers, Bytes::from(document)).await
    }

    /// Sends a small body of this type.
    pub(super) async fn post_bytes(
        &self,
        path: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        self.call(Method::POST, path, headers, body).await
    }

    /// Sends a body, which can be sent once.
    pub(super) async fn put(&self, path: &str, headers: HeaderMap, body: UploadBody) -> Result<Answer, ClientError> {
        let endpoint = self.endpoints.first().ok_or_else(nobody)?;
        self.ask(endpoint, (Method::PUT, path), headers, body).await
    }

    /// Asks one after the other, as long as a gateway is not there or takes nothing now.
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        document: Bytes,
    ) -> Result<Answer, ClientError> {
        let mut answer = Err(nobody());
        for endpoint in self.endpoints.iter() {
            let body = UploadBody::small(document.clone());
            answer = self.ask(endpoint, (method.clone(), path), headers.clone(), body).await;
            match &answer {
                Err(ClientError::Connect { .. }) => {}
                Ok(refusal) if refusal.status() == StatusCode::SERVICE_UNAVAILABLE => {}
                _ => break,
            }
        }
        answer
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        (method, path): (Method, &str),
        headers: HeaderMap,
        body: UploadBody,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|fault| ClientError::Usage(format!("{path}: {fault}")))?;
        *request.headers_mut() = headers;
        let host =
            HeaderValue::from_str(&endpoint.authority()).map_err(|fault| ClientError::Usage(fault.to_string()))?;
        request.headers_mut().insert(HOST, host);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::clone(authorization));
        }
        let answer =
            exchange(endpoint, &self.trust, self.limits, (&self.connections, self.rate.gate()), request).await?;
        let takes = answer.header(ACCEPT_ENCODING.as_str()).is_some_and(names_zstd);
        self.takes_zstd.fetch_or(takes, Ordering::Relaxed);
        Ok(answer)
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| ClientError::Usage("the token has characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether zstd is among the codings that an answer accepts.
fn names_zstd(codings: &str) -> bool {
    let mut names = codings.split(',').map(|coding| coding.split(';').next().unwrap_or_default().trim());
    names.any(|name| name.eq_ignore_ascii_case(ZSTD))
}

/// Whether a gateway, or the storage behind it, has no uploads.
fn is_unknown(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

fn nobody() -> ClientError {
    ClientError::Usage("no gateway is named".to_owned())
}

pub(super) fn collection_path(volume: &VolumeId) -> String {
    format!("/v1/volumes/{volume}/snapshots")
}

pub(super) fn snapshot_path(volume: &VolumeId, snapshot: &SnapshotId) -> String {
    format!("/v1/volumes/{volume}/snapshots/{snapshot}")
}
