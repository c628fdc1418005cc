//! What the admin listener shows.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use super::Sources;
use crate::api::Reread;
use crate::metrics::MEDIA_TYPE;
use crate::transfer::Running;

pub(super) fn router(sources: Arc<Sources>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/transfers", get(transfers))
        .route("/plugins", get(plugins))
        .route("/reload", post(reload))
        .with_state(sources)
}

/// 503 with the reason: load balancers read the status, people the text.
async fn ready(State(sources): State<Arc<Sources>>) -> (StatusCode, String) {
    if sources.drain.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "this gateway is stopping\n".to_owned());
    }
    match (sources.fault)() {
        Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")),
        None => (
            StatusCode::OK,
            (sources.notice)().map_or_else(|| "ready\n".to_owned(), |notice| format!("ready; {notice}\n")),
        ),
    }
}

async fn metrics(State(sources): State<Arc<Sources>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], sources.metrics.encode())
}

/// One running transfer.
#[derive(Serialize)]
struct Row {
    id: String,
    volume: String,
    snapshot: String,
    /// Who sends.
    principal: String,
    state: &'static str,
    received_bytes: u64,
    /// RFC 3339.
    started: String,
    running_seconds: f64,
}

impl From<Running> for Row {
    fn from(running: Running) -> Self {
        let age = SystemTime::now().duration_since(running.started).unwrap_or_default();
        Self {
            id: running.id.into(),
            volume: running.volume.into(),
            snapshot: running.snapshot.into(),
            principal: running.principal,
            state: running.state,
            received_bytes: running.received,
            started: humantime::format_rfc3339_millis(running.started).to_string(),
            running_seconds: age.as_secs_f64(),
        }
    }
}

async fn transfers(State(sources): State<Arc<Sources>>) -> Json<Vec<Row>> {
    Json((sources.running)().into_iter().map(Row::from).collect())
}

async fn plugins(State(sources): State<Arc<Sources>>) -> Json<serde_json::Value> {
    Json((sources.plugins)())
}

/// 422 when something on the disk cannot be used: what was there before it stays.
async fn reload(State(sources): State<Arc<Sources>>) -> (StatusCode, Json<Vec<Reread>>) {
    let reread = (sources.reload)().await;
    let status = match reread.iter().any(|part| part.fault.is_some()) {
        _ if reread.is_empty() => StatusCode::SERVICE_UNAVAILABLE,
        true => StatusCode::UNPROCESSABLE_ENTITY,
        false => StatusCode::OK,
    };
    (status, Json(reread))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Mutex;
    use std::time::Duration;

    use super::super::{Config, Listener, Serving};
    use super::*;
    use crate::drain::Drain;
    use crate::metrics::Metrics;

    struct Admin {
        address: SocketAddr,
        drain: Drain,
        fault: Arc<Mutex<Option<String>>>,
        _serving: Serving,
    }

    fn running() -> Vec<Running> {
        vec![Running {
            id: "t1".parse().unwrap(),
            volume: "v1".parse().unwrap(),
            snapshot: "s1".parse().unwrap(),
            principal: "token:cinder".to_owned(),
            state: "ingest",
            received: 4096,
            started: SystemTime::now() - Duration::from_secs(2),
        }]
    }

    fn reread() -> Vec<Reread> {
        let part = |subject: &'static str, fault: Option<&str>| Reread {
            subject: subject.into(),
            taken: Vec::new(),
            fault: fault.map(str::to_owned),
        };
        vec![part("certificate", None), part("plugins", Some("it does not compile"))]
    }

    fn start() -> Admin {
        let listener = Listener::bind(&Config { address: "127.0.0.1:0".parse().unwrap() }).unwrap();
        let (address, drain, fault) = (listener.address(), Drain::new(), Arc::new(Mutex::new(None)));
        let told = Arc::clone(&fault);
        let serving = listener.spawn(Sources {
            metrics: Arc::new(Metrics::new()),
            drain: drain.clone(),
            running: Box::new(running),
            plugins: Box::new(|| serde_json::json!([{ "name": "image" }])),
            fault: Box::new(move || told.lock().unwrap().clone()),
            notice: Box::new(|| Some("a part is missing".to_owned())),
            reload: Box::new(|| Box::pin(std::future::ready(reread()))),
        });
        Admin { address, drain, fault, _serving: serving }
    }

    impl Admin {
        fn get(&self, path: &str) -> String {
            self.ask("GET", path)
        }

        fn ask(&self, method: &str, path: &str) -> String {
            let mut stream = TcpStream::connect(self.address).unwrap();
            write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }
    }

    #[test]
    fn the_pages_are_there() {
        let admin = start();
        assert!(admin.get("/livez").starts_with("HTTP/1.1 200"));
        assert!(admin.get("/metrics").contains("rsnap_transfers_running 0"));
        assert!(admin.get("/plugins").contains("[{\"name\":\"image\"}]"));
        let transfers = admin.get("/transfers");
        assert!(transfers.contains("\"received_bytes\":4096") && transfers.contains("\"state\":\"ingest\""));
        assert!(admin.get("/nothing").starts_with("HTTP/1.1 404"));
        assert!(admin.get("/readyz").ends_with("ready; a part is missing\n"));
    }

    #[test]
    fn a_look_reads_nothing_again_and_what_stays_is_told_by_the_status() {
        let admin = start();
        assert!(admin.get("/reload").starts_with("HTTP/1.1 405"));
        let answer = admin.ask("POST", "/reload");
        assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("\"it does not compile\""), "{answer}");
    }

    #[test]
    fn readiness_falls_with_a_fault_and_with_a_stop_while_the_rest_answers() {
        let admin = start();
        assert!(admin.get("/readyz").starts_with("HTTP/1.1 200"));
        *admin.fault.lock().unwrap() = Some("store main: the disk is gone".to_owned());
        let answer = admin.get("/readyz");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the disk is gone"));
        *admin.fault.lock().unwrap() = None;
        assert!(admin.get("/readyz").starts_with("HTTP/1.1 200"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(admin.drain.run(Duration::ZERO, Duration::ZERO));
        assert!(admin.get("/readyz").starts_with("HTTP/1.1 503"));
        assert!(admin.get("/livez").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn silent_connections_do_not_stop_the_probes() {
        let admin = start();
        let silent: Vec<_> = (0..32).map(|_| TcpStream::connect(admin.address).unwrap()).collect();
        assert!(admin.get("/livez").starts_with("HTTP/1.1 200"));
        drop(silent);
    }

    #[test]
    fn a_port_that_is_taken_is_a_fault_that_names_the_key() {
        let admin = start();
        let fault = Listener::bind(&Config { address: admin.address }).unwrap_err().to_string();
        assert!(fault.contains("admin.address"), "{fault}");
    }
}
