//! Callers: one that writes bytes by hand, and one that speaks HTTP properly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Served;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) type Answer = Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>>;

/// Writes and reads bytes.
pub(super) struct Client {
    stream: TlsStream<TcpStream>,
    last: String,
}

impl Client {
    pub(super) async fn connect(served: &Served, alpn: &[u8]) -> Self {
        let stream = connect(served, alpn, rustls::ALL_VERSIONS).await;
        Self { stream, last: String::new() }
    }

    pub(super) fn certificate_sha256(&self) -> String {
        crate::tls::fingerprint(&self.stream.get_ref().1.peer_certificates().unwrap()[0])
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.try_send(text.as_bytes()).await.unwrap();
    }

    pub(super) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads what comes in one go.
    pub(super) async fn response(&mut self) -> &str {
        let mut buffer = vec![0; 64 << 10];
        let length = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await.unwrap().unwrap_or(0);
        self.last = String::from_utf8_lossy(&buffer[..length]).into_owned();
        &self.last
    }

    pub(super) fn last(&self) -> &str {
        &self.last
    }

    /// Reads until the other side closes, cleanly or not.
    pub(super) async fn until_closed(&mut self) -> String {
        let mut all = Vec::new();
        let reading = self.stream.read_to_end(&mut all);
        let _clean_or_not = tokio::time::timeout(PATIENCE, reading).await.expect("the connection stays open");
        String::from_utf8_lossy(&all).into_owned()
    }
}

async fn connect(served: &Served, alpn: &[u8], versions: &[&'static SupportedProtocolVersion]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let identity = served.renewal.live().now();
    let certificate = rustls::pki_types::CertificateDer::from_pem_file(&identity.certificate).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from(identity.name.clone()).unwrap();
    let stream = TcpStream::connect(served.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

pub(super) async fn put(
    served: &Served,
    alpn: &[u8],
    version: &'static SupportedProtocolVersion,
    path: &str,
    body: Vec<u8>,
) -> Answer {
    ask(connect(served, alpn, &[version]).await, Method::PUT, path, body).await
}

/// Sends without end over HTTP/2; gives the status and the count of bytes that were taken.
pub(super) async fn put_endless(served: &Served, path: &str) -> (StatusCode, Arc<AtomicUsize>) {
    let stream = connect(served, b"h2", rustls::ALL_VERSIONS).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let pieces = futures_util::stream::repeat_with(move || {
        count.fetch_add(64 << 10, Ordering::SeqCst);
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![0; 64 << 10])))
    });
    let request = Request::put(format!("https://localhost{path}")).body(StreamBody::new(pieces)).unwrap();
    (sender.send_request(request).await.unwrap().status(), sent)
}

pub(super) async fn get(served: &Served, alpn: &[u8], path: &str) -> Answer {
    ask(connect(served, alpn, rustls::ALL_VERSIONS).await, Method::GET, path, Vec::new()).await
}

async fn ask(stream: TlsStream<TcpStream>, method: Method, path: &str, body: Vec<u8>) -> Answer {
    let request = Request::builder().method(method).uri(format!("https://localhost{path}"));
    let request = request.body(Full::new(Bytes::from(body)))?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let response = if is_http2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        drop(tokio::spawn(connection));
        sender.send_request(request).await?
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        drop(tokio::spawn(connection));
        sender.send_request(request).await?
    };
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
