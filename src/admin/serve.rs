//! The admin listener's connections.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Sources, pages};
use crate::accept::Acceptor;

/// Connections at a time: probes, a scraper and a person.
const CONNECTIONS: usize = 64;
/// How long the headers of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live: long enough for a scraper's keep-alive, short enough to free the places.
const LIFETIME: Duration = Duration::from_secs(300);

/// Serves for ever; without a usable socket, not at all.
pub(super) async fn serve(socket: std::net::TcpListener, sources: Sources) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "start the admin listener"),
    };
    let mut acceptor = Acceptor::new(listener);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let service = TowerToHyperService::new(pages::router(Arc::new(sources)));
    loop {
        let (stream, _) = acceptor.next().await;
        let place = Arc::clone(&places).acquire_owned().await;
        let service = service.clone();
        drop(tokio::spawn(async move {
            talk(stream, service).await;
            drop(place);
        }));
    }
}

async fn talk(stream: TcpStream, service: TowerToHyperService<axum::Router>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(LIFETIME, connection).await {
        tracing::debug!(%error, "serve an admin connection");
    }
}
