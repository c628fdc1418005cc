//! The resolver `etcd` with a real one: what an operator puts there is where a site is, from the next question on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::etcd::Etcd;
use crate::support::{Gateway, Options, binary, components, wait_for};

const KEY: &str = "/rsnap/sites/dc1";
const SITE: &str = "{\"keystone\": \"https://keystone.dc1.example/v3\", \"region\": \"RegionOne\", \
                    \"gateway\": \"https://rsnap.dc1.example:8443\"}";

/// The tables of a gateway that asks this etcd for sites, with the keys that it has.
fn options(etcd: &Etcd, folder: &Path, more: &str) -> Options {
    let key = folder.join("ticket.key");
    fs::write(&key, "a-ticket-key-of-more-than-thirty-two-characters").unwrap();
    let extra = format!(
        "[auth]\nticket_keys = [{{ id = \"k1\", file = {key:?} }}]\n{}[plugins.resolver]\ncomponent = \"etcd\"\n{more}\n",
        etcd.table(super::TTL)
    );
    Options { extra, ..Options::default() }
}

const GRANTED: &str = "keys = [\"/rsnap/sites/\"]";

/// Why there is no answer.
fn unanswered(gateway: &Gateway) -> String {
    let answer = gateway.client().get("/v1/sites/dc1").expect(503).json();
    answer["detail"].as_str().unwrap().to_owned()
}

/// A command that finds the plugins.
fn command() -> Command {
    let mut command = Command::new(binary());
    command.env("RSNAP_PLUGIN_PATH", components("plugins"));
    command
}

/// Whether a command succeeds, and what it says.
fn run(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), told)
}

/// What a check says of tables that no gateway starts with.
fn refused(folder: &Path, options: &Options) -> String {
    let file = folder.join("rsnap.toml");
    fs::write(&file, format!("[gateway]\ndata = {folder:?}\n{}", options.extra)).unwrap();
    let mut check = command();
    check.args(["config", "check"]).arg(&file);
    let (succeeded, told) = run(check);
    assert!(!succeeded, "{told}");
    told
}

#[test]
fn sites_are_keys_that_count_at_once() {
    let (etcd, folder) = (Etcd::start(1), tempfile::tempdir().unwrap());
    let gateway = Gateway::start_with(&options(&etcd, folder.path(), GRANTED));
    let client = gateway.client();
    assert_eq!(client.get("/v1/sites/dc1").expect(404).problem(), "no-site");
    etcd.put(KEY, SITE);
    let mut site = json!({"name": "dc1", "region": "RegionOne", "keystone": "https://keystone.dc1.example/v3",
                          "gateway": "https://rsnap.dc1.example:8443"});
    assert_eq!(client.get("/v1/sites/dc1").expect(200).json(), site);
    etcd.put(KEY, &SITE.replace("8443", "9443"));
    site["gateway"] = json!("https://rsnap.dc1.example:9443");
    assert_eq!(client.get("/v1/sites/dc1").expect(200).json(), site);
    etcd.delete(KEY);
    assert_eq!(client.get("/v1/sites/dc1").expect(404).problem(), "no-site");
}

#[test]
fn what_is_no_site_is_told() {
    let (etcd, folder) = (Etcd::start(1), tempfile::tempdir().unwrap());
    let gateway = Gateway::start_with(&options(&etcd, folder.path(), GRANTED));
    let (misspelt, plain) = (SITE.replace("region", "reigon"), SITE.replace("https://rsnap", "http://rsnap"));
    let long = SITE.replace("RegionOne", &"x".repeat(64 << 10));
    let huge = SITE.replace("RegionOne", &"x".repeat(1 << 20));
    for (value, words) in [
        ("dc1.example", "the key /rsnap/sites/dc1: expected value at line 1"),
        ("", "the key /rsnap/sites/dc1: EOF while parsing"),
        ("{}", "missing field `keystone`"),
        (&misspelt, "unknown field `reigon`, expected one of `keystone`, `region`, `gateway`"),
        (&plain, "gateway: \"http://rsnap.dc1.example:8443\" must be an address that begins with https://"),
        (&long, "the value is longer than 65536 bytes"),
        (&huge, "the value is longer than 65536 bytes"),
    ] {
        etcd.put(KEY, value);
        let told = unanswered(&gateway);
        assert!(told.contains(words), "{told}");
    }
    etcd.put(KEY, SITE);
    gateway.client().get("/v1/sites/dc1").expect(200);
}

#[test]
fn an_etcd_that_is_gone_is_told_and_comes_back() {
    let (mut etcd, folder) = (Etcd::start(1), tempfile::tempdir().unwrap());
    etcd.put(KEY, SITE);
    let gateway = Gateway::start_with(&options(&etcd, folder.path(), GRANTED));
    gateway.client().get("/v1/sites/dc1").expect(200);
    etcd.kill(0);
    let told = unanswered(&gateway);
    assert!(told.contains("the key /rsnap/sites/dc1: could not connect to etcd at http://127.0.0.1:"), "{told}");
    gateway.client().get("/server").expect(200);
    etcd.restart(0);
    wait_for("the site again", || gateway.client().get("/v1/sites/dc1").status == 200);
}

#[test]
fn a_gateway_starts_only_with_the_grant_that_its_resolver_needs() {
    let (etcd, folder) = (Etcd::start(1), tempfile::tempdir().unwrap());
    for (more, words) in [
        ("", "the key \"/rsnap/sites/check\" begins with nothing that is granted (plugins.resolver.keys)"),
        ("keys = [\"/rsnap/sites\"]", "plugins.resolver.keys: \"/rsnap/sites\" must be the beginning of keys"),
        ("keys = [\"/other/\"]", "begins with nothing that is granted"),
    ] {
        let told = refused(folder.path(), &options(&etcd, folder.path(), more));
        assert!(told.contains(words), "{told}");
    }
    let alone = format!("[plugins.resolver]\ncomponent = \"etcd\"\n{GRANTED}\n");
    let told = refused(folder.path(), &Options { extra: alone, ..Options::default() });
    assert!(told.contains("plugins.resolver.keys: there is no [etcd] table to read keys by"), "{told}");
    let elsewhere = "keys = [\"/other/\"]\nsettings = { prefix = \"/other/\" }";
    let gateway = Gateway::start_with(&options(&etcd, folder.path(), elsewhere));
    etcd.put("/other/dc1", SITE);
    gateway.client().get("/v1/sites/dc1").expect(200);
}

/// The rules of the contract, tried out by the command for plugins with the grants of a gateway.
#[test]
fn the_resolver_keeps_the_contract() {
    let (etcd, folder) = (Etcd::start(1), tempfile::tempdir().unwrap());
    etcd.put(KEY, SITE);
    let grants = folder.path().join("grants.toml");
    fs::write(&grants, format!("{GRANTED}\n{}", etcd.table(""))).unwrap();
    let mut test = command();
    test.args(["plugin", "test", "etcd", "--site", "dc1", "--call-timeout", "60s", "--grants"]).arg(&grants);
    let (succeeded, told) = run(test);
    assert!(succeeded && told.contains("good: 6 rules, none broken"), "{told}");
}
