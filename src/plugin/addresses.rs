//! Which addresses a resolver may answer.
//!
//! A resolver can be wrong or hostile, and what it answers is contacted with credentials: only `https`, no address
//! that reaches the machine's own metadata service (link-local), and nothing outside the operator's list where there
//! is one. Names are compared, not looked up: what a name means may change between the check and its use. Numbers are read
//! as those read them that connect: `0xa9fea9fe` is an address too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Authority;
use reqwest::Url;

use super::text::clean;

/// The operator's list.
#[derive(Debug, Clone)]
pub(super) struct Allowed(Vec<String>);

impl Allowed {
    /// Hosts, exact or `*.example.org`; empty: any that is not forbidden.
    pub(super) fn new(hosts: &[String]) -> Self {
        Self(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    /// The error continues the sentence "the address …".
    pub(super) fn check(&self, address: &str) -> Result<(), String> {
        let fault = |why: &str| format!("is {:?}, which {why}", clean(address));
        let uri: Uri = address.parse().map_err(|_| fault("is not a URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(fault("does not begin with https://"));
        }
        let authority = uri.authority().ok_or_else(|| fault("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(fault("contains a user name"));
        }
        if !port_is_possible(authority) {
            return Err(fault("has an impossible port"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let host = host.trim_end_matches('.');
        if host.is_empty() {
            return Err(fault("names no host"));
        }
        let url = Url::parse(address).map_err(|_| fault("is not a URL"))?;
        let meant = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if meant.trim_end_matches('.').parse().is_ok_and(forbidden) {
            return Err(fault("is a link-local, unspecified, multicast or broadcast address"));
        }
        if !self.0.is_empty() && !self.0.iter().any(|pattern| matches(pattern, host)) {
            return Err(fault("is not in plugins.allow_hosts"));
        }
        Ok(())
    }
}

fn port_is_possible(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).is_some_and(|port: u16| port != 0),
        None => false,
    }
}

fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => pattern == host,
    }
}

fn forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v6(v6: Ipv6Addr) -> bool {
    v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || inner(v6).is_some_and(forbidden)
}

/// The IPv4 address that is reached by it: mapped, compatible (RFC 4291, 2.5.5), or translated (RFC 6052, 2.1).
fn inner(v6: Ipv6Addr) -> Option<IpAddr> {
    const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
    let translated = || {
        let [front @ .., high, low] = v6.segments();
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        (front == TRANSLATED).then(|| Ipv4Addr::new(a, b, c, d))
    };
    let compatible = v6.to_ipv4().filter(|_| v6 != Ipv6Addr::LOCALHOST);
    compatible.or_else(translated).map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_addresses_pass() {
        let any = Allowed::new(&[]);
        for address in [
            "https://a.example/v3",
            "https://192.0.2.1:8443",
            "https://[2001:db8::1]:8443",
            "https://127.0.0.1",
            "https://[::1]",
        ] {
            assert_eq!(any.check(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn dangerous_addresses_do_not() {
        let any = Allowed::new(&[]);
        let bad = [
            "http://a.example",
            "a.example",
            "https://",
            "https:///v3",
            "https://user:pass@a.example",
            "https://169.254.169.254/latest",
            "https://[fe80::1]",
            "https://[::ffff:169.254.169.254]",
            "https://[::a9fe:a9fe]",
            "https://[64:ff9b::a9fe:a9fe]",
            "https://2852039166",
            "https://0xa9fea9fe:8443/v3",
            "https://169.254.43518",
            "https://0251.0376.0251.0376",
            "https://169.254.169.254.",
            "https://0.0.0.0:8443",
            "https://[::]",
            "https://255.255.255.255",
            "https://a.example:0",
            "https://a.example:99999",
            "https://a b",
            "file:///etc/passwd",
        ];
        for address in bad {
            assert!(any.check(address).is_err(), "{address} was accepted");
        }
    }

    #[test]
    fn the_operators_list_is_held() {
        let list = Allowed::new(&["gw.example.org".to_owned(), "*.Dc1.example.org".to_owned()]);
        for address in ["https://gw.example.org:8443", "https://GW.example.org.", "https://a.b.dc1.example.org"] {
            assert_eq!(list.check(address), Ok(()), "{address}");
        }
        for address in
            ["https://example.org", "https://dc1.example.org", "https://evildc1.example.org", "https://192.0.2.1"]
        {
            assert!(list.check(address).is_err(), "{address} was accepted");
        }
    }
}
