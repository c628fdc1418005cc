//! The resolver `keystone`: sites are the regions of a Keystone, and what the catalogue has there.
//!
//! The site's name is the region's. Where its Keystone is says the region's endpoint of the type `identity`, where its
//! gateway is that of the type under which gateways are registered.
//!
//! ```toml
//! [plugins.resolver.settings]
//! url = "https://keystone.dc2.example:5000/v3"   # the Keystone that knows all regions
//! credential = "catalogue"                       # granted with its host
//! # service = "snapshot-transfer"                # the type of the gateways' service
//! # interface = "public"
//! ```

mod catalogue;

use rsnap_plugin::http::{self, Request};
use rsnap_plugin::resolver::{Resolver, Site};
use rsnap_plugin::writer::Error;

use catalogue::Catalogue;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Keystone {
    url: String,
    credential: String,
    #[serde(default = "service")]
    service: String,
    #[serde(default = "interface")]
    interface: String,
}

fn service() -> String {
    "snapshot-transfer".to_owned()
}

fn interface() -> String {
    "public".to_owned()
}

impl Keystone {
    fn request(&self) -> Request {
        let request = Request::get(format!("{}/auth/catalog", self.url.trim_end_matches('/')));
        Request { credential: Some(self.credential.clone()), ..request.header("accept", "application/json") }
    }
}

impl Resolver for Keystone {
    fn check(&self) -> Result<(), String> {
        if !self.url.trim_end_matches('/').ends_with("/v3") {
            return Err(format!("url: {:?} must end with /v3", self.url));
        }
        http::check(&self.request()).map_err(Error::into_text)
    }

    fn resolve(&self, name: &str) -> Result<Option<Site>, String> {
        let answer = http::send(&self.request()).map_err(Error::into_text)?;
        if answer.status != 200 {
            return Err(format!("Keystone answers {} to the question for its catalogue", answer.status));
        }
        Catalogue::read(&answer.body)?.site(name, &self.service, &self.interface)
    }
}

rsnap_plugin::export_resolver!(Keystone);
