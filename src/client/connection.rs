//! One request and its answer.
//!
//! The answer may come before the body has been sent: a refusal. A gateway that refuses closes soon after, and a
//! client that stops at its first failed write never reads why. So a failed write is held back here and reading goes
//! on: either the answer is still to be read, or reading fails too and says that the connection is gone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::answer::{Answer, Keeping};
use super::body::{Activity, UploadBody, Waiting};
use super::distrust::{distrusted, unwelcome};
use super::kept::{Connection, Connections};
use super::rate::Gate;
use super::{ClientError, Endpoint, Trust};

/// How long a connection that has ended may take to say why.
const CAUSE: Duration = Duration::from_secs(1);

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the TLS handshake is done.
    pub connect: Duration,
    /// Without a byte moved, while the peer should take or give some.
    pub idle: Duration,
    /// For `100 Continue`; after it the body is sent without.
    pub leave: Duration,
    /// From the end of a body to the answer: the gateway makes the snapshot durable meanwhile.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), idle: seconds(60), leave: seconds(10), answer: seconds(600) }
    }
}

/// Connects, or takes a connection that was kept, sends `request` and gives the answer, whatever its status.
pub(super) async fn exchange(
    endpoint: &Endpoint,
    trust: &Trust,
    limits: Limits,
    (connections, gate): (&Connections, Gate),
    request: Request<UploadBody>,
) -> Result<Answer, ClientError> {
    let mut connection = match connections.take(&endpoint.authority()).await {
        Some(connection) => connection,
        None => open(endpoint, trust, limits, gate).await?,
    };
    let activity = request.body().activity();
    let body = request.body().leave().is_some().then(|| Arc::clone(&activity));
    let leave = open_gate_in_time(&request, limits.leave);
    let sending = connection.sender.send_request(with_gate(request));
    let response = watched(sending, (&connection.moved, &activity), limits).await;
    leave.abort();
    match response {
        Ok(response) => {
            let kept = Keeping { connection, connections: connections.clone(), body };
            Ok(Answer::new(response, kept, limits.idle))
        }
        Err(fault) => Err(cause(fault, connection).await),
    }
}

async fn open(endpoint: &Endpoint, trust: &Trust, limits: Limits, gate: Gate) -> Result<Connection, ClientError> {
    let address = endpoint.authority();
    let silent = |_| ClientError::Connect { address: address.clone(), fault: "no answer in time".to_owned() };
    let stream = timeout(limits.connect, connect(endpoint, trust)).await.map_err(silent)??;
    let moved = Arc::default();
    let io = TokioIo::new(Patient { inner: stream, broken: false, moved: Arc::clone(&moved), gate });
    let (sender, connection) = http1::handshake(io).await.map_err(|fault| failed(&fault))?;
    let driving = tokio::spawn(connection);
    Ok(Connection { authority: address, sender, driving, moved })
}

/// A request that could not begin says no more than that; why the connection ended, what drove it knows.
async fn cause(told: ClientError, mut connection: Connection) -> ClientError {
    if !matches!(told, ClientError::Cut(_)) {
        return told;
    }
    match timeout(CAUSE, &mut connection.driving).await {
        Ok(Ok(Err(fault))) => failed(&fault),
        _ => told,
    }
}

async fn connect(
    endpoint: &Endpoint,
    trust: &Trust,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ClientError> {
    let address = endpoint.authority();
    let unreachable = |fault: io::Error| ClientError::Connect { address: address.clone(), fault: fault.to_string() };
    let untrusted = |fault: &rustls::Error| distrusted(&address, fault);
    let (config, name) = trust.demand(endpoint.proof(), endpoint.host()).map_err(|fault| untrusted(&fault))?;
    let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|fault| {
        let told = fault.get_ref().and_then(|inner| inner.downcast_ref()).map(untrusted);
        told.unwrap_or_else(|| unreachable(fault))
    })
}

