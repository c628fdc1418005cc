//! Plugins that ask hosts: what was granted is done, and nothing else leaves the gateway.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, Method as HttpMethod, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{any, get, put};

use super::support::{config, context, failure, loader, transfer, writer_config};
use crate::plugin::addresses::Allowed;
use crate::plugin::bindings::resolver::SiteResolver;
use crate::plugin::bindings::writer::BackendWriter;
use crate::plugin::resolver::ComponentResolver;
use crate::plugin::writer::ComponentWriter;
use crate::plugin::{Credential, Destination, HostGrant, Method, Piece, PluginConfig, PluginError, Resolver, Writer};
use crate::quantity::Seconds;
use crate::tls::tests::server::Server;

/// What came to `/kept`, by its path.
type Kept = Arc<Mutex<HashMap<String, (HeaderMap, Bytes)>>>;

async fn keep(State(kept): State<Kept>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    kept.lock().unwrap().insert(uri.path().to_owned(), (headers, body));
    StatusCode::CREATED
}

async fn tell(method: HttpMethod, headers: HeaderMap, request: Request) -> impl IntoResponse {
    let secrets = ["authorization", "x-own"].map(|name| headers.get(name).map_or("", |value| value.to_str().unwrap()));
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let text = format!("{method} {} {}", secrets.join(","), String::from_utf8_lossy(&body));
    ([(CONTENT_TYPE, "text/plain")], text)
}

async fn server(kept: Kept) -> Server {
    let router = Router::new()
        .route("/tell", any(tell))
        .route("/away", get(|| async { (StatusCode::FOUND, [(LOCATION, "https://other.example/")]) }))
        .route("/long", get(|| async { vec![b'x'; (1 << 20) + 1] }))
        .route("/never", get(std::future::pending::<()>))
        .route("/kept/{offset}", put(keep))
        .with_state(kept);
    Server::start(router).await
}

fn grant(server: &Server, methods: &[Method]) -> HostGrant {
    let mut grant = HostGrant::new(server.address.to_string());
    grant.ca = Some(server.certificate.path().to_owned());
    grant.methods = methods.to_vec();
    grant.timeout = Seconds::new(60);
    grant
}

fn asking(grant: HostGrant, requests: &str) -> PluginConfig {
    PluginConfig { http: vec![grant], ..config("asking-resolver", requests) }
}

async fn resolve(config: &PluginConfig) -> Result<String, PluginError> {
    let (guest, _) =
        loader(context()).component::<SiteResolver>(config).await.unwrap_or_else(|error| panic!("{error}"));
    let resolver = ComponentResolver { guest, allowed: Allowed::new(&[]) };
    resolver.resolve(&"dc1".parse().unwrap()).await.map(|site| site.unwrap().region)
}

async fn told(grant: HostGrant, request: &str) -> String {
    resolve(&asking(grant, &format!("requests = [{{ {request} }}]"))).await.unwrap()
}

