//! Requests to one registry for one component: only HTTPS, few redirects, no answer larger than it may be, and a login for
//! that registry alone.
//!
//! A client of the whole protocol was refused: those that there are read manifests, tokens and errors without a bound.

use std::fmt;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials;
use super::reference::Reference;
use super::{RegistryConfig, artifact};
use crate::plugin::fault::Fault;
use crate::plugin::text::clean;
use crate::tls::{TrustError, trust};

const CONNECT: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 3;
const TOKEN_MAX: u64 = 64 << 10;
const ERROR_MAX: u64 = 4 << 10;

pub(super) const UNREACHABLE: &str = "check the reference, the network and plugins.registry.ca (--ca), or try again later; a \
                                      gateway needs no registry for what it has pulled before by digest";
const REFUSED: &str = "check plugins.registry.credentials (--credentials): log in again (`docker login`), a password or \
                       token may have expired, and ask for the right to pull, or to push";
const MISSING: &str = "check the reference; `rsnap plugin pull` with a tag tells the digest that is there now";
const UNTRUSTED: &str = "check plugins.registry.ca (--ca): the PEM file of the authority that vouches for the registry";
pub(super) const CHANGED: &str = "do not use it; find out who has changed it, in the registry or on the way";

/// What an error answer of a registry says.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    code: String,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

pub(super) struct Session<'a> {
    client: Client,
    config: &'a RegistryConfig,
    reference: &'a Reference,
    authorization: Option<HeaderValue>,
}

impl<'a> Session<'a> {
    pub(super) fn new(config: &'a RegistryConfig, reference: &'a Reference) -> Result<Self, Fault> {
        let client = Client::builder()
            .tls_backend_preconfigured(trust(config.ca.as_deref()).map_err(untrusted)?)
            .https_only(true)
            .redirect(Policy::limited(REDIRECTS))
            .connect_timeout(CONNECT)
            .timeout(config.timeout.0)
            .user_agent(concat!("rsnap/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Fault::new(format!("HTTPS cannot be set up: {error}"), "check the system's settings"))?;
        Ok(Self { client, config, reference, authorization: None })
    }

    /// The manifest, at most `most` bytes of it.
    pub(super) async fn manifest(&mut self, most: u64) -> Result<Vec<u8>, Fault> {
        let path = format!("manifests/{}", self.reference.name());
        self.get(&path, most).await
    }

    /// A content by its digest.
    pub(super) async fn content(&mut self, content: &artifact::Content) -> Result<Vec<u8>, Fault> {
        let bytes = self.get(&format!("blobs/{}", content.digest), content.bytes).await?;
        if bytes.len() as u64 != content.bytes {
            let text = format!("{} of {} bytes came of {}", bytes.len(), content.bytes, content.digest);
            return Err(Fault::new(self.says(text), CHANGED));
        }
        Ok(bytes)
    }

    /// What is wrong with what came.
    pub(super) fn changed(&self, text: impl fmt::Display) -> Fault {
        Fault::new(self.says(text), CHANGED)
    }

    pub(super) fn says(&self, text: impl fmt::Display) -> String {
        format!("{}: {text}", self.reference)
    }

    pub(super) fn reference(&self) -> &Reference {
        self.reference
    }

    async fn get(&mut self, path: &str, most: u64) -> Result<Vec<u8>, Fault> {
        let Reference { registry, repository, .. } = self.reference;
        let request = self.client.get(format!("https://{registry}/v2/{repository}/{path}"));
        let answer = self.ask(request.header(ACCEPT, format!("{}, */*;q=0.1", artifact::ACCEPT))).await?;
        let answer = self.expect(answer, StatusCode::OK).await?;
        self.body(answer, most).await
    }

    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request; once more, if the registry asks who is there.
    pub(super) async fn ask(&mut self, request: RequestBuilder) -> Result<Response, Fault> {
        let again = request.try_clone();
        let answer = self.send(request).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || self.authorization.is_some() {
            return Ok(answer);
        }
        self.authorization = self.authorize(&answer).await?;
        match again {
            Some(again) => self.send(again).await,
            None => Ok(answer),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let mut request = request.build().map_err(|error| self.unreachable(&error))?;
        // A registry may have contents sent to another host, which has no use for the login.
        let registry: Option<Url> = format!("https://{}/", self.reference.registry).parse().ok();
        let is_registry = registry.is_some_and(|registry| registry.origin() == request.url().origin());
        if let Some(authorization) = self.authorization.as_ref().filter(|_| is_registry) {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.client.execute(request).await.map_err(|error| self.unreachable(&error))
    }

    /// The answer, if it is the one that is hoped for.
    pub(super) async fn expect(&self, answer: Response, status: StatusCode) -> Result<Response, Fault> {
        match answer.status() {
            found if found == status => Ok(answer),
            other => Err(self.refused(other, answer).await),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Fault {
        let mut text = String::new();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        // The address has the reference in it, which is told already.
        let text = if text.is_empty() { format!(": {error}") } else { text };
        Fault::new(self.says(format!("the registry does not answer as it should{}", clean(&text))), UNREACHABLE)
    }

    /// What goes into the header of the next request, by what the answer asks for.
    async fn authorize(&self, answer: &Response) -> Result<Option<HeaderValue>, Fault> {
        let file = self.config.credentials.as_deref();
        let basic = file.map(|file| credentials::basic(file, &self.reference.registry)).transpose()?.flatten();
        let basic = basic.and_then(|basic| secret(&format!("Basic {basic}")));
        match Challenge::read(answer.headers()) {
            None | Some(Challenge::Basic) => Ok(basic),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let token = self.token(&realm, service, scope, basic).await?;
                Ok(secret(&format!("Bearer {token}")))
            }
        }
    }

    /// A token for pulling, from where the registry says.
    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        basic: Option<HeaderValue>,
    ) -> Result<String, Fault> {
        let mut url: Url = realm
            .parse()
            .map_err(|_| Fault::new(self.says("the registry sends to no address for a token"), UNREACHABLE))?;
        let named = [("service", service), ("scope", scope)];
        url.query_pairs_mut().extend_pairs(named.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
        let mut request = self.client.get(url);
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        if answer.status() != StatusCode::OK {
            let text = format!("no token is given ({})", answer.status());
            return Err(Fault::new(self.says(text), REFUSED));
        }
        let body = self.body(answer, TOKEN_MAX).await?;
        let token = serde_json::from_slice::<Token>(&body).ok().and_then(|token| token.token.or(token.access_token));
        token.ok_or_else(|| Fault::new(self.says("the answer has no token in it"), REFUSED))
    }

    async fn refused(&self, status: StatusCode, answer: Response) -> Fault {
        let body = self.body(answer, ERROR_MAX).await.unwrap_or_default();
        let told: Option<Errors> = serde_json::from_slice(&body).ok();
        let code = told.and_then(|told| told.errors.into_iter().next()).map(|error| clean(&error.code));
        let text = format!("the registry answers {status} ({})", code.as_deref().unwrap_or("no reason given"));
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => REFUSED,
            StatusCode::NOT_FOUND => MISSING,
            _ => UNREACHABLE,
        };
        Fault::new(self.says(text), remedy)
    }

    /// The body, up to `most` bytes; more is an error.
    async fn body(&self, mut answer: Response, most: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > most {
                return Err(self.changed(format!("more than {most} bytes come for one answer")));
            }
        }
        Ok(bytes)
    }
}

fn untrusted(error: TrustError) -> Fault {
    Fault::new(error.to_string(), UNTRUSTED)
}

/// A header that no log shows.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
