//! The resolver `etcd`: sites are keys in the gateway's etcd, and what an operator puts there counts at once.
//!
//! ```sh
//! etcdctl put /rsnap/sites/dc1 '{"keystone": "https://keystone.dc1.example/v3", "region": "RegionOne",
//!     "gateway": "https://rsnap.dc1.example:8443"}'
//! ```
//!
//! ```toml
//! [plugins.resolver]
//! component = "etcd"
//! keys = ["/rsnap/sites/"]             # what it may read
//!
//! [plugins.resolver.settings]
//! # prefix = "/rsnap/sites/"           # what comes before the name of a site
//! ```

use rsnap_plugin::keys;
use rsnap_plugin::resolver::{Addresses, Resolver, Site};
use rsnap_plugin::writer::Error;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Etcd {
    #[serde(default = "prefix")]
    prefix: String,
}

fn prefix() -> String {
    "/rsnap/sites/".to_owned()
}

impl Etcd {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Resolver for Etcd {
    fn check(&self) -> Result<(), String> {
        keys::check(&self.key("check")).map_err(Error::into_text)
    }

    fn resolve(&self, name: &str) -> Result<Option<Site>, String> {
        let key = self.key(name);
        let fault = |why: String| format!("the key {key}: {why}");
        let Some(value) = keys::get(&key).map_err(|error| fault(error.into_text()))? else { return Ok(None) };
        let addresses: Addresses = serde_json::from_slice(&value).map_err(|error| fault(error.to_string()))?;
        addresses.check().map_err(fault)?;
        Ok(Some(addresses.site(name)))
    }
}

rsnap_plugin::export_resolver!(Etcd);
