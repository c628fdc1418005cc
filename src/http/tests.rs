//! The router as a stranger meets it: what is refused before anything is done.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::api;
use crate::id::{SiteName, VolumeId};
use crate::plugin::{
    Destination, Location, Plan, PluginError, Policy, PolicyRequest, Resolver, Site, Slot, TransferDescription, Writer,
};
use crate::transfer::{Config, Parts};

const OPERATOR: &str = "operator-token-of-enough-length";
const CINDER: &str = "cinder-token-of-enough-length";

/// The header lines of a request.
pub(super) fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
    lines.iter().map(parse).collect()
}

/// Plugins that have nothing to say: these tests end before anyone asks them.
struct Mute;

fn nothing<T>() -> Result<T, PluginError> {
    Err(PluginError::Unavailable { plugin: "mute".to_owned(), detail: "it has nothing to say".to_owned() })
}

#[async_trait::async_trait]
impl Writer for Mute {
    fn name(&self) -> &str {
        "mute"
    }
    async fn locate(&self, _volume: &VolumeId) -> Result<Location, PluginError> {
        nothing()
    }
    async fn begin(&self, _transfer: &TransferDescription) -> Result<Destination, PluginError> {
        nothing()
    }
}

#[async_trait::async_trait]
impl Policy for Mute {
    fn name(&self) -> &str {
        "mute"
    }
    async fn decide(&self, _request: &PolicyRequest) -> Result<Plan, PluginError> {
        nothing()
    }
}

#[async_trait::async_trait]
impl Resolver for Mute {
    fn name(&self) -> &str {
        "mute"
    }
    async fn resolve(&self, _name: &SiteName) -> Result<Option<Site>, PluginError> {
        nothing()
    }
}

/// The transfers of a gateway that is not asked to do any.
fn transfers() -> Arc<Transfers> {
    let parts = Parts {
        metrics: Arc::new(Metrics::new()),
        load: crate::cluster::load(None),
        writer: Slot::new(Arc::new(Mute)),
        policy: Slot::new(Arc::new(Mute)),
        resolver: Slot::new(Arc::new(Mute)),
        stores: std::collections::HashMap::new(),
        pool: crate::buffer::BufferPool::new(4),
    };
    Arc::new(Transfers::new(parts, &Config::default()))
}

/// A store fails as long as there is a file that says so.
fn fault(data: &tempfile::TempDir) -> Box<dyn Fn() -> Option<String> + Send + Sync> {
    let path = data.path().join("fault");
    Box::new(move || std::fs::read_to_string(&path).ok())
}

struct Fixture {
    transfers: Arc<Transfers>,
    router: TowerToHyperService<Router>,
    drain: Drain,
    metrics: Arc<Metrics>,
    ticket: String,
    data: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let authority = auth::tests::authority(data.path());
        let snapshots = vec!["s1".parse().unwrap()];
        let wanted = auth::Wanted { project: None, volume: "v1".parse().unwrap(), snapshots, size: 4096, holder: None };
        let (ticket, _) = authority.mint(wanted, std::time::SystemTime::now()).unwrap();
        let (drain, metrics, transfers) = (Drain::new(), Arc::new(Metrics::new()), transfers());
        let gateway = Gateway {
            transfers: Arc::clone(&transfers),
            authority: Arc::new(authority),
            audit: Audit::open(&data.path().join("audit.log")).unwrap(),
            drain: drain.clone(),
            metrics: Arc::clone(&metrics),
            cluster: Cluster::alone("192.0.2.1:8443".parse().unwrap(), crate::cluster::load(None)),
            certificate: crate::tls::Config::default()
                .load(data.path(), [192, 0, 2, 1].into(), Some("gw1"))
                .unwrap()
                .live(),
            idle_timeout: Duration::from_secs(60),
            fault: fault(&data),
        };
        Self { transfers, router: TowerToHyperService::new(router(gateway)), drain, metrics, ticket, data }
    }

    /// Status, kind of the problem, and whether the body was touched.
    async fn ask(&self, method: Method, path: &str, bearer: &str, headers: &[(&str, &str)]) -> (u16, String, bool) {
        let touched = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = Arc::clone(&touched);
        let body = futures_util::stream::poll_fn(move |_| {
            seen.store(true, std::sync::atomic::Ordering::SeqCst);
            std::task::Poll::Ready(None::<Result<bytes::Bytes, std::io::Error>>)
        });
        let mut request = Request::builder().method(method).uri(path);
        if !bearer.is_empty() {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.call(request.body(Body::from_stream(body)).unwrap()).await.unwrap();
        assert!(response.headers().contains_key("x-request-id"));
        let status = response.status().as_u16();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let kind = serde_json::from_slice(&text).map(|problem: api::Problem| problem.kind).unwrap_or_default();
        let kind = kind.trim_start_matches("urn:rsnap:problem:").to_owned();
        (status, kind, touched.load(std::sync::atomic::Ordering::SeqCst))
    }

    async fn refused(&self, method: Method, path: &str, bearer: &str, headers: &[(&str, &str)], kind: Kind) {
        let expected = (kind.status().as_u16(), kind.name().to_owned(), false);
        assert_eq!(self.ask(method.clone(), path, bearer, headers).await, expected, "{method} {path} {headers:?}");
    }
}

