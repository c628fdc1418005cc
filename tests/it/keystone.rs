//! Callers with tokens of a real Keystone: whom it knows comes in, and nobody when it is silent.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::keystone::{Keystone, PASSWORD};
use crate::support::{Client, Gateway, Options, binary, components, wait_for};

const OPERATOR: &str = "an-operator-token-of-enough-length";
const TICKET: &str = "/server?volume=v1&snapshot=s1&size=4096";
const CHAIN: &str = "/v1/volumes/v1/snapshots";
const SNAPSHOT: &str = "/v1/volumes/v1/snapshots/s1";

/// The tables that make a gateway ask this Keystone, as `account`.
fn auth(keystone: &Keystone, folder: &Path, account: &str, secret: &str) -> Options {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (secret, operator) = (file("secret", secret), file("operator", OPERATOR));
    let extra = format!(
        "[auth]\ntokens = [{{ name = \"root\", role = \"operator\", file = {operator:?} }}]\n[auth.keystone]\n\
         url = \"https://{}/v3\"\nca = {:?}\naccount = {{ {account}, file = {secret:?} }}\ntimeout = \"30s\"\n\
         cache = \"1s\"\nroles = {{ admin = \"operator\", service = \"ticket\" }}\n",
        keystone.secure,
        keystone.certificate(),
    );
    Options { extra, ..Options::default() }
}

fn by_password(keystone: &Keystone, folder: &Path) -> Options {
    auth(keystone, folder, "kind = \"password\", user = \"gateway\", project = \"service\"", PASSWORD)
}

/// A caller who shows nothing.
fn stranger(gateway: &Gateway) -> Client {
    Client::new(gateway.address, &gateway.certificate(), String::new())
}

fn shown<'a>(token: &str, service: Option<&str>) -> Vec<(&'a str, String)> {
    let service = service.map(|service| ("X-Service-Token", service.to_owned()));
    [("X-Auth-Token", token.to_owned())].into_iter().chain(service).collect()
}

/// Status of an answer, and the kind of problem where it is one.
fn status(client: &Client, method: &str, path: &str, headers: &[(&str, String)]) -> (u16, String) {
    let answer = client.request(method, path, headers, &[]);
    (answer.status, if answer.status < 400 { String::new() } else { answer.problem() })
}

fn good() -> (u16, String) {
    (200, String::new())
}

fn problem(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}

