//! The resolver `my-plugin`: addresses of sites by a naming scheme.

use rsnap_plugin::resolver::{Resolver, Site};

/// The settings: the plugin's own table in the gateway's configuration.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MyPlugin {
    /// The domain that all sites are in.
    domain: String,
    /// The sites that there are.
    sites: Vec<String>,
}

impl Resolver for MyPlugin {
    fn check(&self) -> Result<(), String> {
        if self.domain.is_empty() { Err("domain: must not be empty".to_owned()) } else { Ok(()) }
    }

    fn resolve(&self, name: &str) -> Result<Option<Site>, String> {
        if !self.sites.iter().any(|site| site == name) {
            return Ok(None);
        }
        Ok(Some(Site {
            name: name.to_owned(),
            keystone: format!("https://keystone.{name}.{}/v3", self.domain),
            region: "RegionOne".to_owned(),
            gateway: format!("https://rsnap.{name}.{}:8443", self.domain),
        }))
    }
}

rsnap_plugin::export_resolver!(MyPlugin);
