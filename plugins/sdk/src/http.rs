//! Requests over HTTPS to the hosts that the operator granted to the plugin: for writers and resolvers.
//!
//! ```ignore
//! let answer = http::send(&Request { credential: Some("reader".into()), ..Request::get("https://a.example/v3") })?;
//! ```

use crate::writer::{Chunk, Error};

pub use crate::bindings::writer::rsnap::plugin::http::{Header, Method, Request, Response};

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), credential: None, body: Vec::new() }
    }

    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    /// The same request with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.to_owned(), value: value.into() });
        self
    }
}

impl Response {
    /// The first header of this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
    }
}

/// Whether [`send`] would send the request: what it needs is granted.
pub fn check(request: &Request) -> Result<(), Error> {
    crate::bindings::writer::rsnap::plugin::http::check(request)
}

/// Sends a request and waits for the whole answer.
pub fn send(request: &Request) -> Result<Response, Error> {
    crate::bindings::writer::rsnap::plugin::http::send(request)
}

/// Sends a request of a writer whose body ends with the bytes of `chunks`, which stay in the gateway.
pub fn send_chunks(request: &Request, chunks: &[&Chunk]) -> Result<Response, Error> {
    crate::bindings::writer::rsnap::plugin::http_chunks::send(request, chunks)
}
