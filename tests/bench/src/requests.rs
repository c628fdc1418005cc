//! Asks one question as often as it is answered, over connections that stay: the rate, and the slow ones among them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

#[derive(Debug, Args)]
pub(crate) struct Requests {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    path: String,
    /// PEM
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    token_file: PathBuf,
    #[arg(long, default_value_t = 8)]
    connections: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

impl Requests {
    /// Prints answers in a second and the 99th percentile in milliseconds.
    pub(crate) fn run(&self) -> Result<()> {
        let tls = Arc::new(self.tls()?);
        let token = std::fs::read_to_string(&self.token_file).context("cannot read the token")?;
        let begun = Instant::now();
        let until = begun + Duration::from_secs_f64(self.seconds);
        let mut times = std::thread::scope(|threads| {
            let ask = || self.ask(Arc::clone(&tls), token.trim(), until);
            let asking: Vec<_> = (0..self.connections).map(|_| threads.spawn(ask)).collect();
            let mut all = Vec::new();
            for times in asking {
                match times.join() {
                    Ok(times) => all.extend(times?),
                    Err(_) => bail!("a thread crashed"),
                }
            }
            Ok(all)
        })?;
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        times.sort_unstable();
        let slow = times.get(times.len() * 99 / 100).context("nothing was answered")?;
        println!("{rate} {}", slow.as_secs_f64() * 1e3);
        Ok(())
    }

    fn tls(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// How long each answer took, on one connection.
    fn ask(&self, tls: Arc<ClientConfig>, token: &str, until: Instant) -> Result<Vec<Duration>> {
        let stream = TcpStream::connect(self.address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        let connection = ClientConnection::new(tls, ServerName::from(self.address.ip()))?;
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        let (path, host) = (&self.path, self.address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let mut times = Vec::new();
        let mut answer = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            stream.get_mut().write_all(request.as_bytes())?;
            read(&mut stream, &mut answer)?;
            times.push(begun.elapsed());
        }
        Ok(times)
    }
}

/// Reads one answer; the body goes to `body`.
fn read(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200"), "answered with {line:?}");
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        ensure!(stream.read_line(&mut line)? > 0, "the connection was cut");
        if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse()?;
        }
    }
    body.resize(length, 0);
    Ok(stream.read_exact(body)?)
}
