//! The `[etcd]` table.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::quantity::Seconds;

/// etcd grants no lease for less.
const TTL_MIN: Seconds = Seconds::new(2);
const TTL_MAX: Seconds = Seconds::new(60 * 60);
const TIMEOUT_MIN: Duration = Duration::from_millis(50);
const TIMEOUT_MAX: Seconds = Seconds::new(30);
/// Longest `etcd.group`: it is in every gateway's record.
const GROUP_MAX: usize = 256;

/// The `[etcd]` table. Without it a gateway stands alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where etcd listens: `https://host:2379`, several.
    pub endpoints: Vec<String>,
    pub user: Option<String>,
    /// The file that holds the user's password.
    pub password_file: Option<PathBuf>,
    /// PEM: who signs etcd's certificates; without, whom the system trusts.
    pub ca: Option<PathBuf>,
    /// PEM: this gateway's certificate for etcd, where etcd wants one.
    pub certificate: Option<PathBuf>,
    /// PEM: its private key.
    pub key: Option<PathBuf>,
    /// How long etcd may take for one answer.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
    /// How long a gateway that says nothing is still counted.
    #[serde(default = "default_ttl")]
    pub ttl: Seconds,
    /// What the gateways that write to the same storage have in common; without, it is told from the stores.
    pub group: Option<String>,
}

const fn default_timeout() -> Seconds {
    Seconds::new(2)
}

const fn default_ttl() -> Seconds {
    Seconds::new(60)
}

impl Config {
    /// Pushes a text for each fault.
    pub fn validate(&self, faults: &mut Vec<String>) {
        if self.endpoints.is_empty() {
            faults.push("etcd.endpoints: must name at least one, such as \"https://192.0.2.1:2379\"".to_owned());
        }
        for endpoint in self.endpoints.iter().filter(|endpoint| !is_endpoint(endpoint)) {
            faults.push(format!("etcd.endpoints: {endpoint:?} is not like \"https://192.0.2.1:2379\""));
        }
        pair("user", self.user.is_some(), "password_file", self.password_file.is_some(), faults);
        pair("certificate", self.certificate.is_some(), "key", self.key.is_some(), faults);
        let plain = self.endpoints.iter().any(|endpoint| endpoint.starts_with("http://"));
        if plain && (self.ca.is_some() || self.certificate.is_some()) {
            faults.push("etcd.endpoints: with etcd.ca or etcd.certificate all must start with https://".to_owned());
        }
        if self.timeout.0 < TIMEOUT_MIN || self.timeout > TIMEOUT_MAX {
            faults.push(format!("etcd.timeout: must be from 50ms to {TIMEOUT_MAX}"));
        }
        if self.ttl < TTL_MIN || self.ttl > TTL_MAX || self.ttl.0.subsec_nanos() != 0 {
            faults.push(format!("etcd.ttl: must be a whole number of seconds from {TTL_MIN} to {TTL_MAX}"));
        }
        if self.ttl.0 < self.timeout.0 * 2 {
            faults.push("etcd.ttl: must be at least twice etcd.timeout, or one slow answer loses the lease".to_owned());
        }
        if self.group.as_ref().is_some_and(|group| group.is_empty() || group.len() > GROUP_MAX) {
            faults.push(format!("etcd.group: must be from 1 to {GROUP_MAX} bytes long"));
        }
    }
}

fn pair(one: &str, has_one: bool, other: &str, has_other: bool, faults: &mut Vec<String>) {
    match (has_one, has_other) {
        (true, false) => faults.push(format!("etcd.{other}: is missing; etcd.{one} needs it")),
        (false, true) => faults.push(format!("etcd.{one}: is missing; etcd.{other} needs it")),
        _ => {}
    }
}

/// A scheme, a host and a port, and nothing after them.
fn is_endpoint(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    scheme && uri.port_u16().is_some_and(|port| port != 0) && uri.path_and_query().is_none_or(|path| path == "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        toml::from_str::<Config>(text).unwrap().validate(&mut faults);
        faults
    }

    #[test]
    fn endpoints_are_enough() {
        let config: Config = toml::from_str("endpoints = [\"https://10.0.0.1:2379\"]").unwrap();
        assert_eq!((config.ttl, config.timeout), (Seconds::new(60), Seconds::new(2)));
        assert_eq!(faults("endpoints = [\"https://10.0.0.1:2379\", \"http://[::1]:2379/\"]"), Vec::<String>::new());
    }

    #[test]
    fn each_fault_names_its_key() {
        let good = "endpoints = [\"https://10.0.0.1:2379\"]\n";
        for (text, key) in [
            ("endpoints = []".to_owned(), "etcd.endpoints"),
            ("endpoints = [\"10.0.0.1:2379\"]".to_owned(), "etcd.endpoints"),
            ("endpoints = [\"https://10.0.0.1\"]".to_owned(), "etcd.endpoints"),
            ("endpoints = [\"https://10.0.0.1:2379/v3\"]".to_owned(), "etcd.endpoints"),
            ("endpoints = [\"http://10.0.0.1:2379\"]\nca = \"/x\"".to_owned(), "etcd.endpoints"),
            (format!("{good}user = \"rsnap\""), "etcd.password_file"),
            (format!("{good}password_file = \"/x\""), "etcd.user"),
            (format!("{good}certificate = \"/x\""), "etcd.key"),
            (format!("{good}timeout = \"1ms\""), "etcd.timeout"),
            (format!("{good}ttl = \"1s\"\ntimeout = \"500ms\""), "etcd.ttl"),
            (format!("{good}ttl = \"3s\""), "etcd.ttl"),
            (format!("{good}ttl = \"5500ms\""), "etcd.ttl"),
            (format!("{good}group = \"\""), "etcd.group"),
        ] {
            let faults = faults(&text);
            assert!(faults.len() == 1 && faults[0].starts_with(key), "{text}: {faults:?}");
        }
        assert!(toml::from_str::<Config>("endpoint = []").is_err());
    }
}
