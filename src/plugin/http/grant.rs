//! `http` under `[plugins.<kind>]`: the hosts that a plugin may ask.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::header::HeaderName;
use http::uri::Authority;
use serde::{Deserialize, Serialize};

use crate::keystone::{self, Account};
use crate::plugin::addresses::Allowed;
use crate::quantity::Seconds;

/// Longest time for one answer: that a plugin has for all work of the host.
const TIMEOUT_MAX: Seconds = Seconds::new(60 * 60);

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HostGrant {
    /// Its name or address, and its port unless that is 443.
    pub host: String,
    /// PEM: the authority that vouches for it; `None`: those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    #[serde(default = "default_methods")]
    pub methods: Vec<Method>,
    /// For one request with its answer.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
    /// What the gateway shows to the host, by the names that the plugin has for it.
    #[serde(default)]
    pub credentials: BTreeMap<String, Credential>,
}

/// What may be done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
}

/// A secret in a file, which is read for each request: a new one needs no restart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Credential {
    /// `Authorization: Bearer`, and what the file holds.
    Bearer { file: PathBuf },
    /// `Authorization: Basic`; the file holds `user:password`.
    Basic { file: PathBuf },
    /// A header of this name with what the file holds.
    Header { name: String, file: PathBuf },
    /// `X-Auth-Token`: a token of the account at the Keystone `url` (`https://…/v3`), made when it is needed.
    Keystone { url: String, account: Account },
}

fn default_methods() -> Vec<Method> {
    vec![Method::Get, Method::Head]
}

fn default_timeout() -> Seconds {
    Seconds::new(10)
}

impl HostGrant {
    /// `host` with the defaults.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        let (methods, timeout) = (default_methods(), default_timeout());
        Self { host: host.into(), ca: None, methods, timeout, credentials: BTreeMap::new() }
    }

    /// Pushes a text for each fault; `key` is this grant's in the file.
    pub(in crate::plugin) fn validate(&self, key: &str, faults: &mut Vec<String>) {
        let address = format!("https://{}", self.host);
        if self.host.parse::<Authority>().is_err() {
            faults.push(format!("{key}.host: {:?} is not a host with or without a port", self.host));
        } else if let Err(fault) = Allowed::new(&[]).check(&address) {
            faults.push(format!("{key}.host: {fault}"));
        }
        if self.methods.is_empty() {
            faults.push(format!("{key}.methods: must name one at least, such as \"GET\""));
        }
        if self.timeout == Seconds::default() || self.timeout > TIMEOUT_MAX {
            faults.push(format!("{key}.timeout: must be longer than nothing and at most {TIMEOUT_MAX}"));
        }
        for (name, credential) in &self.credentials {
            let key = format!("{key}.credentials.{name}");
            match credential {
                Credential::Header { name: header, .. } => {
                    if !header.parse::<HeaderName>().is_ok_and(|header| !super::request::is_ours(&header)) {
                        faults.push(format!("{key}.name: {header:?} is no header that may be shown"));
                    }
                }
                Credential::Keystone { url, account } => self.keystone(url, account).validate(&key, faults),
                Credential::Bearer { .. } | Credential::Basic { .. } => {}
            }
        }
    }

    /// The Keystone of a credential; proven and waited for as the host is.
    pub(super) fn keystone(&self, url: &str, account: &Account) -> keystone::Config {
        let timeout = self.timeout.min(keystone::TIMEOUT_MAX);
        keystone::Config { url: url.to_owned(), ca: self.ca.clone(), account: account.clone(), timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        toml::from_str::<HostGrant>(text).unwrap().validate("http", &mut faults);
        faults
    }

    #[test]
    fn a_host_alone_may_be_read_from() {
        let grant: HostGrant = toml::from_str("host = \"a.example:5000\"").unwrap();
        assert_eq!(grant, HostGrant::new("a.example:5000"));
        assert_eq!(grant.methods, [Method::Get, Method::Head]);
        for good in ["a.example", "192.0.2.1:5000", "[2001:db8::1]:8443", "127.0.0.1:1"] {
            assert_eq!(faults(&format!("host = {good:?}")), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn what_is_no_host_is_a_fault() {
        for bad in ["", "https://a.example", "a.example/v3", "u:p@a.example", "169.254.169.254", "a b", "a.example:0"] {
            assert_eq!(faults(&format!("host = {bad:?}")).len(), 1, "{bad}");
        }
        let text = "host = \"a.example\"\nmethods = []\ntimeout = \"0s\"\n\
                    [credentials.c]\nkind = \"header\"\nname = \"Host\"\nfile = \"x\"";
        assert_eq!(faults(text).len(), 3);
        assert!(toml::from_str::<HostGrant>("host = \"a\"\nmethods = [\"PATCH\"]").is_err());
        assert!(toml::from_str::<HostGrant>("host = \"a\"\n[credentials.c]\nkind = \"magic\"").is_err());
    }
}
