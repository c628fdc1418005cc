//! Registration in the catalogue of a real Keystone, looked at through Keystone's own interface.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::keystone::{Keystone, PASSWORD, program, source};

const TYPE: &str = "snapshot-transfer";

/// What is done with a Keystone here.
trait Registrar {
    fn endpoints(&self) -> Vec<[String; 4]>;
    fn register(&self, arguments: &[&str]) -> Output;
    fn registered(&self, arguments: &[&str]) -> String;
    fn refused(&self, arguments: &[&str], says: &str);
}

impl Registrar for Keystone {
    /// Our endpoints as callers see them: region, interface, address and id, in order.
    fn endpoints(&self) -> Vec<[String; 4]> {
        let catalogue = self.log_in().1;
        let services: Vec<_> = catalogue.as_array().unwrap().iter().filter(|entry| entry["type"] == TYPE).collect();
        assert!(services.len() <= 1, "{services:?}");
        let endpoints = services.iter().flat_map(|service| service["endpoints"].as_array().unwrap());
        let text = |endpoint: &Value, key: &str| endpoint[key].as_str().unwrap().to_owned();
        let mut seen: Vec<_> =
            endpoints.map(|endpoint| ["region", "interface", "url", "id"].map(|key| text(endpoint, key))).collect();
        seen.sort();
        seen
    }

    fn register(&self, arguments: &[&str]) -> Output {
        program("python")
            .arg(source("deploy/keystone/register.py"))
            .args(arguments)
            .env("OS_AUTH_URL", format!("http://{}/v3", self.address))
            .envs([("OS_USERNAME", "admin"), ("OS_PASSWORD", PASSWORD), ("OS_PROJECT_NAME", "admin")])
            .envs([("OS_USER_DOMAIN_ID", "default"), ("OS_PROJECT_DOMAIN_ID", "default")])
            .output()
            .unwrap()
    }

    /// What a registration that succeeds says.
    #[track_caller]
    fn registered(&self, arguments: &[&str]) -> String {
        let output = self.register(arguments);
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], says: &str) {
        let output = self.register(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && errors.contains(says), "{arguments:?}: {errors}");
    }
}

fn without_ids(endpoints: &[[String; 4]]) -> Vec<[&str; 3]> {
    endpoints.iter().map(|[region, interface, url, _]| [region.as_str(), interface, url]).collect()
}

#[test]
fn registering_again_changes_what_has_changed_and_doubles_nothing() {
    let keystone = Keystone::start();
    let (vip, inside, moved) = ("https://vip.example:8443", "https://10.0.0.1:8443", "https://new.example:8443");
    keystone.refused(&["--region", "dc9", "--public", vip], "there is no region dc9; there are: dc1");
    keystone.refused(&["--region", "dc1", "--public", "http://vip.example"], "is not like https://");
    let planned = keystone.registered(&["--region", "dc1", "--public", vip, "--dry-run"]);
    assert_eq!(planned.matches("would be created").count(), 3, "{planned}");
    assert!(keystone.endpoints().is_empty());

    let first = keystone.registered(&["--region", "dc1", "--public", vip, "--internal", inside]);
    assert_eq!(first.matches("created").count(), 3, "{first}");
    let there = keystone.endpoints();
    assert_eq!(without_ids(&there), [["dc1", "internal", inside], ["dc1", "public", vip]]);
    let again = keystone.registered(&["--region", "dc1", "--public", vip, "--internal", inside]);
    assert_eq!(
        (again.trim(), keystone.endpoints()),
        ("nothing to do: the catalogue is as it should be", there.clone())
    );

    let updated = keystone.registered(&["--region", "dc1", "--public", moved, "--internal", inside]);
    assert_eq!(updated.lines().count(), 1, "{updated}");
    let after = keystone.endpoints();
    assert_eq!(without_ids(&after), [["dc1", "internal", inside], ["dc1", "public", moved]]);
    assert_eq!(after[1][3], there[1][3], "the endpoint was made anew instead of updated");

    keystone.make("/v3/regions", &json!({"region": {"id": "dc2"}}));
    keystone.registered(&["--region", "dc2", "--public", vip]);
    assert_eq!(keystone.endpoints()[..2], after, "another region was touched");
    assert_eq!(without_ids(&keystone.endpoints()[2..]), [["dc2", "internal", vip], ["dc2", "public", vip]]);

    let catalogue = keystone.log_in().1;
    let service = catalogue.as_array().unwrap().iter().find(|entry| entry["type"] == TYPE).unwrap()["id"].clone();
    let double = json!({"service_id": service, "region_id": "dc2", "interface": "public", "url": "https://old:1"});
    keystone.make("/v3/endpoints", &json!({"endpoint": double}));
    assert_eq!(keystone.endpoints().len(), 5);
    let cleared = keystone.registered(&["--region", "dc2", "--public", vip]);
    assert!(cleared.contains("removed") && cleared.contains("https://old:1"), "{cleared}");
    assert_eq!(without_ids(&keystone.endpoints()[2..]), [["dc2", "internal", vip], ["dc2", "public", vip]]);
}
