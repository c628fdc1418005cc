//! A guest's request by the grammar, before anything of it leaves the host.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use reqwest::Url;

use super::grant::Method;
use crate::plugin::bindings::writer::rsnap::plugin::http as wit;

const HEADERS_MAX: usize = 64;
/// Bytes of the URL and of all headers.
const TEXT_MAX: usize = 16 << 10;

/// A request without its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) credential: Option<String>,
}

/// Whether a header belongs to the connection, which is the gateway's.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    let connection =
        [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    connection.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// The error continues the sentence "the request …".
pub(super) fn lift(request: &wit::Request) -> Result<Head, String> {
    let texts = request.headers.iter().map(|header| header.name.len() + header.value.len());
    if request.headers.len() > HEADERS_MAX || texts.sum::<usize>() + request.url.len() > TEXT_MAX {
        return Err(format!("has more than {HEADERS_MAX} headers or {TEXT_MAX} bytes of text"));
    }
    let mut headers = HeaderMap::new();
    for header in &request.headers {
        let fault = || format!("has an impossible header {:?}", header.name);
        let name: HeaderName = header.name.parse().map_err(|_| fault())?;
        let value = HeaderValue::from_str(&header.value).map_err(|_| fault())?;
        if is_ours(&name) {
            return Err(format!("has the header {name}, which is the gateway's to set"));
        }
        headers.append(name, value);
    }
    Ok(Head {
        method: method(request.method),
        url: url(&request.url)?,
        headers,
        credential: request.credential.clone(),
    })
}

fn url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|_| "has no URL".to_owned())?;
    if url.scheme() != "https" || !url.has_host() {
        return Err("is for a URL that does not begin with https:// and a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("is for a URL with a user name or a fragment".to_owned());
    }
    Ok(url)
}

fn method(method: wit::Method) -> Method {
    match method {
        wit::Method::Get => Method::Get,
        wit::Method::Head => Method::Head,
        wit::Method::Post => Method::Post,
        wit::Method::Put => Method::Put,
        wit::Method::Delete => Method::Delete,
    }
}

impl From<Method> for http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Head => Self::HEAD,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Delete => Self::DELETE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str, headers: &[(&str, &str)]) -> String {
        let header =
            |(name, value): &(&str, &str)| wit::Header { name: (*name).to_owned(), value: (*value).to_owned() };
        let headers = headers.iter().map(header).collect();
        let request =
            wit::Request { method: wit::Method::Get, url: url.to_owned(), headers, credential: None, body: Vec::new() };
        lift(&request).map_or_else(|fault| fault, |head| head.url.to_string())
    }

    #[test]
    fn what_is_well_formed_passes() {
        let accept = [("Accept", "application/json"), ("x-own", "1")];
        assert_eq!(fault("https://a.example:5000/v3?x=1", &accept), "https://a.example:5000/v3?x=1");
    }

    #[test]
    fn what_is_not_does_not() {
        for url in ["", "/v3", "http://a.example", "https://", "https://u@a.example", "https://a.example/#x", "ftp://a"]
        {
            assert!(!fault(url, &[]).starts_with("https"), "{url}");
        }
        for header in
            [("Host", "b"), ("content-length", "1"), ("Transfer-Encoding", "chunked"), ("a b", ""), ("a", "\r\nb")]
        {
            assert!(fault("https://a.example", &[header]).starts_with("has "), "{header:?}");
        }
        let long = "x".repeat(TEXT_MAX);
        assert!(fault("https://a.example", &[("a", &long)]).starts_with("has more"));
        assert!(fault("https://a.example", &[("a", "b"); HEADERS_MAX + 1]).starts_with("has more"));
    }
}