const SNAPSHOT: &str = "/v1/volumes/v1/snapshots/s1";

#[tokio::test]
async fn a_put_is_refused_before_its_body_is_read() {
    let fixture = Fixture::new();
    let ticket = fixture.ticket.clone();
    let refused = async |path, bearer: &str, headers: &[(&str, &str)], kind| {
        fixture.refused(Method::PUT, path, bearer, headers, kind).await;
    };
    refused(SNAPSHOT, "", &[], Kind::Unauthorized).await;
    refused(SNAPSHOT, "wrong", &[], Kind::BadToken).await;
    refused(SNAPSHOT, "a.b.c", &[], Kind::BadTicket).await;
    refused(SNAPSHOT, CINDER, &[], Kind::Forbidden).await;
    refused("/v1/volumes/v2/snapshots/s1", &ticket, &[], Kind::TicketScope).await;
    refused("/v1/volumes/v1/snapshots/s2", &ticket, &[], Kind::TicketScope).await;
    refused("/v1/volumes/v1/snapshots/..%2Fs1", OPERATOR, &[], Kind::BadName).await;
    refused("/v1/volumes/%00/snapshots/s1", OPERATOR, &[], Kind::BadName).await;
    refused(SNAPSHOT, OPERATOR, &[("content-range", "bytes 0-1/2")], Kind::ContentRange).await;
    refused(SNAPSHOT, OPERATOR, &[("content-type", "text/plain")], Kind::MediaType).await;
    refused(SNAPSHOT, OPERATOR, &[("content-encoding", "gzip")], Kind::Coding).await;
    refused(SNAPSHOT, OPERATOR, &[], Kind::LengthRequired).await;
    refused(SNAPSHOT, &ticket, &[("content-length", "4095")], Kind::Size).await;
    refused(SNAPSHOT, &ticket, &[("rsnap-content-root", "x")], Kind::BadDigest).await;
    refused(SNAPSHOT, &ticket, &[("content-digest", "sha-256=x")], Kind::BadDigest).await;
    let chain = "/v1/volumes/v1/snapshots";
    refused(chain, OPERATOR, &[], Kind::BadRequest).await;
    refused("/v1/volumes/v1/snapshots?snapshots=s1,s2", &ticket, &[], Kind::TicketScope).await;
    refused("/v1/volumes/v1/snapshots?snapshots=s1", &ticket, &[], Kind::MediaType).await;
}

#[tokio::test]
async fn a_stopping_gateway_takes_nothing_new() {
    let fixture = Fixture::new();
    fixture.drain.run(Duration::ZERO, Duration::ZERO).await;
    fixture.refused(Method::PUT, SNAPSHOT, &fixture.ticket, &[], Kind::Stopping).await;
    fixture.refused(Method::GET, "/server", OPERATOR, &[], Kind::Stopping).await;
}

