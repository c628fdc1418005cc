//! Requests of guests to the hosts that the operator granted.
//!
//! The host makes the connection, proves the server and shows the secrets; a guest says what is asked, and gets what is
//! answered. A socket, or the standard interface for HTTP of WASI, was refused: there a guest chooses whom it talks to and
//! holds what it talks with, and both can only be taken away from it again by rules about addresses.

mod grant;
mod hosts;
mod request;
mod secrets;

use bytes::{Bytes, BytesMut};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::Resource;

pub use grant::{Credential, HostGrant, Method};
pub(super) use hosts::Hosts;
use hosts::{Answer, Failure};

use super::account::Limit;
use super::bindings::writer::rsnap::plugin::types::Error;
use super::bindings::writer::rsnap::plugin::{http as wit, http_chunks};
use super::host::Breach;
use super::state::{Chunk, State};
use super::text::clean;

/// Requests in one call of the guest.
pub(super) const REQUESTS: u32 = 100;

impl wit::Host for State {
    fn check(&mut self, request: wit::Request) -> wasmtime::Result<Result<(), Error>> {
        self.count(&request);
        Ok(self.shared.hosts.admit(&request).map(drop).map_err(refused))
    }

    async fn send(&mut self, request: wit::Request) -> wasmtime::Result<Result<wit::Response, Error>> {
        self.ask(request, Vec::new()).await
    }
}

impl http_chunks::Host for State {
    async fn send(
        &mut self,
        request: wit::Request,
        chunks: Vec<Resource<Chunk>>,
    ) -> wasmtime::Result<Result<wit::Response, Error>> {
        let chunks = chunks.iter().map(|chunk| Ok(self.table.get(chunk)?.bytes.clone()));
        let chunks = chunks.collect::<wasmtime::Result<_>>()?;
        self.ask(request, chunks).await
    }
}

impl State {
    async fn ask(
        &mut self,
        request: wit::Request,
        chunks: Vec<Bytes>,
    ) -> wasmtime::Result<Result<wit::Response, Error>> {
        self.count_request()?;
        self.count(&request);
        let (host, head) = match self.shared.hosts.admit(&request) {
            Ok(admitted) => admitted,
            Err(fault) => return Ok(Err(refused(fault))),
        };
        let asking = host.ask(head, join(request.body, chunks));
        let _in_host = self.watch.enter_host();
        // Not on the guests' threads, which do no input and output. Ends with the guest that waits for it.
        let answer = AbortOnDropHandle::new(self.shared.host.spawn(asking)).await?;
        Ok(answer.map(Into::into).map_err(Into::into))
    }

    /// One more that waits for a server.
    pub(super) fn count_request(&mut self) -> wasmtime::Result<()> {
        self.requests += 1;
        if self.requests > REQUESTS {
            let text = format!("it sent more than {REQUESTS} requests in one call");
            return Err(Breach::of(Limit::Requests, text).into());
        }
        Ok(())
    }

    /// What the guest has handed over.
    fn count(&self, request: &wit::Request) {
        let texts = request.headers.iter().map(|header| header.name.len() + header.value.len());
        self.shared.account.handed(texts.sum::<usize>() + request.url.len() + request.body.len());
    }
}

fn refused(fault: String) -> Error {
    Error::Refused(clean(&format!("the request {fault}")))
}

/// The body and the chunks after it; copied only where there are several.
fn join(body: Vec<u8>, mut chunks: Vec<Bytes>) -> Bytes {
    if body.is_empty() && chunks.len() <= 1 {
        return chunks.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::from(body.as_slice());
    chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
    whole.freeze()
}

impl From<Answer> for wit::Response {
    fn from(answer: Answer) -> Self {
        let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            Some(wit::Header { name: name.as_str().to_owned(), value: value.to_str().ok()?.to_owned() })
        };
        Self { status: answer.status, headers: answer.headers.iter().filter_map(text).collect(), body: answer.body }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(text) => Self::Unavailable(clean(&text)),
            Failure::Other(text) => Self::Other(clean(&text)),
        }
    }
}
