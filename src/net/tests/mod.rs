//! The listener over loopback, with real TLS.

mod client;
mod hostile;
mod stopping;

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, put};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;

use super::*;
use crate::tls;
use client::Client;

/// A listener on loopback that runs until the test ends.
struct Served {
    address: SocketAddr,
    drain: Drain,
    metrics: Arc<Metrics>,
    serving: JoinHandle<()>,
    renewal: tls::Renewal,
    data: tempfile::TempDir,
}

impl Served {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
        change(&mut config);
        let data = tempfile::tempdir().unwrap();
        let renewal = tls::Config::default().load(data.path(), config.advertised_ip().unwrap(), None).unwrap();
        let (drain, metrics) = (Drain::new(), Arc::new(Metrics::new()));
        let listener = Listener::bind(&config, renewal.live(), Arc::clone(&metrics)).await.unwrap();
        let address = listener.address();
        let serving = drain.spawn(listener.serve(router(), drain.clone()));
        Self { address, drain, metrics, serving, renewal, data }
    }

    async fn connect(&self) -> Client {
        Client::connect(self, b"http/1.1").await
    }
}

fn router() -> Router {
    Router::new()
        .route("/sink", put(sink))
        .route("/refuse", put(|| async { StatusCode::FORBIDDEN }))
        .route("/slow", get(slow))
        .route("/endless", get(|| async { Body::from_stream(stream::repeat_with(piece)) }))
        .route("/broken", get(|| async { Body::from_stream(broken()) }))
}

/// Answers with the number of bytes that came and the trailer that followed.
async fn sink(request: Request<Body>) -> axum::response::Response {
    let Ok(body) = request.into_body().collect().await else { return StatusCode::BAD_REQUEST.into_response() };
    let trailer = body.trailers().and_then(|trailers| trailers.get("proof")).cloned();
    let trailer = trailer.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    format!("{} {trailer}", body.to_bytes().len()).into_response()
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(600)).await;
    "done"
}

fn piece() -> Result<Bytes, Infallible> {
    Ok(Bytes::from(vec![7; 64 << 10]))
}

fn broken() -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    let good = stream::repeat_with(|| Ok(Bytes::from_static(b"good"))).take(3);
    good.chain(stream::once(async { Err(std::io::Error::other("the disk is gone")) }))
}

#[tokio::test]
async fn both_protocols_and_both_versions_of_tls_are_served() {
    let served = Served::start(|_| {}).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (alpn, expected) in [(b"h2".as_slice(), "h2"), (b"http/1.1", "http/1.1")] {
            let answer = client::put(&served, alpn, version, "/sink", vec![1; 3 << 20]).await.unwrap();
            assert_eq!((answer.0.as_u16(), answer.1.as_str()), (200, "3145728 "), "{expected}");
        }
    }
}

#[tokio::test]
async fn the_certificate_is_the_one_that_is_told() {
    let served = Served::start(|_| {}).await;
    let client = served.connect().await;
    assert_eq!(client.certificate_sha256(), served.renewal.live().now().sha256);
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_the_old_ones_go_on() {
    let mut served = Served::start(|_| {}).await;
    let mut before = served.connect().await;
    let old = before.certificate_sha256();
    before.send("PUT /sink HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await;
    for file in ["certificate.pem", "certificate.key"] {
        std::fs::remove_file(served.data.path().join(file)).unwrap();
    }
    let other = tls::Config::default().load(served.data.path(), [127, 0, 0, 1].into(), None).unwrap();
    let new = served.renewal.reload().unwrap().sha256.clone();
    assert_eq!(new, other.live().now().sha256);
    assert_eq!(served.connect().await.certificate_sha256(), new);
    before.send("def").await;
    assert!(before.response().await.ends_with("6 "), "{}", before.last());
    assert_ne!(old, new);
}

#[tokio::test]
async fn a_trailer_arrives() {
    let served = Served::start(|_| {}).await;
    let mut client = served.connect().await;
    client.send("PUT /sink HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntrailer: proof\r\n\r\n").await;
    client.send("3\r\nabc\r\n0\r\nproof: whole\r\n\r\n").await;
    assert!(client.response().await.ends_with("3 whole"), "{}", client.last());
}

#[tokio::test]
async fn a_broken_stream_is_never_a_clean_end() {
    let served = Served::start(|_| {}).await;
    let mut client = served.connect().await;
    client.send("GET /broken HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let text = client.until_closed().await;
    assert!(!text.ends_with("0\r\n\r\n"), "{text:?}");
    assert!(client::get(&served, b"h2", "/broken").await.is_err());
}

#[test]
fn faults_are_told_in_the_words_of_the_file() {
    let config: Config = toml::from_str("header_bytes = 1\nconnections = 0\nidle_timeout = \"0s\"").unwrap();
    let mut faults = Vec::new();
    config.validate(&mut faults);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.starts_with("listen.")));
    assert!(toml::from_str::<Config>("adress = \"0.0.0.0:1\"").is_err());
    let mut none = Vec::new();
    Config::default().validate(&mut none);
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn the_address_is_told_from_the_configuration_where_it_can_be() {
    let config = |text| toml::from_str::<Config>(text).unwrap();
    let told = config("address = \"127.0.0.1:1\"").advertised_ip().unwrap();
    assert!(told.is_loopback());
    let told = config("advertise = \"192.0.2.7:99\"").advertised_ip().unwrap();
    assert_eq!(told, IpAddr::from([192, 0, 2, 7]));
    if let Ok(told) = config("").advertised_ip() {
        assert!(!told.is_loopback() && !told.is_unspecified());
    }
}