#[test]
fn callers_are_whom_keystone_says() {
    let (keystone, folder) = (Keystone::start(), tempfile::tempdir().unwrap());
    for (user, project, role) in
        [("gateway", "service", "service"), ("cinder", "service", "service"), ("root", "service", "admin")]
    {
        keystone.user(user, project, role);
    }
    keystone.user("member", "service", "member");
    keystone.user("tenant", "demo", "admin");
    let gateway = Gateway::start_with(&by_password(&keystone, folder.path()));
    let client = stranger(&gateway);
    let (cinder, _) = keystone.log_in_as("cinder", "service");
    let (root, _) = keystone.log_in_as("root", "service");

    let answer = client.request("GET", TICKET, &shown(&cinder, None), &[]).expect(200).json();
    assert!(answer["ticket"].is_string());
    assert_eq!(client.with_token(&cinder).get(CHAIN).expect(200).json()["snapshots"], json!([]), "as a bearer token");
    assert_eq!(status(&client, "DELETE", SNAPSHOT, &shown(&cinder, None)), problem(403, "forbidden"));
    assert_eq!(status(&client, "DELETE", SNAPSHOT, &shown(&root, None)), problem(404, "no-snapshot"));
    for (user, project) in [("member", "service"), ("tenant", "demo")] {
        let (token, _) = keystone.log_in_as(user, project);
        assert_eq!(status(&client, "GET", CHAIN, &shown(&token, None)), problem(403, "forbidden"), "{user}");
    }
    for stranger in ["gAAAAABstranger", &"x".repeat(9000)] {
        assert_eq!(status(&client, "GET", CHAIN, &shown(stranger, None)), problem(401, "bad-token"));
    }
    let both = client.with_token(&cinder);
    assert_eq!(status(&both, "GET", CHAIN, &shown(&cinder, None)), problem(401, "unauthorized"));
    assert_eq!(status(&client.with_token(OPERATOR), "GET", CHAIN, &[]), good());

    let (gone, ..) = keystone.ask("DELETE", "/v3/auth/tokens", &cinder, &Value::Null).unwrap();
    assert_eq!(gone, 204);
    wait_for("the end of a revoked token", || {
        status(&client, "GET", CHAIN, &shown(&cinder, None)) == problem(401, "bad-token")
    });
    let log = gateway.log() + &std::fs::read_to_string(gateway.data.join("audit.log")).unwrap();
    assert!(log.contains("(cinder)"), "{log}");
    for secret in [&cinder, &root, PASSWORD] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[test]
fn a_silent_keystone_lets_nobody_in_and_keeps_nobody_else_out() {
    let (mut keystone, folder) = (Keystone::start(), tempfile::tempdir().unwrap());
    keystone.user("gateway", "service", "service");
    let gateway = Gateway::start_with(&by_password(&keystone, folder.path()));
    let (token, _) = keystone.log_in_as("gateway", "service");
    let client = stranger(&gateway);
    assert_eq!(status(&client, "GET", CHAIN, &shown(&token, None)), good());
    keystone.kill();
    wait_for("the end of what Keystone said", || {
        status(&client, "GET", CHAIN, &shown(&token, None)) == problem(503, "keystone-unavailable")
    });
    let answer = client.request("GET", CHAIN, &shown("another", None), &[]).expect(503);
    assert!(answer.header("retry-after").is_some());
    assert!(answer.json()["detail"].as_str().unwrap().contains("Keystone cannot be asked"));
    assert_eq!(status(&client.with_token(OPERATOR), "GET", TICKET, &[]), good());
    keystone.restart_with("");
    assert_eq!(status(&client, "GET", CHAIN, &shown(&token, None)), good());
}

#[test]
fn an_expired_token_counts_with_that_of_a_service() {
    let (mut keystone, folder) = (Keystone::start(), tempfile::tempdir().unwrap());
    keystone.user("gateway", "service", "service");
    keystone.user("root", "service", "admin");
    let credential = credential_of(&keystone, &keystone.user("rsnap", "service", "service"));
    keystone.restart_with("[token]\nexpiration = 1\n");
    let (old, _) = keystone.log_in_as("root", "service");
    keystone.restart_with("");
    let account = format!("kind = \"application-credential\", id = {:?}", credential["id"].as_str().unwrap());
    let secret = credential["secret"].as_str().unwrap();
    let gateway = Gateway::start_with(&auth(&keystone, folder.path(), &account, secret));
    let client = stranger(&gateway);
    wait_for("the end of the token", || status(&client, "GET", CHAIN, &shown(&old, None)) == problem(401, "bad-token"));
    let (service, _) = keystone.log_in_as("gateway", "service");
    let (other, _) = keystone.log_in_as("root", "service");
    assert_eq!(status(&client, "GET", CHAIN, &shown(&old, Some(&service))), good());
    assert_eq!(status(&client, "GET", CHAIN, &shown(&old, Some(&other))), problem(403, "forbidden"));
    assert_eq!(status(&client, "GET", CHAIN, &shown(&old, Some(&old))), problem(401, "bad-token"));
    assert_eq!(status(&client, "GET", CHAIN, &shown(&old, None)), problem(401, "bad-token"));
}

/// An application credential of `user`, who is called rsnap.
fn credential_of(keystone: &Keystone, user: &str) -> Value {
    let (token, _) = keystone.log_in_as("rsnap", "service");
    let body = json!({"application_credential": {"name": "gateway"}});
    let path = format!("/v3/users/{user}/application_credentials");
    let (status, _, document) = keystone.ask("POST", &path, &token, &body).unwrap();
    assert_eq!(status, 201, "{document}");
    document["application_credential"].clone()
}

/// The resolver that looks into the catalogue of a real Keystone.
#[test]
fn regions_of_the_catalogue_are_sites() {
    let (keystone, folder) = (Keystone::start(), tempfile::tempdir().unwrap());
    keystone.user("gateway", "service", "reader");
    let transfer = keystone.make("/v3/services", &json!({"service": {"type": "snapshot-transfer", "name": "rsnap"}}));
    let (_, _, services) =
        keystone.ask("GET", "/v3/services?type=identity", &keystone.log_in().0, &Value::Null).unwrap();
    let endpoint = |service: &Value, region: &str, url: &str| {
        let endpoint = json!({"service_id": service["id"], "region_id": region, "interface": "public", "url": url});
        keystone.make("/v3/endpoints", &json!({"endpoint": endpoint}));
    };
    for region in ["dc2", "dc3"] {
        keystone.make("/v3/regions", &json!({"region": {"id": region}}));
        endpoint(&services["services"][0], region, &format!("https://keystone.{region}.example:5000"));
    }
    endpoint(&transfer["service"], "dc2", "https://rsnap.dc2.example:8443");
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let url = format!("https://{}/v3", keystone.secure);
    let settings = format!("url = {url:?}\ncredential = \"catalogue\"\n");
    let grants = format!(
        "[[http]]\nhost = \"{}\"\nca = {:?}\ntimeout = \"30s\"\n[http.credentials.catalogue]\nkind = \"keystone\"\n\
         url = {url:?}\naccount = {{ kind = \"password\", user = \"gateway\", project = \"service\", file = {file:?} }}\n",
        keystone.secure,
        keystone.certificate(),
    );
    keeps_the_contract(folder.path(), &settings, &grants, "dc2");
    let inner = grants.replace("[[http]]", "[[plugins.resolver.http]]").replace("[http.", "[plugins.resolver.http.");
    let extra = format!("[plugins.resolver]\ncomponent = \"keystone\"\n[plugins.resolver.settings]\n{settings}{inner}");
    let gateway = Gateway::start_with(&Options { extra, ..Options::default() });
    let client = gateway.client();
    let there = client.get("/v1/sites/dc2").expect(200).json();
    let expected = json!({"name": "dc2", "region": "dc2", "keystone": "https://keystone.dc2.example:5000/v3",
                          "gateway": "https://rsnap.dc2.example:8443"});
    assert_eq!(there, expected);
    assert_eq!(client.get("/v1/sites/dc9").expect(404).problem(), "no-site");
    let halfway = client.get("/v1/sites/dc3").expect(503);
    let detail = halfway.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("the region dc3 has no public endpoint of the type snapshot-transfer"), "{detail}");
}

/// The conformance suite on the resolver, against a real server as it needs one.
fn keeps_the_contract(folder: &Path, settings: &str, grants: &str, site: &str) {
    let files = [("settings.toml", settings), ("grants.toml", grants)].map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let mut test = Command::new(binary());
    test.args(["plugin", "test", "keystone", "--site", site, "--call-timeout", "60s", "--settings"]);
    test.arg(&files[0]).arg("--grants").arg(&files[1]).env("RSNAP_PLUGIN_PATH", components("plugins"));
    let output = test.env("XDG_CACHE_HOME", folder).output().unwrap();
    let (text, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("good: 6 rules, none broken"), "{text}\n{complaint}");
    assert!(!text.contains("--  "), "a rule was not tried: {text}");
}