fn secret(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_host_is_asked_as_it_was_granted() {
    let server = server(Kept::default()).await;
    let url = server.url("/tell");
    let read = grant(&server, &[Method::Get, Method::Head]);
    assert_eq!(told(read.clone(), &format!("url = {url:?}")).await, "200 text/plain GET , ");
    let post = format!("url = {url:?}, method = \"POST\", body = \"hello\", headers = [[\"X-Own\", \"1\"]]");
    assert_eq!(told(grant(&server, &[Method::Post]), &post).await, "200 text/plain POST ,1 hello");
    let refused = told(read, &post).await;
    assert!(refused.starts_with("Error::Refused(\"the request is a POST, which is not granted for 127."), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_by_the_host_alone() {
    let (server, folder) = (server(Kept::default()).await, tempfile::tempdir().unwrap());
    let mut grant = grant(&server, &[Method::Get]);
    let file = |name: &str, text: &str| secret(folder.path(), name, text);
    let header = Credential::Header { name: "X-Own".to_owned(), file: file("header", "h1") };
    grant.credentials.insert("header".to_owned(), header);
    grant.credentials.insert("bearer".to_owned(), Credential::Bearer { file: file("bearer", "b1\n") });
    grant.credentials.insert("basic".to_owned(), Credential::Basic { file: file("basic", "u:p") });
    let url = server.url("/tell");
    for (name, shown) in [("header", ",h1"), ("bearer", "Bearer b1,"), ("basic", "Basic dTpw,")] {
        let request = format!("url = {url:?}, credential = {name:?}, headers = [[\"Authorization\", \"own\"]]");
        let shown = if name == "header" { format!("own{shown}") } else { shown.to_owned() };
        assert_eq!(told(grant.clone(), &request).await, format!("200 text/plain GET {shown} "));
    }
    let other = told(grant.clone(), &format!("url = {url:?}, credential = \"other\"")).await;
    assert!(other.contains("the credential \\\"other\\\", which is not granted"), "{other}");
    std::fs::remove_file(folder.path().join("bearer")).unwrap();
    let loaded = loader(context()).component::<SiteResolver>(&asking(grant, "requests = []")).await;
    assert!(loaded.err().unwrap().fault.contains("could not read"), "a start without the secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_asked() {
    let (server, other) = (server(Kept::default()).await, server(Kept::default()).await);
    let read = grant(&server, &[Method::Get]);
    for url in [other.url("/tell"), format!("https://localhost:{}/tell", server.address.port())] {
        let refused = told(read.clone(), &format!("url = {url:?}")).await;
        assert!(refused.contains("is not granted (plugins.resolver.http, host = "), "{url}: {refused}");
    }
    let plain = told(read.clone(), &format!("url = \"http://{}/tell\"", server.address)).await;
    assert!(plain.starts_with("Error::Refused(\"the request is for a URL that does not begin with https"), "{plain}");
    let away = told(read.clone(), &format!("url = {:?}", server.url("/away"))).await;
    assert_eq!(away, "302 - ", "a redirection is told, not followed");
    let unproven = HostGrant { ca: Some(other.certificate.path().to_owned()), ..read };
    let refused = told(unproven, &format!("url = {:?}", server.url("/tell"))).await;
    assert!(refused.starts_with("Error::Unavailable") && refused.contains("certificate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_their_bounds() {
    let server = server(Kept::default()).await;
    let mut grant = grant(&server, &[Method::Get]);
    let long = told(grant.clone(), &format!("url = {:?}", server.url("/long"))).await;
    assert!(long.starts_with("Error::Other") && long.contains("answers with more than 1MiB"), "{long}");
    let many = format!("times = 101\nrequests = [{{ url = {:?} }}]", server.url("/tell"));
    let ended = failure(resolve(&asking(grant.clone(), &many)).await);
    assert_eq!(ended, "it sent more than 100 requests in one call");
    grant.timeout = "200ms".parse().unwrap();
    let never = format!("url = {:?}", server.url("/never"));
    let late = told(grant.clone(), &never).await;
    assert!(late.starts_with("Error::Unavailable") && late.contains("too late"), "{late}");
    grant.timeout = Seconds::new(3600);
    let config =
        PluginConfig { host_timeout: Seconds::new(1), ..asking(grant, &format!("requests = [{{ {never} }}]")) };
    assert_eq!(failure(resolve(&config).await), "its calls to the host took longer than the limit of 1s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_can_ask_at_its_start_what_it_may() {
    let checked = "requests = [{ url = \"https://a.example/x\", checked = true }]";
    let start = async |config: &PluginConfig| loader(context()).component::<SiteResolver>(config).await.err();
    assert_eq!(start(&asking(HostGrant::new("a.example"), checked)).await, None);
    let error = start(&config("asking-resolver", checked)).await.unwrap();
    let fault = "the request is for a.example, which is not granted (plugins.resolver.http, host = \\\"a.example\\\")";
    assert!(error.fault.contains(fault), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_sent_as_they_are() {
    let kept = Kept::default();
    let server = server(Arc::clone(&kept)).await;
    let mut config = writer_config("sending-writer", &format!("url = {:?}", server.url("/kept")));
    config.http = vec![grant(&server, &[Method::Put])];
    let loaded = loader(context()).component::<BackendWriter>(&config).await;
    let writer = ComponentWriter(loaded.unwrap_or_else(|error| panic!("{error}")).0);
    let Ok(Destination::Chunks(mut chunks)) = writer.begin(&transfer("t1")).await else { panic!("no chunks") };
    let bytes = Bytes::from(vec![7; 1 << 20]);
    let piece = Piece::Data { offset: 1 << 20, bytes: bytes.clone() };
    chunks.write(vec![Piece::Zero { offset: 0, length: 1 << 20 }, piece]).await.unwrap();
    chunks.finish().await.unwrap();
    let kept = kept.lock().unwrap();
    let (headers, body) = &kept["/kept/1048576"];
    assert_eq!((kept.len(), body, headers["content-length"].as_bytes()), (1, &bytes, &b"1048576"[..]));
}
