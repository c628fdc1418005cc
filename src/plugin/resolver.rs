//! A site resolver as a component. A fresh instance for each question; the addresses are checked before they are used.

use async_trait::async_trait;

use super::addresses::Allowed;
use super::bindings::resolver::SiteResolver;
use super::bindings::resolver::exports::rsnap::plugin::resolver as wit;
use super::call::Guest;
use super::text::clean;
use super::{PluginError, Resolver, Site};
use crate::id::SiteName;

/// A loaded resolver.
pub(super) struct ComponentResolver {
    pub(super) guest: Guest<SiteResolver>,
    pub(super) allowed: Allowed,
}

#[async_trait]
impl Resolver for ComponentResolver {
    fn name(&self) -> &str {
        &self.guest.shared.name
    }

    async fn resolve(&self, name: &SiteName) -> Result<Option<Site>, PluginError> {
        self.guest.shared.call(name.as_str(), self.ask(name)).await
    }
}

impl ComponentResolver {
    async fn ask(&self, name: &SiteName) -> Result<Option<Site>, PluginError> {
        let asked = name.to_string();
        let resolve = self.guest.start(move |instance| {
            Box::pin(async move {
                let (world, store) = (&instance.world, &mut instance.store);
                world.rsnap_plugin_resolver().call_resolve(store, &asked).await
            })
        });
        let shared = &self.guest.shared;
        match resolve.await?.1 {
            Ok(None) => Ok(None),
            Ok(Some(site)) => self.lift(name, site).map(Some).map_err(|fault| shared.failed(fault)),
            Err(text) => Err(PluginError::Unavailable { plugin: shared.name.clone(), detail: clean(&text) }),
        }
    }

    fn lift(&self, name: &SiteName, site: wit::Site) -> Result<Site, String> {
        if site.name != name.as_str() {
            return Err(format!("it was asked for site {name} and answers {:?}", clean(&site.name)));
        }
        for (key, address) in [("keystone", &site.keystone), ("gateway", &site.gateway)] {
            self.allowed.check(address).map_err(|fault| format!("the {key} address of site {name} {fault}"))?;
        }
        let region = clean(&site.region);
        Ok(Site { name: name.clone(), keystone: site.keystone, region, gateway: site.gateway })
    }
}
