//! How the fake gateway answers each request.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde::Serialize;

use super::{Answered, Received, Script, State, boxed};
use crate::api::{self, Action, ChainAnswer, Problem, ServerAnswer, SiteAnswer};

fn json(status: u16, document: &impl Serialize) -> Answered {
    let mut response = Response::new(boxed(serde_json::to_vec(document).unwrap()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn problem(status: u16, retry_after: u64) -> Answered {
    problem_of("test", status, retry_after)
}

fn problem_of(kind: &str, status: u16, retry_after: u64) -> Answered {
    let problem = Problem {
        kind: format!("{}{kind}", api::PROBLEMS),
        title: "Refused by the test".into(),
        status,
        detail: "because".into(),
        transfer: None,
        provided_offset: None,
        expected_offset: None,
    };
    let mut response = json(status, &problem);
    if retry_after > 0 {
        response.headers_mut().insert("retry-after", retry_after.into());
    }
    response
}

/// As a gateway answers that takes nothing but a PUT, or has no upload.
pub(super) fn uploads(state: &Mutex<State>) -> Answered {
    match state.lock().unwrap().late {
        Some(_) => json(200, &api::UploadsAnswer { uploads: Vec::new() }),
        None => problem(404, 0),
    }
}

/// As a gateway answers at which the snapshot was committed since the plan.
pub(super) fn late(state: &Mutex<State>, path: &str) -> Answered {
    let mut state = state.lock().unwrap();
    let (snapshot, bytes) = (path.rsplit('/').next().unwrap().to_owned(), state.late.clone().unwrap());
    state.store.0.insert(snapshot, bytes);
    problem_of("exists", 409, 0)
}

fn broken() -> Error {
    Error::new(ErrorKind::ConnectionReset, "the test cuts here")
}

pub(super) fn server(state: &Mutex<State>, address: SocketAddr) -> Answered {
    let mut state = state.lock().unwrap();
    let pinned = state.pinned.clone();
    let address = state.named.pop_front().unwrap_or(address);
    let name = pinned.is_none().then(|| "gw.test".into());
    json(200, &ServerAnswer { tls_name: name, tls_sha256: pinned, ..server_answer(address) })
}

/// The answer that names `address`, with a ticket.
pub(super) fn server_answer(address: SocketAddr) -> ServerAnswer {
    ServerAnswer {
        server: address.to_string(),
        ip: address.ip().to_string(),
        port: address.port(),
        connections: 3,
        source: api::Source::Own,
        age_ms: None,
        tls_name: Some("gw.test".into()),
        tls_sha256: None,
        ticket: Some("ticket".into()),
        expires: None,
    }
}

pub(super) fn servers(address: SocketAddr) -> Answered {
    let server = address.to_string();
    let own = api::ServerEntry { server, connections: 3, state: api::ServerState::Own, age_ms: Some(0) };
    json(200, &api::ServersAnswer { source: api::Source::Own, age_ms: None, servers: vec![own] })
}

/// Present or refused when the store has the snapshot, else what the test asked for.
pub(super) async fn plan(state: &Mutex<State>, request: Request<Incoming>) -> Answered {
    let snapshot = request.uri().path().split('/').nth(5).unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    let asked: api::PlanRequest = serde_json::from_slice(&body).unwrap();
    state.plans.push(asked.clone());
    if state.store.0.contains_key(&snapshot) {
        let held = state.store.answer(&snapshot).root;
        let wanted = asked.chain.last().and_then(|wanted| wanted.root.clone());
        let action = if wanted.is_none_or(|root| root == held) { Action::Present } else { Action::Refused };
        return json(200, &super::plan(action, None));
    }
    let roots: Vec<_> = asked.chain.iter().filter_map(|known| known.root.clone()).collect();
    let base = state.store.0.keys().map(|id| state.store.answer(id)).find(|held| roots.contains(&held.root));
    let base = base.map(|held| api::PlanBase { snapshot: held.snapshot, source_snapshot: None, root: held.root });
    let action = state.action.unwrap_or(if base.is_some() { Action::Incremental } else { Action::Full });
    let mut answer = json(200, &super::plan(action, base.filter(|_| action == Action::Incremental)));
    if state.takes_zstd {
        answer.headers_mut().insert("accept-encoding", "gzip;q=0.5, zstd".parse().unwrap());
    }
    answer
}

pub(super) async fn put(state: &Mutex<State>, request: Request<Incoming>) -> Result<Answered, Error> {
    let script = state.lock().unwrap().script.pop_front();
    let limit = match script {
        Some(Script::Refuse(status, retry_after)) => return Ok(problem(status, retry_after)),
        Some(Script::RefuseCoding) => return Ok(problem_of("unsupported-coding", 415, 0)),
        Some(Script::Hang) => return std::future::pending().await,
        Some(Script::RefuseAfter(_, limit) | Script::CutAfter(limit)) => limit,
        _ => usize::MAX,
    };
    let path = request.uri().to_string();
    let headers = request.headers().clone();
    let Some((body, trailers)) = read(request.into_body(), limit).await? else {
        return match script {
            Some(Script::RefuseAfter(status, _)) => Ok(problem(status, 0)),
            _ => Err(broken()),
        };
    };
    let packed = headers.contains_key("content-encoding");
    let body = if packed { zstd::decode_all(&body[..]).unwrap() } else { body };
    let received = Received { path: path.clone(), headers, body, trailers };
    let answer = commit(&mut state.lock().unwrap(), &path, received);
    match script {
        Some(Script::LoseAnswer) => Err(broken()),
        Some(Script::OtherRoot) => {
            let mut answer = answer;
            answer.root = format!("rsnap1:{}", "0".repeat(64));
            Ok(json(201, &answer))
        }
        _ if path.contains("?snapshots=") => {
            Ok(json(201, &ChainAnswer { volume: "vol".into(), snapshots: vec![answer], damaged: vec![] }))
        }
        _ => Ok(json(201, &answer)),
    }
}

/// The whole body, or nothing when it is longer than `limit`.
async fn read(mut body: Incoming, limit: usize) -> Result<Option<(Vec<u8>, HeaderMap)>, Error> {
    let (mut bytes, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame.map_err(Error::other)?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap(),
        }
        if bytes.len() > limit {
            return Ok(None);
        }
    }
    Ok(Some((bytes, trailers)))
}

fn commit(state: &mut State, path: &str, received: Received) -> api::SnapshotAnswer {
    let id = path.rsplit(['/', ',', '=']).next().unwrap();
    let base = received.headers.get(api::BASE).map(|base| base.to_str().unwrap().to_owned());
    if received.headers["content-type"] == api::RBD_DIFF {
        state.store.apply(id, base.as_deref(), &received.body).unwrap();
    } else {
        state.store.0.insert(id.to_owned(), Vec::new());
    }
    state.received.push(received);
    state.store.answer(id)
}

pub(super) fn deleted() -> Answered {
    let mut response = Response::new(boxed(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn chain(state: &Mutex<State>) -> Answered {
    let state = state.lock().unwrap();
    let snapshots = state.store.0.keys().map(|id| state.store.answer(id)).collect();
    json(200, &ChainAnswer { volume: "vol".into(), snapshots, damaged: vec![] })
}

pub(super) fn site() -> Answered {
    let text = |text: &str| text.to_owned();
    let (keystone, gateway) = (text("https://keystone.test/v3"), text("https://gw.test:8443"));
    json(200, &SiteAnswer { name: text("dc1"), keystone, region: text("RegionOne"), gateway })
}

/// The snapshot in the format asked for, from the offset asked for, as the script spoils it.
pub(super) fn get(state: &Mutex<State>, request: &Request<Incoming>) -> Result<Answered, Error> {
    let mut state = state.lock().unwrap();
    let id = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let wants_diff = request.headers().get("accept").is_some_and(|accept| accept == api::RBD_DIFF);
    let mut bytes = if wants_diff { state.store.diff(&id) } else { state.store.0[&id].clone() };
    let root = state.store.answer(&id).root;
    let mut cut = None;
    match state.script.pop_front() {
        Some(Script::Refuse(status, retry_after)) => return Ok(problem(status, retry_after)),
        Some(Script::Flip(at)) => bytes[at] ^= 1,
        Some(Script::CutAfter(length)) => cut = Some(length),
        _ => {}
    }
    let range = request.headers().get("range").map(|range| range.to_str().unwrap().to_owned());
    state.ranges.extend(range.clone());
    let from = range.as_deref().map_or(0, |range| range[6..range.len() - 1].parse().unwrap());
    let mut response = Response::new(streamed(bytes.split_off(from), cut));
    *response.status_mut() = if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    response.headers_mut().insert(api::CONTENT_ROOT, root.parse().unwrap());
    Ok(response)
}

fn streamed(bytes: Vec<u8>, cut: Option<usize>) -> http_body_util::combinators::UnsyncBoxBody<Bytes, Error> {
    let end = cut.unwrap_or(bytes.len()).min(bytes.len());
    let pieces: Vec<_> = bytes[..end].chunks(50_000).map(Bytes::copy_from_slice).map(Frame::data).map(Ok).collect();
    let fault = stream::iter(cut).then(|_| async {
        // Without a pause the server drops what it has not flushed yet.
        tokio::time::sleep(Duration::from_millis(30)).await;
        Err(broken())
    });
    StreamBody::new(stream::iter(pieces).chain(fault)).boxed_unsync()
}
