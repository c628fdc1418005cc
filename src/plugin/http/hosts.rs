//! The hosts that one plugin may ask, ready to be asked.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use super::grant::{Credential, HostGrant};
use super::request::{Head, lift};
use super::secrets::Secret;
use crate::plugin::bindings::writer::rsnap::plugin::http as wit;
use crate::plugin::fault::Fault;
use crate::quantity;
use crate::tls::trust;

/// Largest answer.
const ANSWER_MAX: quantity::Bytes = quantity::Bytes::mib(1);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer came.
    Unavailable(String),
    /// What came is not an answer that can be passed on.
    Other(String),
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// All grants of one plugin.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Hosts {
    /// The plugin's table, for remedies.
    table: &'static str,
    hosts: Vec<Host>,
}

/// One of them.
pub(super) struct Host {
    /// `https://`, the host and its port.
    origin: Url,
    grant: HostGrant,
    client: Client,
    secrets: HashMap<String, Arc<Secret>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Host").field("origin", &self.origin.as_str()).finish_non_exhaustive()
    }
}

impl Hosts {
    /// Makes what `grants` need; `table` is the plugin's in the configuration.
    pub(in crate::plugin) fn new(grants: &[HostGrant], table: &'static str) -> Result<Self, Fault> {
        let host = |grant| Host::new(grant, table);
        Ok(Self { table, hosts: grants.iter().map(host).collect::<Result<_, _>>()? })
    }

    /// A request that may be sent, and to whom. The error continues the sentence "the request …".
    pub(super) fn admit(&self, request: &wit::Request) -> Result<(&Host, Head), String> {
        let head = lift(request)?;
        Ok((self.find(&head)?, head))
    }

    fn find(&self, head: &Head) -> Result<&Host, String> {
        let table = self.table;
        let Some(host) = self.hosts.iter().find(|host| host.is_at(&head.url)) else {
            let asked = head.url.authority();
            return Err(format!("is for {asked}, which is not granted (plugins.{table}.http, host = {asked:?})"));
        };
        let granted = &host.grant.host;
        if !host.grant.methods.contains(&head.method) {
            let method = http::Method::from(head.method);
            return Err(format!("is a {method}, which is not granted for {granted} (plugins.{table}.http.methods)"));
        }
        match &head.credential {
            Some(name) if !host.grant.credentials.contains_key(name) => Err(format!(
                "names the credential {name:?}, which is not granted for {granted} (plugins.{table}.http.credentials)"
            )),
            _ => Ok(host),
        }
    }
}

impl Host {
    fn new(grant: &HostGrant, table: &str) -> Result<Self, Fault> {
        let remedy = || format!("correct plugins.{table}.http for the host {}", grant.host);
        let fault = |text: String| Fault::new(text, remedy());
        let address = format!("https://{}", grant.host);
        let origin = address.parse().map_err(|error| fault(format!("{address:?} is not an address: {error}")))?;
        let secret = |(name, credential): (&String, &Credential)| {
            Ok((name.clone(), Arc::new(Secret::new(grant, credential).map_err(fault)?)))
        };
        let secrets = grant.credentials.iter().map(secret).collect::<Result<_, Fault>>()?;
        let client = Client::builder()
            .tls_backend_preconfigured(trust(grant.ca.as_deref()).map_err(|error| fault(error.to_string()))?)
            .https_only(true)
            .redirect(Policy::none())
            .no_proxy()
            .timeout(grant.timeout.0)
            .user_agent(concat!("rsnap/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| fault(format!("HTTPS cannot be set up: {error}")))?;
        Ok(Self { origin, grant: grant.clone(), client, secrets })
    }

    fn is_at(&self, url: &Url) -> bool {
        self.origin.host() == url.host() && self.origin.port_or_known_default() == url.port_or_known_default()
    }

    /// Asks, and reads the whole answer.
    pub(super) fn ask(&self, head: Head, body: Bytes) -> impl Future<Output = Result<Answer, Failure>> + use<> {
        let secret = head.credential.as_ref().and_then(|name| self.secrets.get(name)).cloned();
        let (client, host) = (self.client.clone(), self.grant.host.clone());
        async move {
            let mut request = client.request(head.method.into(), head.url).headers(head.headers);
            let shown = match &secret {
                Some(secret) => Some(secret.show().await.map_err(Failure::Unavailable)?),
                None => None,
            };
            if let Some(shown) = &shown {
                request = request.headers(HeaderMap::from_iter([shown.clone()]));
            }
            if !body.is_empty() {
                request = request.body(body);
            }
            let no_answer =
                |error: reqwest::Error| Failure::Unavailable(format!("{host} does not answer{}", causes(&error)));
            let answer = request.send().await.map_err(no_answer)?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            if let (Some(secret), Some((_, value)), 401) = (&secret, &shown, status) {
                secret.forget(value).await;
            }
            let body = read(answer).await.map_err(no_answer)?;
            let body = body.ok_or_else(|| Failure::Other(format!("{host} answers with more than {ANSWER_MAX}")))?;
            Ok(Answer { status, headers, body })
        }
    }
}

/// The body; `None` when it is too long.
async fn read(mut answer: Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() as u64 > ANSWER_MAX.0 {
            return Ok(None);
        }
    }
    Ok(Some(body))
}

/// What lies behind an error. Its own text has the address in it, which is told already.
fn causes(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let text: String = causes.map(|cause| format!(": {cause}")).collect();
    match error.is_timeout() {
        true => format!("{text}: too late"),
        false => text,
    }
}
