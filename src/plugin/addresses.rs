//! Which addresses a resolver may answer.
//!
//! A resolver can be wrong or hostile, and what it answers is contacted with credentials: only `https`, no address
//! that reaches the machine's own metadata service (link-local), and nothing outside the operator's list where there
//! is one. Names are compared, not looked up: what a name means may change between the check and its use.

use std::net::{IpAddr, Ipv6Addr};

use http::Uri;

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
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let host = host.trim_end_matches('.');
        if host.is_empty() || (authority.port().is_some() && authority.port_u16().is_none_or(|port| port == 0)) {
            return Err(fault("names no host or an impossible port"));
        }
        if host.parse().is_ok_and(forbidden) {
            return Err(fault("is a link-local, unspecified, multicast or broadcast address"));
        }
        if !self.0.is_empty() && !self.0.iter().any(|pattern| matches(pattern, host)) {
            return Err(fault("is not in plugins.allow_hosts"));
        }
        Ok(())
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
    let mapped = v6.to_ipv4_mapped().map(IpAddr::V4);
    v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || mapped.is_some_and(forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_addresses_pass() {
        let any = Allowed::new(&[]);
        for address in ["https://a.example/v3", "https://192.0.2.1:8443", "https://[2001:db8::1]:8443", "https://127.0.0.1"] {
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
        for address in ["https://example.org", "https://dc1.example.org", "https://evildc1.example.org", "https://192.0.2.1"] {
            assert!(list.check(address).is_err(), "{address} was accepted");
        }
    }
}