#[tokio::test]
async fn a_balancer_is_told_whether_to_send_callers_here_and_not_why_not() {
    let fixture = Fixture::new();
    let probe = async || {
        let response = fixture.router.call(Request::get("/readyz").body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.to_vec()).unwrap())
    };
    assert_eq!(probe().await, (200, "ready\n".to_owned()));
    let fault = fixture.data.path().join("fault");
    std::fs::write(&fault, "store main: /srv/secret is gone").unwrap();
    assert_eq!(probe().await, (503, "not ready\n".to_owned()));
    std::fs::remove_file(&fault).unwrap();
    assert_eq!(probe().await.0, 200);
    fixture.drain.run(Duration::ZERO, Duration::ZERO).await;
    assert_eq!(probe().await.0, 503);
}

#[tokio::test]
async fn as_many_snapshots_are_read_as_the_buffers_are_for() {
    let fixture = Fixture::new();
    let mut permits: Vec<_> = (0..Config::default().reads).map(|_| fixture.transfers.admit_read().unwrap()).collect();
    fixture.refused(Method::GET, SNAPSHOT, OPERATOR, &[], Kind::Saturated).await;
    permits.pop();
    fixture.refused(Method::GET, SNAPSHOT, OPERATOR, &[], Kind::PluginUnavailable).await;
}

#[tokio::test]
async fn what_needs_an_account_is_not_for_tickets() {
    let fixture = Fixture::new();
    fixture.refused(Method::DELETE, SNAPSHOT, &fixture.ticket, &[], Kind::Forbidden).await;
    fixture.refused(Method::DELETE, SNAPSHOT, CINDER, &[], Kind::Forbidden).await;
    fixture.refused(Method::GET, "/server", &fixture.ticket, &[], Kind::Forbidden).await;
    fixture.refused(Method::GET, "/v1/sites/dc1", &fixture.ticket, &[], Kind::Forbidden).await;
    fixture.refused(Method::GET, SNAPSHOT, CINDER, &[], Kind::Forbidden).await;
    fixture.refused(Method::GET, "/v1/volumes/v2/snapshots", &fixture.ticket, &[], Kind::TicketScope).await;
}

#[tokio::test]
async fn queries_and_bodies_are_checked() {
    let fixture = Fixture::new();
    let diff = format!("{SNAPSHOT}?bse=s0");
    fixture.refused(Method::GET, &diff, OPERATOR, &[], Kind::BadRequest).await;
    fixture.refused(Method::GET, &format!("{SNAPSHOT}?base=s0"), OPERATOR, &[], Kind::BadRequest).await;
    fixture.refused(Method::GET, "/server?volume=v1", OPERATOR, &[], Kind::BadRequest).await;
    let plan = format!("{SNAPSHOT}/plan");
    fixture.refused(Method::POST, &plan, OPERATOR, &[("content-type", "text/plain")], Kind::MediaType).await;
    let empty = fixture.ask(Method::POST, &plan, OPERATOR, &[]).await;
    assert_eq!((empty.0, empty.1.as_str()), (400, "bad-request"));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_problems_too() {
    let fixture = Fixture::new();
    fixture.refused(Method::GET, "/v2/volumes", OPERATOR, &[], Kind::NoPath).await;
    fixture.refused(Method::POST, "/server", OPERATOR, &[], Kind::Method).await;
    let metrics = fixture.metrics.encode();
    assert!(metrics.contains("rsnap_http_responses_total{method=\"POST\",status=\"405\"} 1"), "{metrics}");
}

#[tokio::test]
async fn the_documented_methods_are_the_ones_that_are_there() {
    let fixture = Fixture::new();
    let document = fixture.router.call(Request::get("/openapi.json").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(document.status(), StatusCode::OK);
    let document = document.into_body().collect().await.unwrap().to_bytes();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{volume}", "v1").replace("{snapshot}", "s1").replace("{name}", "dc1");
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            let documented = operations.get(method.as_str().to_ascii_lowercase()).is_some();
            let (status, ..) = fixture.ask(method.clone(), &concrete, "", &[]).await;
            assert_eq!(status != 405, documented, "{method} {path} answers {status}");
        }
    }
}

#[tokio::test]
async fn a_caller_has_one_authorization() {
    let fixture = Fixture::new();
    let second = [("authorization", "Bearer other")];
    fixture.refused(Method::GET, "/server", OPERATOR, &second, Kind::BadRequest).await;
    assert_eq!(std::fs::read_to_string(fixture.data.path().join("audit.log")).unwrap(), "");
}
