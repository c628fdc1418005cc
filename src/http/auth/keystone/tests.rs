//! Callers before a Keystone that does what the test says; a real one is asked by the integration tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::super::Role;
use super::*;
use crate::keystone::Account;
use crate::quantity::Seconds;
use crate::tls::tests::server::Server;

/// What the Keystone was asked, and what it is up to.
#[derive(Default)]
struct Script {
    log_ins: AtomicUsize,
    questions: AtomicUsize,
    /// Our own token counts for so many questions.
    refuse_own: AtomicUsize,
    status: AtomicUsize,
}

fn document(user: &str, project: &str, role: &str, expires: &str) -> Value {
    let domain = json!({"id": "default", "name": "Default"});
    json!({"token": {
        "expires_at": expires,
        "user": {"id": format!("id-of-{user}"), "name": user, "domain": domain},
        "project": {"id": format!("id-of-{project}"), "name": project, "domain": domain},
        "roles": [{"id": "r", "name": role}],
    }})
}

const FAR: &str = "2099-01-01T00:00:00.000000Z";
const PAST: &str = "2001-01-01T00:00:00.000000Z";

async fn log_in(State(script): State<Arc<Script>>, Json(body): Json<Value>) -> Response {
    assert_eq!(body["auth"]["identity"]["application_credential"]["secret"], "s3cret");
    let number = script.log_ins.fetch_add(1, Ordering::SeqCst);
    let token = [("x-subject-token", format!("own-{number}"))];
    (StatusCode::CREATED, token, Json(document("gateway", "service", "service", FAR))).into_response()
}

async fn validate(State(script): State<Arc<Script>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    script.questions.fetch_add(1, Ordering::SeqCst);
    if script.refuse_own.swap(0, Ordering::SeqCst) > 0 {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let status = script.status.load(Ordering::SeqCst);
    if status > 0 {
        return StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap().into_response();
    }
    let own = format!("own-{}", script.log_ins.load(Ordering::SeqCst) - 1);
    assert_eq!(headers["x-auth-token"], own.as_str());
    let forgiven = query.is_some_and(|query| query.contains("allow_expired=1"));
    let answer = match headers["x-subject-token"].to_str().unwrap() {
        "cinder" => document("cinder", "service", "service", FAR),
        "root" => document("root", "service", "admin", FAR),
        "member" => document("member", "service", "member", FAR),
        "elsewhere" => document("tenant", "demo", "service", FAR),
        "tenant" => document("tenant", "demo", "admin", FAR),
        "old" if forgiven => document("cinder", "service", "service", PAST),
        "lagging" => document("cinder", "service", "service", PAST),
        "html" => return "<html>".into_response(),
        "long" => return "x".repeat(1 << 20).into_response(),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    Json(answer).into_response()
}

struct Fixture {
    callers: Callers,
    script: Arc<Script>,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let script = Arc::new(Script::default());
        let router = Router::new().route("/v3/auth/tokens", get(validate).post(log_in)).with_state(Arc::clone(&script));
        let server = Server::start(router).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret\n").unwrap();
        let mut config: Config = toml::from_str(config::tests::TEXT).unwrap();
        config.url = server.url("/v3/");
        config.ca = Some(server.certificate.path().to_owned());
        config.account = Account::ApplicationCredential { id: "a".to_owned(), file };
        config.timeout = Seconds::new(60);
        Self { callers: Callers::new(&config).unwrap(), script, _server: server, _folder: folder }
    }

    async fn who(&self, token: &str, service: Option<&str>) -> Result<(String, Role), Kind> {
        match self.callers.identify(token, service).await {
            Ok(Principal::Keystone { user, role, .. }) => Ok((user, role)),
            Ok(other) => panic!("{other:?}"),
            Err(problem) => Err(problem.kind()),
        }
    }

    fn questions(&self) -> usize {
        self.script.questions.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn callers_are_told_apart_by_role_and_project() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.who("cinder", None).await, Ok(("id-of-cinder".to_owned(), Role::Ticket)));
    assert_eq!(fixture.who("root", None).await, Ok(("id-of-root".to_owned(), Role::Operator)));
    assert_eq!(fixture.who("member", None).await, Err(Kind::Forbidden));
    assert_eq!(fixture.who("tenant", None).await, Err(Kind::Forbidden));
    for stranger in ["stranger", "", "two words", "ümlaut", &"x".repeat(TOKEN_MAX + 1)] {
        assert_eq!(fixture.who(stranger, None).await, Err(Kind::BadToken), "{stranger}");
    }
    assert_eq!(fixture.script.log_ins.load(Ordering::SeqCst), 1, "one token of our own is enough");
}

#[tokio::test]
async fn an_answer_is_asked_for_once_and_a_refusal_each_time() {
    let fixture = Fixture::start().await;
    for _ in 0..3 {
        fixture.who("cinder", None).await.unwrap();
    }
    assert_eq!(fixture.questions(), 1);
    for _ in 0..3 {
        fixture.who("stranger", None).await.unwrap_err();
    }
    assert_eq!(fixture.questions(), 4);
}

#[tokio::test]
async fn an_expired_token_counts_with_a_service_alone() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.who("old", None).await, Err(Kind::BadToken));
    assert_eq!(fixture.who("lagging", None).await, Err(Kind::BadToken), "Keystone's clock is not ours");
    assert_eq!(fixture.who("old", Some("cinder")).await, Ok(("id-of-cinder".to_owned(), Role::Ticket)));
    assert_eq!(fixture.who("old", None).await, Err(Kind::BadToken), "what a service was told is no answer to others");
    assert_eq!(fixture.who("old", Some("member")).await, Err(Kind::Forbidden));
    assert_eq!(fixture.who("old", Some("elsewhere")).await, Err(Kind::Forbidden), "a service of somebody's own");
    assert_eq!(fixture.who("old", Some("stranger")).await, Err(Kind::BadToken));
    assert_eq!(fixture.who("old", Some("old")).await, Err(Kind::BadToken));
}

#[tokio::test]
async fn our_own_token_is_made_anew_when_it_is_not_taken() {
    let fixture = Fixture::start().await;
    fixture.who("cinder", None).await.unwrap();
    fixture.script.refuse_own.store(1, Ordering::SeqCst);
    fixture.who("root", None).await.unwrap();
    assert_eq!(fixture.script.log_ins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_keystone_nobody_comes_in() {
    let fixture = Fixture::start().await;
    for status in [401, 403, 500, 503] {
        fixture.script.status.store(status, Ordering::SeqCst);
        assert_eq!(fixture.who("root", None).await, Err(Kind::Keystone), "{status}");
    }
    fixture.script.status.store(0, Ordering::SeqCst);
    for strange in ["html", "long"] {
        assert_eq!(fixture.who(strange, None).await, Err(Kind::Keystone), "{strange}");
    }
    fixture.who("root", None).await.unwrap();
    let Fixture { callers, _server: server, .. } = fixture;
    drop(server);
    let gone = callers.identify("cinder", None).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::Keystone);
    assert!(gone.text().starts_with("Keystone does not answer") && !gone.text().contains("cinder"), "{}", gone.text());
    assert!(callers.identify("root", None).await.is_ok(), "what was said a moment ago");
}
