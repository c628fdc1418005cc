//! A raw TLS sink: what this machine can receive at most with the same cryptography library as the gateway's.
//!
//! Blocking, one thread for a connection, no runtime and no framework: each of them could only be slower. It speaks as
//! much HTTP/1.1 as `curl -T` needs: reads the header, answers `100 Continue`, counts the body, answers 201.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What is asked of TLS at a time, in bytes: many of its records.
const READ: usize = 256 << 10;
/// Longest header of a request, in bytes.
const HEAD_MAX: usize = 16 << 10;

type Stream = StreamOwned<ServerConnection, TcpStream>;

#[derive(Debug, Args)]
pub(crate) struct Sink {
    #[arg(long)]
    listen: SocketAddr,
    /// PEM
    #[arg(long)]
    certificate: PathBuf,
    /// PEM
    #[arg(long)]
    key: PathBuf,
}

impl Sink {
    /// Serves until it is killed.
    pub(crate) fn serve(&self) -> Result<()> {
        let config = Arc::new(self.config()?);
        let listener = TcpListener::bind(self.listen).with_context(|| format!("cannot listen on {}", self.listen))?;
        for stream in listener.incoming() {
            let (stream, config) = (stream.context("cannot accept")?, Arc::clone(&config));
            std::thread::spawn(move || {
                if let Err(error) = connection(stream, config) {
                    // To a log that the runner shows when the peer's sender fails.
                    let _ = writeln!(io::stderr(), "{error:#}");
                }
            });
        }
        Ok(())
    }

    fn config(&self) -> Result<ServerConfig> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_no_client_auth().with_single_cert(chain, key)?)
    }
}

fn connection(stream: TcpStream, config: Arc<ServerConfig>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut buffer = vec![0; READ];
    let (head, early) = head(&mut stream, &mut buffer)?;
    if head.contains("expect: 100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let length = length(&head)?;
    drain(&mut stream, &mut buffer, length.saturating_sub(early))?;
    stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

/// The request's header in lower case, and how many bytes of the body came with it.
fn head(stream: &mut Stream, buffer: &mut [u8]) -> Result<(String, u64)> {
    let mut bytes = Vec::new();
    loop {
        let count = stream.read(buffer)?;
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default()).to_lowercase();
            return Ok((head, u64::try_from(bytes.len() - at - 4)?));
        }
        if count == 0 || bytes.len() > HEAD_MAX {
            bail!("no request came");
        }
    }
}

fn length(head: &str) -> Result<u64> {
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.context("the request has no Content-Length")?.trim().parse().context("Content-Length is not a number")
}

fn drain(stream: &mut Stream, buffer: &mut [u8], mut left: u64) -> Result<()> {
    while left > 0 {
        let count = stream.read(buffer)?;
        if count == 0 {
            bail!("the connection ended {left} bytes early");
        }
        left = left.saturating_sub(u64::try_from(count)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        assert_eq!(length("put /x http/1.1\r\nhost: a\r\ncontent-length: 12").unwrap(), 12);
        assert!(length("put /x http/1.1").is_err());
    }
}
