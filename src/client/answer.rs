//! The gateway's answer: a status, headers, and a body that is read as slowly as the caller likes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;

use super::ClientError;
use super::body::{Activity, Waiting};
use super::connection::failed;
use super::kept::{Connection, Connections};
use crate::api::Problem;

/// Longest JSON answer that is read; a chain of thousands of snapshots fits.
const DOCUMENT_MAX: usize = 64 << 20;
/// Longest problem that is read, and how much of a foreign error page is shown.
const PROBLEM_MAX: usize = 64 << 10;
const EXCERPT: usize = 200;

/// An answer whose body has not been read yet. Dropping it closes the connection, unless all was read.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response<Incoming>,
    idle: Duration,
    /// Its body has ended as it should.
    is_read: bool,
    kept: Option<Keeping>,
}

/// What an answer came over, and where it is kept when the answer was read.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) connection: Connection,
    pub(super) connections: Connections,
    /// Of a streamed body, which an answer may not have waited for: then nothing else can be sent.
    pub(super) body: Option<Arc<Activity>>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let is_read = self.is_read || self.response.body().is_end_stream();
        let Some(Keeping { connection, connections, body }) = self.kept.take() else { return };
        let is_sent = body.is_none_or(|body| body.waiting() == Waiting::Answer);
        if is_read && is_sent && self.status().is_success() {
            connections.keep(connection);
        }
    }
}

impl Answer {
    pub(super) fn new(response: Response<Incoming>, kept: Keeping, idle: Duration) -> Self {
        Self { response, idle, is_read: false, kept: Some(kept) }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The next bytes of the body, `None` at its end. A body that was cut is an error.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.response.body_mut().frame())
                .await
                .map_err(|_| ClientError::Idle(self.idle))?;
            match frame.transpose().map_err(|fault| failed(&fault))? {
                None => {
                    self.is_read = true;
                    return Ok(None);
                }
                Some(frame) => match frame.into_data() {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(_) => continue,
                },
            }
        }
    }

    async fn collect(&mut self, limit: usize) -> Result<Bytes, ClientError> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > limit {
                return Err(ClientError::Protocol(format!("it is longer than {limit} bytes")));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// The answer itself when it is a success, else the problem in it.
    pub(super) async fn success(self) -> Result<Self, ClientError> {
        if self.status().is_success() { Ok(self) } else { Err(self.problem().await) }
    }

    /// All bytes of a successful answer, at most `limit`.
    pub(super) async fn document(self, limit: usize) -> Result<Bytes, ClientError> {
        self.success().await?.collect(limit).await
    }

    /// The JSON document of a successful answer.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let mut answer = self.success().await?;
        let document = answer.collect(DOCUMENT_MAX).await?;
        serde_json::from_slice(&document).map_err(|fault| ClientError::Protocol(fault.to_string()))
    }

    async fn problem(mut self) -> ClientError {
        let status = self.status();
        let retry_after = self.header(header::RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
        let body = self.collect(PROBLEM_MAX).await.unwrap_or_default();
        let problem = serde_json::from_slice(&body).unwrap_or_else(|_| foreign(status, &body));
        ClientError::Refused { problem: Box::new(problem), retry_after: retry_after.map(Duration::from_secs) }
    }
}

/// An error that no gateway wrote: of a proxy between us, mostly.
fn foreign(status: StatusCode, body: &[u8]) -> Problem {
    let text = String::from_utf8_lossy(body);
    let excerpt: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(EXCERPT).collect();
    Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or("unknown status").to_owned(),
        status: status.as_u16(),
        detail: if excerpt.is_empty() { "the answer says no more".to_owned() } else { excerpt },
        transfer: None,
        provided_offset: None,
        expected_offset: None,
    }
}
