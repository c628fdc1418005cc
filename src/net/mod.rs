//! The listener that strangers reach: TCP, TLS, and HTTP/1.1 or HTTP/2 as ALPN says.
//!
//! The accept loop does nothing that a peer can delay: a handshake runs in the connection's own task, with a
//! timeout. Places are limited, and when they run out a newcomer takes the place of the connection that has been
//! silent longest without a single request; a thousand silent peers cost a thousand sockets and nobody's transfer.
//! Guessing the protocol from the first bytes was refused: ALPN has settled it, and the guess costs a read.

mod activity;
mod advertise;
mod connection;
mod gather;
mod linger;
mod opening;
mod service;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::accept::Acceptor;
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::quantity::{Bytes, Seconds};
use crate::tls::Live;
use connection::Server;
use opening::Opening;

/// The `[listen]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen; port 0 takes any that is free.
    pub address: SocketAddr,
    /// The address that callers are told to send to; by default told from `address` or the way out of this machine.
    pub advertise: Option<SocketAddr>,
    /// The name to verify in the certificate; by default the first DNS name in it.
    pub tls_name: Option<String>,
    /// How long a TLS handshake and the headers of a request may take, each.
    pub header_timeout: Seconds,
    /// How long a connection or a body may be silent.
    pub idle_timeout: Seconds,
    /// Largest size of a request's headers.
    pub header_bytes: Bytes,
    /// Most connections at a time.
    pub connections: usize,
    /// When the gateway stops: how long it says "not ready" before it stops listening.
    pub drain_notice: Seconds,
    /// When the gateway stops: how long running transfers may go on.
    pub drain_timeout: Seconds,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([0, 0, 0, 0], 8443)),
            advertise: None,
            tls_name: None,
            header_timeout: Seconds::new(10),
            idle_timeout: Seconds::new(60),
            header_bytes: Bytes::kib(32),
            connections: 1024,
            drain_notice: Seconds::new(1),
            drain_timeout: Seconds::new(600),
        }
    }
}

/// Smallest `listen.header_bytes`: a ticket and the usual headers must fit.
const HEADER_BYTES_MIN: Bytes = Bytes::kib(8);
/// Largest `listen.header_bytes`: each connection may hold that much before anyone has checked who it is.
const HEADER_BYTES_MAX: Bytes = Bytes::kib(512);

impl Config {
    /// Pushes a text for each fault.
    pub fn validate(&self, faults: &mut Vec<String>) {
        for (name, time) in [("header_timeout", self.header_timeout), ("idle_timeout", self.idle_timeout)] {
            if time.0 < Duration::from_secs(1) {
                faults.push(format!("listen.{name}: must be at least 1s"));
            }
        }
        if !(HEADER_BYTES_MIN..=HEADER_BYTES_MAX).contains(&self.header_bytes) {
            faults.push(format!("listen.header_bytes: must be from {HEADER_BYTES_MIN} to {HEADER_BYTES_MAX}"));
        }
        if self.connections == 0 || self.connections > Semaphore::MAX_PERMITS {
            faults.push("listen.connections: must be at least 1".to_owned());
        }
        if self.advertise.is_some_and(|address| address.ip().is_unspecified() || address.port() == 0) {
            faults.push("listen.advertise: must be an address and port that callers can reach".to_owned());
        }
    }

    /// The address that callers are told, without its port: known before the listener is bound, for the certificate.
    pub fn advertised_ip(&self) -> Result<IpAddr, NetError> {
        match self.advertise {
            Some(address) => Ok(address.ip()),
            None if !self.address.ip().is_unspecified() => Ok(self.address.ip()),
            None => advertise::way_out(self.address.is_ipv4()).ok_or(NetError::Advertise),
        }
    }
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("could not listen on {address} (listen.address): {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("this machine has no way out that would tell its address: set listen.advertise = \"ip:port\"")]
    Advertise,
}

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
struct Limits {
    header_timeout: Duration,
    idle_timeout: Duration,
    header_bytes: usize,
}

/// A bound socket, ready to serve.
#[derive(Debug)]
pub struct Listener {
    acceptor: Acceptor,
    places: Arc<Semaphore>,
    limits: Limits,
    certificate: Live,
    metrics: Arc<Metrics>,
    address: SocketAddr,
    advertised: SocketAddr,
}

impl Listener {
    /// Takes the port.
    pub async fn bind(config: &Config, certificate: Live, metrics: Arc<Metrics>) -> Result<Self, NetError> {
        let bound = |source| NetError::Bind { address: config.address, source };
        let socket = TcpListener::bind(config.address).await.map_err(bound)?;
        let address = socket.local_addr().map_err(bound)?;
        let advertised = match config.advertise {
            Some(address) => address,
            None => SocketAddr::new(config.advertised_ip()?, address.port()),
        };
        Ok(Self {
            acceptor: Acceptor::new(socket),
            places: Arc::new(Semaphore::new(config.connections)),
            limits: Limits {
                header_timeout: config.header_timeout.0,
                idle_timeout: config.idle_timeout.0,
                header_bytes: usize::try_from(config.header_bytes.0).unwrap_or(usize::MAX),
            },
            certificate,
            metrics,
            address,
            advertised,
        })
    }

    /// The address that the socket has.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that callers are told to send to.
    #[must_use]
    pub fn advertised(&self) -> SocketAddr {
        self.advertised
    }

    /// Serves until the drain closes; connections that are open then go on, on the drain's tracker.
    pub async fn serve(mut self, router: Router, drain: Drain) {
        let opening = Arc::new(Opening::default());
        let server = Arc::new(Server {
            certificate: self.certificate.clone(),
            router,
            limits: self.limits,
            drain: drain.clone(),
            metrics: Arc::clone(&self.metrics),
        });
        tokio::select! {
            () = drain.closing() => {}
            () = self.accept_for_ever(&server, &opening) => {}
        }
    }

    async fn accept_for_ever(&mut self, server: &Arc<Server>, opening: &Arc<Opening>) {
        loop {
            let (stream, peer) = self.acceptor.next().await;
            let place = self.place(opening).await;
            let entry = opening.enter();
            let server = Arc::clone(server);
            let tracker = server.drain.clone();
            drop(tracker.spawn(async move {
                server.serve(stream, peer, entry).await;
                drop(place);
            }));
        }
    }

    /// A place for one connection. When none is free, the oldest that has not asked for anything gives up its own.
    async fn place(&self, opening: &Opening) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        if opening.evict_oldest() {
            self.metrics.connection_lost(crate::metrics::Lost::Evicted);
        }
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}
