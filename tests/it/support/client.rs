//! An HTTPS client that does what it is told, including what no well-behaved client does: cut, lie, stall.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    pub token: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body was shorter than declared.
    pub cut: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The kind at the end of a problem's type.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        let kind = problem["type"].as_str().unwrap();
        let registered = kind.strip_prefix("https://iana.org/assignments/http-problem-types#");
        registered.or_else(|| kind.strip_prefix("urn:rsnap:problem:")).unwrap().to_owned()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// A PUT.
#[derive(Clone, Default)]
pub struct Upload<'a> {
    pub path: String,
    pub content_type: Option<&'a str>,
    pub headers: Vec<(&'a str, String)>,
    pub body: &'a [u8],
    /// Instead of a Content-Length.
    pub chunked: bool,
    pub trailers: Vec<(&'a str, String)>,
}

impl Client {
    pub fn new(address: SocketAddr, certificate: &Path, token: String) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, tls: Arc::new(tls), token }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The same without a token, with this certificate and its key (PEM).
    pub fn showing(&self, certificate: &str, key: &str) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let pair = CertifiedKey::from_der(chain, key, self.tls.crypto_provider()).unwrap();
        let mut tls = ClientConfig::clone(&self.tls);
        tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
        Self { address: self.address, tls: Arc::new(tls), token: String::new() }
    }

    /// Shakes hands and says nothing; gives why the gateway does not want that.
    pub fn refusal(&self) -> String {
        let mut stream = self.connect().unwrap();
        let read = stream.read(&mut [0]);
        read.expect_err("the gateway does not refuse the handshake").to_string()
    }

    pub fn connect(&self) -> io::Result<Stream> {
        let tcp = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::from(self.address.ip());
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, tcp))
    }

    /// SHA-256 of the certificate that a new connection is shown, in hexadecimal.
    pub fn certificate_sha256(&self) -> String {
        let mut stream = self.connect().unwrap();
        stream.conn.complete_io(&mut stream.sock).unwrap();
        let shown = stream.conn.peer_certificates().unwrap()[0].clone();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &shown);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, String)]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if !self.token.is_empty() {
            head += &format!("Authorization: Bearer {}\r\n", self.token);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> Answer {
        let mut headers = headers.to_vec();
        if !body.is_empty() {
            headers.push(("Content-Length", body.len().to_string()));
        }
        let mut stream = self.connect().unwrap();
        stream.write_all(self.head(method, path, &headers).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        stream.flush().unwrap();
        read_answer(stream).unwrap()
    }

    /// A GET to a gateway that may die meanwhile.
    pub fn try_get(&self, path: &str) -> io::Result<Answer> {
        self.try_request("GET", path, &[])
    }

    /// A request without a body to a gateway that may die meanwhile.
    pub fn try_request(&self, method: &str, path: &str, headers: &[(&str, String)]) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        stream.write_all(self.head(method, path, headers).as_bytes())?;
        stream.flush()?;
        read_answer(stream)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], &[])
    }

    fn put_head(&self, upload: &Upload<'_>) -> String {
        let mut headers = upload.headers.clone();
        if let Some(kind) = upload.content_type {
            headers.push(("Content-Type", kind.to_owned()));
        }
        if upload.chunked {
            headers.push(("Transfer-Encoding", "chunked".to_owned()));
            let names: Vec<&str> = upload.trailers.iter().map(|(name, _)| *name).collect();
            if !names.is_empty() {
                headers.push(("Trailer", names.join(", ")));
            }
        } else {
            headers.push(("Content-Length", upload.body.len().to_string()));
        }
        self.head("PUT", &upload.path, &headers)
    }

    /// Sends all and reads the answer. A refusal that comes while the body is still on its way is read too.
    pub fn put(&self, upload: &Upload<'_>) -> Answer {
        self.try_put(upload).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// As [`Client::put`], for gateways that may die meanwhile.
    pub fn try_put(&self, upload: &Upload<'_>) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        stream.write_all(self.put_head(upload).as_bytes())?;
        let sent = if upload.chunked { send_chunked(&mut stream, upload) } else { stream.write_all(upload.body) };
        let sent = sent.and_then(|()| stream.flush());
        read_answer(stream).map_err(|error| io::Error::other(format!("{error}; sending ended with {sent:?}")))
    }

    /// Sends the head; the body comes piece by piece.
    pub fn begin_put(&self, upload: &Upload<'_>) -> Pending {
        self.try_begin_put(upload).unwrap()
    }

    /// As [`Client::begin_put`], for gateways that may be dead.
    pub fn try_begin_put(&self, upload: &Upload<'_>) -> io::Result<Pending> {
        let mut stream = self.connect()?;
        stream.write_all(self.put_head(upload).as_bytes())?;
        Ok(Pending(stream))
    }

    /// Sends the head of any request with a body of `length` bytes, which comes piece by piece.
    pub fn begin(&self, method: &str, path: &str, headers: &[(&str, String)], length: usize) -> Pending {
        let mut headers = headers.to_vec();
        headers.push(("Content-Length", length.to_string()));
        let mut stream = self.connect().unwrap();
        stream.write_all(self.head(method, path, &headers).as_bytes()).unwrap();
        Pending(stream)
    }

    /// The same with a body in chunks, which are the caller's to make.
    pub fn begin_chunked(&self, method: &str, path: &str, headers: &[(&str, String)]) -> Pending {
        let mut stream = self.connect().unwrap();
        stream.write_all(self.head(method, path, headers).as_bytes()).unwrap();
        Pending(stream)
    }

    /// Sends the head and the first `bytes` of the body, then cuts the connection without a word.
    pub fn put_and_cut(&self, upload: &Upload<'_>, bytes: usize) {
        let Ok(mut stream) = self.connect() else { return };
        let _ = stream.write_all(self.put_head(upload).as_bytes());
        let _ = stream.write_all(&upload.body[..bytes]);
        let _ = stream.flush();
        let _ = stream.sock.shutdown(std::net::Shutdown::Both);
    }

    /// The `Expect: 100-continue` dance: gives the first status line's code without having sent any body.
    pub fn put_expecting(&self, upload: &Upload<'_>) -> (u16, Option<Answer>) {
        let mut with_expect = upload.clone();
        with_expect.headers.push(("Expect", "100-continue".to_owned()));
        let mut stream = self.connect().unwrap();
        stream.write_all(self.put_head(&with_expect).as_bytes()).unwrap();
        stream.flush().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let status = String::from_utf8(line).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        if status != 100 {
            return (status, None);
        }
        stream.write_all(upload.body).unwrap();
        stream.flush().unwrap();
        (status, Some(read_answer(stream).unwrap()))
    }

    pub fn chain(&self, volume: &str) -> serde_json::Value {
        self.get(&format!("/v1/volumes/{volume}/snapshots")).expect(200).json()
    }
}

