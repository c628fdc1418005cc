//! Site resolvers: a site's name to its addresses.

use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::bindings::resolver::exports::rsnap::plugin::resolver as generated;
use crate::instance;

pub use generated::Site;

/// A site resolver; its fields are its settings.
pub trait Resolver: DeserializeOwned + 'static {
    /// Checks what a type cannot say of the settings. An error stops the gateway's start and is shown to the operator.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// The site called `name`; `None` when there is no such site.
    fn resolve(&self, name: &str) -> Result<Option<Site>, String>;
}

/// Where a site is, as an operator writes it down.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    pub keystone: String,
    pub region: String,
    pub gateway: String,
}

impl Addresses {
    /// Whether these can be addresses; the error begins with the key that is wrong.
    pub fn check(&self) -> Result<(), String> {
        for (key, address) in [("keystone", &self.keystone), ("gateway", &self.gateway)] {
            let host = address.strip_prefix("https://").unwrap_or_default();
            if host.is_empty() || host.starts_with(['/', ':']) || host.contains(char::is_whitespace) {
                return Err(format!("{key}: {address:?} must be an address that begins with https://"));
            }
        }
        Ok(())
    }

    /// The site of this name at these addresses.
    #[must_use]
    pub fn site(self, name: &str) -> Site {
        let Self { keystone, region, gateway } = self;
        Site { name: name.to_owned(), keystone, region, gateway }
    }
}

#[doc(hidden)]
pub struct Exported<R>(PhantomData<R>);

impl<R: Resolver> generated::Guest for Exported<R> {
    fn configure() -> Result<(), String> {
        instance::configure(R::check)
    }

    fn resolve(name: String) -> Result<Option<Site>, String> {
        instance::call(|resolver: &mut R| resolver.resolve(&name))
    }
}

/// Exports a [`Resolver`] as this component's world `site-resolver`.
#[macro_export]
macro_rules! export_resolver {
    ($plugin:ty) => {
        const _: () = {
            type Exported = $crate::resolver::Exported<$plugin>;
    $crate::bindings::resolver::export!(Exported with_types_in $crate::bindings::resolver);
        };
    };
}
