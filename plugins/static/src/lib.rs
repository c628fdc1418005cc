//! The resolver `static`: sites from the configuration.
//!
//! ```toml
//! [plugins.resolver.settings.sites.dc1]
//! keystone = "https://keystone.dc1.example/v3"
//! region = "RegionOne"
//! gateway = "https://gateway.dc1.example:8443"
//! ```

use std::collections::BTreeMap;

use rsnap_plugin::resolver::{Addresses, Resolver, Site};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Static {
    #[serde(default)]
    sites: BTreeMap<String, Addresses>,
}

impl Resolver for Static {
    fn check(&self) -> Result<(), String> {
        let check = |(name, site): (&String, &Addresses)| site.check().map_err(|fault| format!("sites.{name}.{fault}"));
        self.sites.iter().try_for_each(check)
    }

    fn resolve(&self, name: &str) -> Result<Option<Site>, String> {
        Ok(self.sites.get(name).map(|site| site.clone().site(name)))
    }
}

rsnap_plugin::export_resolver!(Static);