/// A PUT whose body is on its way.
pub struct Pending(Stream);

impl Pending {
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    pub fn answer(self) -> io::Result<Answer> {
        read_answer(self.0)
    }

    /// Cuts the connection without a word.
    pub fn cut(self) {
        let _ = self.0.sock.shutdown(std::net::Shutdown::Both);
    }
}

fn send_chunked(stream: &mut Stream, upload: &Upload<'_>) -> io::Result<()> {
    for chunk in upload.body.chunks(60_000) {
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n")?;
    for (name, value) in &upload.trailers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")
}

fn read_answer(mut stream: Stream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let Some(split) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Err(io::Error::other(format!("{end:?} after {} bytes", bytes.len())));
    };
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    if status == 100 {
        let rest = bytes.split_off(split + 4);
        return parse_rest(rest);
    }
    let answer = Answer { status, headers, body: bytes.split_off(split + 4), cut: false };
    Ok(unchunk(answer))
}

fn parse_rest(bytes: Vec<u8>) -> io::Result<Answer> {
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let split = split.ok_or_else(|| io::Error::other("nothing after 100 Continue"))?;
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(unchunk(Answer { status, headers, body: bytes[split + 4..].to_vec(), cut: false }))
}

fn unchunk(mut answer: Answer) -> Answer {
    if answer.header("transfer-encoding") == Some("chunked") {
        let mut rest = answer.body.as_slice();
        let mut body = Vec::new();
        answer.cut = true;
        while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            rest = &rest[end + 2..];
            if length == 0 {
                answer.cut = false;
                break;
            }
            let Some(chunk) = rest.get(..length) else { break };
            body.extend_from_slice(chunk);
            rest = rest.get(length + 2..).unwrap_or_default();
        }
        answer.body = body;
    } else if let Some(length) = answer.header("content-length") {
        answer.cut = answer.body.len() < length.parse().unwrap();
    }
    answer
}
