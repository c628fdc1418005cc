//! One connection from its first byte to its last.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Limits;
use super::activity::Activity;
use super::gather::Gather;
use super::opening::Entry;
use super::service::Requests;
use crate::accept::Peer;
use crate::drain::Drain;
use crate::metrics::{Lost, Metrics};
use crate::tls::{ClientCertificate, Live};

/// Read ahead below TLS, in bytes. rustls asks the socket for 4 KiB at a time, five calls for each record; with this
/// between them one call fetches many records. Untouched pages of it cost nothing, so a silent peer does not either.
const READ_AHEAD: usize = 256 << 10;
/// Largest piece of a body that HTTP/1 reads or writes at once, in bytes.
const HTTP1_BUFFER: usize = 512 << 10;
/// HTTP/2 flow control, in bytes. A stream's window divided by the round trip is its speed: 4 MiB at 20 ms is 200 MB/s.
/// What is not read yet stays within the connection's window, and only admitted uploads are read late.
const HTTP2_STREAM_WINDOW: u32 = 4 << 20;
const HTTP2_CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest HTTP/2 frame that peers may send, in bytes: the default of 16 KiB costs a header for each TLS record.
const HTTP2_FRAME: u32 = 256 << 10;
/// Requests at a time on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 32;
/// After the deadline of a stop: how long a request that was broken off has for its answer, which tells the sender that
/// he may go on at another gateway.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A dead peer is noticed by this, although it owes us nothing.
const HTTP2_PING: Duration = Duration::from_secs(20);

type Stream = TlsStream<BufReader<TcpStream>>;

/// What all connections of a listener share.
pub(super) struct Server {
    pub(super) certificate: Live,
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) drain: Drain,
    pub(super) metrics: Arc<Metrics>,
}

impl Server {
    /// Serves one connection until it ends, by itself or because it has to.
    pub(super) async fn serve(&self, stream: TcpStream, peer: Peer, entry: Entry) {
        let _open = Open::new(&self.metrics);
        let entry = Arc::new(entry);
        tokio::select! {
            () = self.talk(stream, peer, Arc::clone(&entry)) => {}
            () = entry.evicted() => tracing::debug!(peer = %peer.0, "evict a silent connection"),
            () = self.severing() => tracing::info!(peer = %peer.0, "cut a connection that did not end in time"),
        }
    }

    /// Done when a connection must end, whatever it is doing.
    async fn severing(&self) {
        self.drain.cutting().await;
        tokio::time::sleep(LAST_WORDS).await;
    }

    async fn talk(&self, stream: TcpStream, peer: Peer, entry: Arc<Entry>) {
        let Some(stream) = self.handshake(stream, peer).await else { return };
        let activity = Activity::new(self.limits.header_timeout, self.limits.idle_timeout);
        let router = TowerToHyperService::new(self.router.clone());
        let clients = self.certificate.clients();
        let certificate = clients.and_then(|clients| ClientCertificate::of(stream.get_ref().1, clients)).map(Arc::new);
        let requests = Arc::new(Requests { router, peer, certificate, activity: Arc::clone(&activity), entry });
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let ended = match is_http2 {
            true => self.http2(stream, requests, &activity).await,
            false => self.http1(stream, requests, &activity).await,
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.0, error = &error as &dyn std::error::Error, "serve a connection");
        }
    }

    async fn handshake(&self, stream: TcpStream, peer: Peer) -> Option<Stream> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.certificate.now().server));
        let accepting = acceptor.accept(BufReader::with_capacity(READ_AHEAD, stream));
        let error = match tokio::time::timeout(self.limits.header_timeout, accepting).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error,
            Err(elapsed) => elapsed.into(),
        };
        self.metrics.connection_lost(Lost::Handshake);
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            // The caller is told no more than an alert.
            Some(fault @ rustls::Error::InvalidCertificate(_)) => {
                tracing::info!(peer = %peer.0, %fault, "refuse a client certificate");
            }
            _ => tracing::debug!(peer = %peer.0, %error, "shake hands"),
        }
        None
    }

    async fn http1(&self, stream: Stream, requests: Arc<Requests>, activity: &Activity) -> hyper::Result<()> {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_header_size(self.limits.header_bytes)
            .max_buf_size(HTTP1_BUFFER)
            .serve_connection(
                TokioIo::new(Gather::new(stream)),
                service_fn(move |request| Arc::clone(&requests).answer(request)),
            );
        self.drive(connection, activity).await
    }

    async fn http2(&self, stream: Stream, requests: Arc<Requests>, activity: &Activity) -> hyper::Result<()> {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(HTTP2_STREAMS)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_frame_size(HTTP2_FRAME)
            .max_send_buf_size(HTTP1_BUFFER)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING)
            .serve_connection(
                TokioIo::new(Gather::new(stream)),
                service_fn(move |request| Arc::clone(&requests).answer(request)),
            );
        self.drive(connection, activity).await
    }

    /// Runs a connection. When the gateway stops or the peer falls silent, what is in flight may end; a peer that
    /// stays silent then is dropped.
    async fn drive<C>(&self, connection: C, activity: &Activity) -> hyper::Result<()>
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        tokio::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.drain.closing() => {}
            () = activity.silent() => {}
        }
        connection.as_mut().graceful_shutdown();
        activity.leave();
        tokio::select! {
            ended = connection => ended,
            () = activity.silent() => Ok(()),
        }
    }
}

/// Counts an open connection.
struct Open<'a>(&'a Metrics);

impl<'a> Open<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.connections_open.inc();
        Self(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections_open.dec();
    }
}
