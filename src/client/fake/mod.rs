//! A gateway for tests: real TLS and HTTP, a store in memory, and a script of misbehaviour.

mod answers;
mod store;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) use store::Store;

use super::{Endpoint, Event, Gateway, Limits, Reporter, Trust};
use crate::api::{Action, PlanAnswer, PlanRequest, ServerAnswer};
use crate::retry::Backoff;
use crate::tls::tests::server::Identity;

pub(crate) type Answered = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// What happens to the next PUT or GET of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Script {
    /// A problem before the body is asked for, with a `Retry-After` in seconds if it is not 0.
    Refuse(u16, u64),
    /// The coding of the body is refused before it is asked for.
    RefuseCoding,
    /// A problem after this many bytes of the body.
    RefuseAfter(u16, usize),
    /// The connection breaks after this many bytes of the body.
    CutAfter(usize),
    /// The snapshot is committed, and the connection breaks before the answer.
    LoseAnswer,
    /// This byte of the response body is flipped.
    Flip(usize),
    /// The answer is that the snapshot is committed, but with another root.
    OtherRoot,
    /// Nothing is read and nothing answered.
    Hang,
}

/// What a PUT brought.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) script: VecDeque<Script>,
    pub(crate) action: Option<Action>,
    pub(crate) requests: Vec<String>,
    pub(crate) connections: usize,
    /// Whether it closes the connection after each answer.
    pub(crate) closes: bool,
    pub(crate) plans: Vec<PlanRequest>,
    pub(crate) received: Vec<Received>,
    pub(crate) ranges: Vec<String>,
    pub(crate) pinned: Option<String>,
    /// What `/server` names before it names this gateway.
    pub(crate) named: VecDeque<SocketAddr>,
    /// Whether plans say that packed bodies are taken.
    pub(crate) takes_zstd: bool,
    /// What is committed when an upload shall begin: its plan was made before.
    pub(crate) late: Option<Vec<u8>>,
}

pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: tempfile::NamedTempFile,
    pub(crate) sha256: String,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let Identity { certificate, encoded, acceptor } = Identity::new(&["gw.test", "127.0.0.1"]);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &encoded);
        let sha256 = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        tokio::spawn(accept(listener, acceptor, Arc::clone(&state), address));
        Self { state, address, certificate, sha256 }
    }

    pub(crate) fn gateway(&self) -> Gateway {
        self.gateway_with(Limits::default())
    }

    pub(crate) fn gateway_with(&self, limits: Limits) -> Gateway {
        let endpoint = Endpoint::parse(&format!("https://{}", self.address)).unwrap();
        Gateway::new(endpoint, Trust::file(self.certificate.path()).unwrap(), Some("secret"), limits).unwrap()
    }

    /// The gateway as somebody else's answer of `GET /server` names it.
    pub(crate) fn granted(&self, ticket: &str) -> Gateway {
        let answer = ServerAnswer { ticket: Some(ticket.to_owned()), ..answers::server_answer(self.address) };
        Gateway::granted(&answer, Trust::file(self.certificate.path()).unwrap(), Limits::default()).unwrap()
    }

    pub(crate) fn script(&self, script: impl IntoIterator<Item = Script>) {
        self.state.lock().unwrap().script.extend(script);
    }

    pub(crate) fn requests(&self, method: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|request| request.starts_with(method)).count()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>, address: SocketAddr) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&state), address));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>, address: SocketAddr) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let keeps = {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        !state.closes
    };
    let service = service_fn(move |request| answer(request, Arc::clone(&state), address));
    let mut builder = hyper::server::conn::http1::Builder::new();
    let connection = builder.keep_alive(keeps).serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

/// An error closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    address: SocketAddr,
) -> Result<Answered, std::io::Error> {
    let line = format!("{} {}", request.method(), request.uri());
    state.lock().unwrap().requests.push(line.clone());
    match (request.method().as_str(), request.uri().path()) {
        ("GET", "/server") => Ok(answers::server(&state, address)),
        ("GET", "/v1/servers") => Ok(answers::servers(address)),
        ("POST", path) if path.ends_with("/plan") => Ok(answers::plan(&state, request).await),
        ("POST", path) => Ok(answers::late(&state, path)),
        ("PUT", _) => answers::put(&state, request).await,
        ("DELETE", _) => Ok(answers::deleted()),
        ("GET", path) if path.ends_with("/uploads") => Ok(answers::uploads(&state)),
        ("GET", path) if path.ends_with("/snapshots") => Ok(answers::chain(&state)),
        ("GET", path) if path.starts_with("/v1/sites/") => Ok(answers::site()),
        ("GET", _) => answers::get(&state, &request),
        _ => panic!("the fake gateway does not know {line}"),
    }
}

pub(crate) fn boxed(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    http_body_util::Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(crate) fn plan(action: Action, base: Option<crate::api::PlanBase>) -> PlanAnswer {
    PlanAnswer { action, base, reason: "as the test wants".into(), policy: "fake".into(), proven: false }
}

pub(crate) fn quick(retries: u32) -> Backoff {
    Backoff { first: Duration::from_millis(4), ceiling: Duration::from_millis(8), retries }
}

/// Remembers what it was told.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) Mutex<Vec<Event>>);

impl Reporter for Log {
    fn tell(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Log {
    pub(crate) fn retries(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|event| matches!(event, Event::Retry { .. })).count()
    }
}
