//! Registries that want a token, which another server gives for a password.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::server::Registry;
use super::{policy, pull, pulled, refused};
use crate::deploy::authority::{Authority, Pair};

/// Gives tokens that end so many seconds from now; none where it is zero.
struct Giver {
    address: SocketAddr,
    lasting: Arc<AtomicI64>,
}

impl Giver {
    /// A thread that serves until the end of the test's process.
    fn start(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, lasting) = (listener.local_addr().unwrap(), Arc::new(AtomicI64::new(0)));
        let pair = authority.issue(&["127.0.0.1"]);
        let (settings, told) = (Arc::new(settings(&pair)), Arc::clone(&lasting));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = rustls::ServerConnection::new(Arc::clone(&settings)).unwrap();
                let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
                let head: Vec<String> = stream.head();
                let known = head.iter().any(|line| line.to_lowercase().starts_with("authorization: basic "));
                let answer = match told.load(Ordering::Relaxed) {
                    lasting if known && lasting != 0 => {
                        let body = serde_json::json!({ "token": token(&pair, lasting) }).to_string();
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
                    }
                    _ => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
                };
                let mut stream = stream.into_inner();
                let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { address, lasting }
    }
}

trait Head {
    /// The lines of a request's head.
    fn head(&mut self) -> Vec<String>;
}

impl<T: std::io::Read> Head for BufReader<T> {
    fn head(&mut self) -> Vec<String> {
        let lines = self.lines().map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).collect()
    }
}

fn settings(pair: &Pair) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()
}

fn token(pair: &Pair, lasting: i64) -> String {
    use base64::Engine as _;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let mut header = Header::new(Algorithm::ES256);
    header.x5c = Some(vec![base64::engine::general_purpose::STANDARD.encode(&certificate)]);
    let claims = serde_json::json!({
        "iss": "tests", "aud": "tests", "sub": "site", "jti": "1", "iat": now - 7200, "nbf": now - 7200,
        "exp": now + lasting,
        "access": [{ "type": "repository", "name": "site/house-rule", "actions": ["pull"] }],
    });
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(key.secret_der())).unwrap()
}

#[test]
fn a_token_is_fetched_for_a_password_and_one_that_has_expired_is_told() {
    let first = Registry::start();
    let (digest, _) = first.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let mut giver = None;
    let registry = first.again(|authority| {
        let started = giver.insert(Giver::start(authority));
        format!(
            "  token:\n    realm: https://{}/token\n    service: tests\n    issuer: tests\n    rootcertbundle: {}\n",
            started.address,
            authority.certificate.display()
        )
    });
    let lasting = giver.unwrap().lasting;
    let (pinned, file) = (format!("{}@{digest}", registry.reference("house-rule")), registry.path("pulled.wasm"));

    let told = refused(&pull(&registry, &pinned, &file, &[]), &file);
    assert!(told.contains("no token is given (401 Unauthorized)") && told.contains("log in again"), "{told}");
    lasting.store(-3600, Ordering::Relaxed);
    let told = refused(&pull(&registry, &pinned, &file, &[]), &file);
    assert!(told.contains("401 Unauthorized") && told.contains("token may have expired"), "{told}");
    lasting.store(3600, Ordering::Relaxed);
    pulled(&pull(&registry, &pinned, &file, &[]));
}
