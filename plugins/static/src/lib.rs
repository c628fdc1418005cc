//! The resolver `static`: sites from the configuration.
//!
//! ```toml
//! [plugins.resolver.settings.sites.dc1]
//! keystone = "https://keystone.dc1.example/v3"
//! region = "RegionOne"
//! gateway = "https://gateway.dc1.example:8443"
//! ```

use std::collections::BTreeMap;

use rsnap_plugin::resolver::{Resolver, Site};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Static {
    #[serde(default)]
    sites: BTreeMap<String, Addresses>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Addresses {
    keystone: String,
    region: String,
    gateway: String,
}

impl Resolver for Static {
    fn check(&self) -> Result<(), String> {
        for (name, site) in &self.sites {
            for (key, address) in [("keystone", &site.keystone), ("gateway", &site.gateway)] {
                let host = address.strip_prefix("https://").unwrap_or_default();
                if host.is_empty() || host.starts_with(['/', ':']) || host.contains(char::is_whitespace) {
                    return Err(format!("sites.{name}.{key}: {address:?} must be an address that begins with https://"));
                }
            }
        }
        Ok(())
    }

    fn resolve(&self, name: &str) -> Result<Option<Site>, String> {
        Ok(self.sites.get(name).map(|site| Site {
            name: name.to_owned(),
            keystone: site.keystone.clone(),
            region: site.region.clone(),
            gateway: site.gateway.clone(),
        }))
    }
}

rsnap_plugin::export_resolver!(Static);
