//! Talking to the admin listener of a running gateway.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::fault::Fault;

const ANSWER_MAX: usize = 1 << 20;

/// A gateway by the address of its admin listener.
pub(super) struct Admin<'a>(&'a str);

impl<'a> Admin<'a> {
    pub(super) fn new(address: &'a str) -> Self {
        Self(address.trim_start_matches("http://").trim_end_matches('/'))
    }

    /// Asks, and reads the answer if its status is one of `statuses`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        statuses: &[StatusCode],
        patience: Duration,
    ) -> Result<T, Fault> {
        let body = match tokio::time::timeout(patience, self.fetch(method, path, statuses)).await {
            Ok(answer) => answer.map_err(|text| self.unreachable(&text))?,
            Err(_) => return Err(self.unreachable("it does not answer")),
        };
        let other = |fault| self.unreachable(&format!("its answer is not that of an rsnap gateway: {fault}"));
        serde_json::from_slice(&body).map_err(other)
    }

    fn unreachable(&self, text: &str) -> Fault {
        let remedy =
            "Check that the gateway runs and give the address of its admin listener (admin.address) with --admin.";
        Fault::failed(format!("cannot ask the gateway at {}: {text}", self.0), remedy)
    }

    async fn fetch(&self, method: Method, path: &str, statuses: &[StatusCode]) -> Result<Bytes, String> {
        let Self(address) = *self;
        let words = |error: &dyn std::error::Error| error.to_string();
        let uri: Uri = format!("http://{address}{path}").parse().map_err(|_| "that is no address".to_owned())?;
        let stream = TcpStream::connect(address).await.map_err(|error| words(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(uri.path()).header(header::HOST, address);
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| words(&error))?;
        let response = sender.send_request(request).await.map_err(|error| words(&error))?;
        if !statuses.contains(&response.status()) {
            return Err(format!("it answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(|error| error.to_string())?;
        driver.abort();
        Ok(body.to_bytes())
    }
}
