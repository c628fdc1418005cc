//! Which Keystone, and who we are there.

use std::path::PathBuf;

use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::quantity::Seconds;

/// Longest time for one request.
pub const TIMEOUT_MAX: Seconds = Seconds::new(60);
/// The domain that a new Keystone has.
const DOMAIN: &str = "Default";

/// A Keystone and our account there.
#[derive(Clone, Debug)]
pub struct Config {
    /// `https://…/v3`.
    pub url: String,
    /// PEM: the authority that vouches for it; `None`: those of the system.
    pub ca: Option<PathBuf>,
    pub account: Account,
    /// For each request.
    pub timeout: Seconds,
}

/// An account of Keystone, with its secret in a file that is read at each log-in: a new one needs no restart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Account {
    Password {
        user: String,
        #[serde(default = "default_domain")]
        user_domain: String,
        project: String,
        #[serde(default = "default_domain")]
        project_domain: String,
        file: PathBuf,
    },
    ApplicationCredential {
        id: String,
        file: PathBuf,
    },
}

/// The domain that names without one are in.
#[must_use]
pub fn default_domain() -> String {
    DOMAIN.to_owned()
}

impl Config {
    /// Pushes a text for each fault; `table` is ours in the file.
    pub fn validate(&self, table: &str, faults: &mut Vec<String>) {
        let uri = self.url.parse::<Uri>().ok();
        let is_good =
            |uri: &Uri| uri.scheme_str() == Some("https") && uri.path().trim_end_matches('/').ends_with("/v3");
        if !uri.as_ref().is_some_and(|uri| is_good(uri) && uri.query().is_none()) {
            faults.push(format!("{table}.url: {:?} must be like https://keystone.example:5000/v3", self.url));
        }
        if self.timeout == Seconds::default() || self.timeout > TIMEOUT_MAX {
            faults.push(format!("{table}.timeout: must be longer than nothing and at most {TIMEOUT_MAX}"));
        }
    }
}

impl Account {
    /// Where the secret is.
    #[must_use]
    pub fn file(&self) -> &PathBuf {
        match self {
            Self::Password { file, .. } | Self::ApplicationCredential { file, .. } => file,
        }
    }

    /// What a log-in says.
    pub(super) fn request(&self, secret: &str) -> Value {
        match self {
            Self::Password { user, user_domain, project, project_domain, .. } => {
                let user = json!({"name": user, "domain": {"name": user_domain}, "password": secret});
                let scope = json!({"project": {"name": project, "domain": {"name": project_domain}}});
                json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}})
            }
            Self::ApplicationCredential { id, .. } => {
                let credential = json!({"id": id, "secret": secret});
                let identity = json!({"methods": ["application_credential"], "application_credential": credential});
                json!({"auth": {"identity": identity}})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_of_two() {
        let password: Account =
            toml::from_str("kind = \"password\"\nuser = \"rsnap\"\nproject = \"service\"\nfile = \"p\"").unwrap();
        let request = password.request("s3");
        assert_eq!(request["auth"]["identity"]["password"]["user"]["domain"]["name"], "Default");
        assert_eq!(request["auth"]["identity"]["password"]["user"]["password"], "s3");
        assert_eq!(request["auth"]["scope"]["project"]["name"], "service");
        let credential: Account =
            toml::from_str("kind = \"application-credential\"\nid = \"a1\"\nfile = \"p\"").unwrap();
        let request = credential.request("s3");
        assert_eq!(request["auth"]["identity"]["application_credential"], json!({"id": "a1", "secret": "s3"}));
        assert!(request["auth"]["scope"].is_null());
        assert!(toml::from_str::<Account>("kind = \"password\"\nuser = \"rsnap\"\nfile = \"p\"").is_err());
    }

    #[test]
    fn the_address_is_that_of_version_3() {
        let faults = |url: &str, seconds| {
            let account = Account::ApplicationCredential { id: String::new(), file: PathBuf::new() };
            let config = Config { url: url.to_owned(), ca: None, account, timeout: Seconds::new(seconds) };
            let mut faults = Vec::new();
            config.validate("auth.keystone", &mut faults);
            faults.len()
        };
        assert_eq!((faults("https://k.example/identity/v3", 5), faults("https://k.example:5000/v3/", 5)), (0, 0));
        for bad in ["", "https://k.example", "http://k.example/v3", "https://k.example/v3?x", "k.example/v3"] {
            assert_eq!(faults(bad, 5), 1, "{bad}");
        }
        assert_eq!((faults("https://k.example/v3", 0), faults("https://k.example/v3", 61)), (1, 1));
    }
}