/// Lets the body begin on `100 Continue`.
fn with_gate(mut request: Request<UploadBody>) -> Request<UploadBody> {
    if let Some(leave) = request.body().leave() {
        hyper::ext::on_informational(&mut request, move |response| {
            if response.status() == http::StatusCode::CONTINUE {
                leave.cancel();
            }
        });
    }
    request
}

/// Lets the body begin when no `100 Continue` comes: RFC 9110 does not promise one.
fn open_gate_in_time(request: &Request<UploadBody>, patience: Duration) -> AbortHandle {
    let leave = request.body().leave();
    tokio::spawn(async move {
        tokio::time::sleep(patience).await;
        if let Some(leave) = leave {
            leave.cancel();
        }
    })
    .abort_handle()
}

/// Waits for the answer as long as something moves or it is not the peer's turn.
async fn watched(
    sending: impl Future<Output = hyper::Result<Response<Incoming>>>,
    (moved, activity): (&AtomicU64, &Activity),
    limits: Limits,
) -> Result<Response<Incoming>, ClientError> {
    let mut sending = std::pin::pin!(sending);
    let mut seen = (moved.load(Ordering::Relaxed), activity.waiting());
    let mut since = Instant::now();
    let tick = (limits.idle.min(limits.answer) / 4).min(Duration::from_secs(1));
    loop {
        if let Ok(response) = timeout(tick, &mut sending).await {
            return response.map_err(|fault| failed(&fault));
        }
        let now = (moved.load(Ordering::Relaxed), activity.waiting());
        if now != seen || now.1 == Waiting::Producer {
            (seen, since) = (now, Instant::now());
        }
        let limit = if now.1 == Waiting::Answer { limits.answer } else { limits.idle };
        if since.elapsed() >= limit {
            return Err(ClientError::Idle(limit));
        }
    }
}

/// hyper's errors, as ours.
pub(super) fn failed(fault: &hyper::Error) -> ClientError {
    let mut text = fault.to_string();
    let mut source = std::error::Error::source(fault);
    while let Some(inner) = source {
        let tls = inner.downcast_ref().and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref());
        if let Some(refused) = tls.and_then(unwelcome) {
            return refused;
        }
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    if fault.is_parse() { ClientError::Protocol(text) } else { ClientError::Cut(text) }
}

/// Counts what moves, and goes on reading after a failed write.
#[derive(Debug)]
struct Patient<T> {
    inner: T,
    broken: bool,
    moved: Arc<AtomicU64>,
    gate: Gate,
}

impl<T: AsyncWrite + Unpin> Patient<T> {
    fn write<R>(
        &mut self,
        moved: impl FnOnce(&R) -> usize,
        operation: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if self.broken {
            return Poll::Pending;
        }
        match std::task::ready!(operation(Pin::new(&mut self.inner))) {
            Ok(done) => {
                let moved = moved(&done);
                self.gate.moved(moved);
                self.moved.fetch_add(moved as u64, Ordering::Relaxed);
                Poll::Ready(Ok(done))
            }
            Err(_) => {
                self.broken = true;
                Poll::Pending
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = std::task::ready!(self.gate.poll(context));
        let before = buffer.filled().len();
        let polled = if room >= buffer.remaining() {
            Pin::new(&mut self.inner).poll_read(context, buffer)
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
            let polled = Pin::new(&mut self.inner).poll_read(context, &mut part);
            let filled = part.filled().len();
            buffer.advance(filled);
            polled
        };
        let moved = buffer.filled().len().saturating_sub(before);
        self.gate.moved(moved);
        self.moved.fetch_add(moved as u64, Ordering::Relaxed);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let room = std::task::ready!(self.gate.poll(context));
        let bytes = bytes.get(..room).unwrap_or(bytes);
        self.write(|written| *written, |inner| inner.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = std::task::ready!(self.gate.poll(context));
        match buffers.iter().find(|bytes| !bytes.is_empty()).and_then(|bytes| bytes.get(..room)) {
            Some(part) => self.write(|written| *written, |inner| inner.poll_write(context, part)),
            None => self.write(|written| *written, |inner| inner.poll_write_vectored(context, buffers)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|()| 0, |inner| inner.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
