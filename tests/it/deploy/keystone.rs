//! Registration in the catalogue of a real Keystone, looked at through Keystone's own interface.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{free_address, scratch, user, wait_for};

const PASSWORD: &str = "a-password-of-the-test";
const TYPE: &str = "snapshot-transfer";

struct Keystone {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program of the environment that `cargo xtask test` makes.
fn program(name: &str) -> Command {
    let environment = scratch().parent().unwrap().join("openstack/newest/bin");
    assert!(environment.is_dir(), "{} is missing: run `cargo xtask test` once", environment.display());
    let mut command = Command::new(environment.join(name));
    command.env("PYTHONWARNINGS", "ignore").stdin(Stdio::null());
    command
}

impl Keystone {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, path) = (free_address(), |name: &str| folder.path().join(name));
        for keys in ["tokens", "receipts", "credentials"] {
            fs::create_dir(path(keys)).unwrap();
        }
        let configuration = format!(
            "[DEFAULT]\nlog_file = {}\n[database]\nconnection = sqlite:///{}?timeout=30\nsqlite_synchronous = false\n\
             [identity]\npassword_hash_rounds = 4\n[cache]\nenabled = true\nbackend = oslo_cache.dict\n\
             [fernet_tokens]\nkey_repository = {}\n[fernet_receipts]\nkey_repository = {}\n\
             [credential]\nkey_repository = {}\n",
            path("log").display(),
            path("keystone.db").display(),
            path("tokens").display(),
            path("receipts").display(),
            path("credentials").display(),
        );
        fs::write(path("keystone.conf"), configuration).unwrap();
        manage(folder.path(), &["db_sync"]);
        let (owner, group) = (user("-un"), user("-gn"));
        manage(folder.path(), &["fernet_setup", "--keystone-user", &owner, "--keystone-group", &group]);
        let url = format!("http://{address}/v3");
        manage(
            folder.path(),
            &[
                "bootstrap",
                "--bootstrap-password",
                PASSWORD,
                "--bootstrap-region-id",
                "dc1",
                "--bootstrap-public-url",
                &url,
            ],
        );
        let child = program("python")
            .arg(source("tests/openstack/serve_keystone.py"))
            .arg(address.port().to_string())
            .env("OS_KEYSTONE_CONFIG_DIR", folder.path())
            .env("OS_KEYSTONE_CONFIG_FILES", "keystone.conf")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut keystone = Self { child, address, folder };
        wait_for("Keystone's first answer", || {
            assert!(keystone.child.try_wait().unwrap().is_none(), "Keystone ended:\n{}", keystone.log());
            keystone.ask("GET", "/v3", "", &Value::Null).is_ok_and(|(status, ..)| status == 200)
        });
        keystone
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Status, head and document of an answer.
    fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> std::io::Result<(u16, String, Value)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(self.address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nX-Auth-Token: {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, document) = text.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, head.to_owned(), serde_json::from_str(document).unwrap_or_default()))
    }

    /// An administrator's token, and the catalogue that comes with it.
    fn log_in(&self) -> (String, Value) {
        let user = json!({"name": "admin", "password": PASSWORD, "domain": {"id": "default"}});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let scope = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
        let request = json!({"auth": {"identity": identity, "scope": scope}});
        let (status, head, document) = self.ask("POST", "/v3/auth/tokens", "", &request).unwrap();
        assert_eq!(status, 201, "{document}");
        let token = head.lines().find_map(|line| line.strip_prefix("X-Subject-Token: ")).unwrap();
        (token.to_owned(), document["token"]["catalog"].clone())
    }

    fn make(&self, path: &str, body: &Value) {
        let (status, _, document) = self.ask("POST", path, &self.log_in().0, body).unwrap();
        assert_eq!(status, 201, "{document}");
    }

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

impl Drop for Keystone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn manage(folder: &Path, arguments: &[&str]) {
    let mut command = program("keystone-manage");
    command.arg("--config-file").arg(folder.join("keystone.conf")).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
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
