//! A server for tests of what asks others: real TLS and HTTP, and handlers that the test brings.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What a server of a test proves itself with, made for it.
pub(crate) struct Identity {
    /// PEM.
    pub(crate) certificate: tempfile::NamedTempFile,
    /// The same in DER.
    pub(crate) encoded: Vec<u8>,
    pub(crate) acceptor: TlsAcceptor,
}

impl Identity {
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(certificate.path(), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        Self { certificate, encoded: made.cert.der().to_vec(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// PEM: what proves the server.
    pub(crate) certificate: tempfile::NamedTempFile,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    /// On a free port of the loopback address, until it is dropped.
    pub(crate) async fn start(router: Router) -> Self {
        let Identity { certificate, acceptor, .. } = Identity::new(&["127.0.0.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, acceptor, router));
        Self { address, certificate, _serving: AbortOnDropHandle::new(serving) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    // They end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let _ended = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
