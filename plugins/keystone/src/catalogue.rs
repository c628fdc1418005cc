//! A catalogue of Keystone, as far as it says where sites are.

use rsnap_plugin::resolver::Site;

/// The type of Keystone itself.
const IDENTITY: &str = "identity";

#[derive(serde::Deserialize)]
pub(crate) struct Catalogue {
    catalog: Vec<Service>,
}

#[derive(serde::Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    endpoints: Vec<Endpoint>,
}

#[derive(serde::Deserialize)]
struct Endpoint {
    /// An endpoint may be in no region.
    region_id: Option<String>,
    interface: String,
    url: String,
}

impl Catalogue {
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("Keystone's answer is no catalogue: {error}"))
    }

    /// The region called `name`, with the gateways of the type `service`; `None` when the catalogue has no such region.
    pub(crate) fn site(&self, name: &str, service: &str, interface: &str) -> Result<Option<Site>, String> {
        let is_there = |endpoint: &&Endpoint| endpoint.region_id.as_deref() == Some(name);
        if !self.catalog.iter().flat_map(|service| &service.endpoints).any(|endpoint| is_there(&endpoint)) {
            return Ok(None);
        }
        let find = |kind: &str| {
            let services = self.catalog.iter().filter(|service| service.kind == kind);
            let mut found = services.flat_map(|service| &service.endpoints).filter(is_there);
            let missing = || format!("the region {name} has no {interface} endpoint of the type {kind}");
            found
                .find(|endpoint| endpoint.interface == interface)
                .map(|endpoint| endpoint.url.clone())
                .ok_or_else(missing)
        };
        let (identity, gateway) = (find(IDENTITY)?, find(service)?);
        let identity = identity.trim_end_matches('/');
        // Catalogues have the address with and without the version.
        let keystone = if identity.ends_with("/v3") { identity.to_owned() } else { format!("{identity}/v3") };
        let gateway = gateway.trim_end_matches('/').to_owned();
        Ok(Some(Site { name: name.to_owned(), keystone, region: name.to_owned(), gateway }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"catalog": [
        {"type": "identity", "id": "i", "name": "keystone", "endpoints": [
            {"id": "1", "interface": "public", "region": "dc1", "region_id": "dc1", "url": "https://k.dc1.example/v3"},
            {"id": "2", "interface": "admin", "region": "dc2", "region_id": "dc2", "url": "https://admin.dc2.example/"},
            {"id": "3", "interface": "public", "region": "dc2", "region_id": "dc2", "url": "https://k.dc2.example/"},
            {"id": "4", "interface": "public", "region": null, "region_id": null, "url": "https://nowhere.example"}]},
        {"type": "snapshot-transfer", "id": "s", "name": "rsnap", "endpoints": [
            {"id": "5", "interface": "public", "region": "dc2", "region_id": "dc2", "url": "https://g.dc2.example:8443/"}]},
        {"type": "volumev3", "id": "v", "name": "cinder", "endpoints": []}], "links": {"self": "x"}}"#;

    fn site(name: &str, service: &str, interface: &str) -> Result<Option<Site>, String> {
        Catalogue::read(TEXT.as_bytes()).unwrap().site(name, service, interface)
    }

    #[test]
    fn a_region_is_a_site() {
        let found = site("dc2", "snapshot-transfer", "public").unwrap().unwrap();
        assert_eq!(
            (found.keystone.as_str(), found.gateway.as_str()),
            ("https://k.dc2.example/v3", "https://g.dc2.example:8443")
        );
        assert_eq!((found.name.as_str(), found.region.as_str()), ("dc2", "dc2"));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(site("dc3", "snapshot-transfer", "public").unwrap().is_none());
        let gateway = site("dc1", "snapshot-transfer", "public").unwrap_err();
        assert_eq!(gateway, "the region dc1 has no public endpoint of the type snapshot-transfer");
        assert!(site("dc2", "snapshot-transfer", "internal").unwrap_err().contains("of the type identity"));
        for text in ["", "{}", "[]", "{\"catalog\": [{}]}"] {
            assert!(Catalogue::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
