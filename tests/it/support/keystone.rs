//! A real Keystone, with its own database, on a port for us and, with TLS, on one for gateways.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{free_address, scratch, user, wait_for};

pub const PASSWORD: &str = "a-password-of-the-test";

pub struct Keystone {
    child: Child,
    pub address: SocketAddr,
    /// The same with TLS.
    pub secure: SocketAddr,
    folder: tempfile::TempDir,
}

pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program of the environment that `cargo xtask test` makes.
pub fn program(name: &str) -> Command {
    let environment = scratch().parent().unwrap().join("openstack/newest/bin");
    assert!(environment.is_dir(), "{} is missing: run `cargo xtask test` once", environment.display());
    let mut command = Command::new(environment.join(name));
    command.env("PYTHONWARNINGS", "ignore").stdin(Stdio::null());
    command
}

impl Keystone {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, secure, path) = (free_address(), free_address(), |name: &str| folder.path().join(name));
        for keys in ["tokens", "receipts", "credentials"] {
            fs::create_dir(path(keys)).unwrap();
        }
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        fs::write(path("certificate.pem"), made.cert.pem()).unwrap();
        fs::write(path("both.pem"), made.signing_key.serialize_pem() + &made.cert.pem()).unwrap();
        configure(folder.path(), "");
        manage(folder.path(), &["db_sync"]);
        let (owner, group) = (user("-un"), user("-gn"));
        manage(folder.path(), &["fernet_setup", "--keystone-user", &owner, "--keystone-group", &group]);
        manage(folder.path(), &["credential_setup", "--keystone-user", &owner, "--keystone-group", &group]);
        let url = format!("http://{address}/v3");
        let region = ["--bootstrap-region-id", "dc1", "--bootstrap-public-url", &url];
        manage(folder.path(), &[&["bootstrap", "--bootstrap-password", PASSWORD], region.as_slice()].concat());
        let child = serve(folder.path(), address, secure);
        let mut keystone = Self { child, address, secure, folder };
        keystone.wait_ready();
        keystone
    }

    /// Starts it again with more in its configuration.
    pub fn restart_with(&mut self, configuration: &str) {
        self.kill();
        configure(self.folder.path(), configuration);
        self.child = serve(self.folder.path(), self.address, self.secure);
        self.wait_ready();
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait_ready(&mut self) {
        wait_for("Keystone's first answer", || {
            assert!(self.child.try_wait().unwrap().is_none(), "Keystone ended:\n{}", self.log());
            self.ask("GET", "/v3", "", &Value::Null).is_ok_and(|(status, ..)| status == 200)
        });
    }

    /// What proves it to a gateway.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Status, head and document of an answer.
    pub fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> std::io::Result<(u16, String, Value)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(self.address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nX-Auth-Token: {token}\r\nX-Subject-Token: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
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
    pub fn log_in(&self) -> (String, Value) {
        let (token, document) = self.log_in_as("admin", "admin");
        (token, document["token"]["catalog"].clone())
    }

    /// A token of a user for a project, and what Keystone says of it.
    pub fn log_in_as(&self, user: &str, project: &str) -> (String, Value) {
        let user = json!({"name": user, "password": PASSWORD, "domain": {"id": "default"}});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let scope = json!({"project": {"name": project, "domain": {"id": "default"}}});
        let request = json!({"auth": {"identity": identity, "scope": scope}});
        let (status, head, document) = self.ask("POST", "/v3/auth/tokens", "", &request).unwrap();
        assert_eq!(status, 201, "{document}");
        let token = head.lines().find_map(|line| line.strip_prefix("X-Subject-Token: ")).unwrap();
        (token.to_owned(), document)
    }

    pub fn make(&self, path: &str, body: &Value) -> Value {
        let (status, _, document) = self.ask("POST", path, &self.log_in().0, body).unwrap();
        assert_eq!(status, 201, "{document}");
        document
    }

    fn id(&self, kind: &str, name: &str) -> String {
        let (_, _, list) =
            self.ask("GET", &format!("/v3/{kind}s?name={name}"), &self.log_in().0, &Value::Null).unwrap();
        if let Some(found) = list[format!("{kind}s")].as_array().and_then(|found| found.first()) {
            return found["id"].as_str().unwrap().to_owned();
        }
        let made = self.make(&format!("/v3/{kind}s"), &json!({kind: {"name": name, "password": PASSWORD}}));
        made[kind]["id"].as_str().unwrap().to_owned()
    }

    /// A user with a role in a project, all made where they are missing. Gives the user's id.
    pub fn user(&self, name: &str, project: &str, role: &str) -> String {
        let (user, project, role) = (self.id("user", name), self.id("project", project), self.id("role", role));
        let path = format!("/v3/projects/{project}/users/{user}/roles/{role}");
        assert_eq!(self.ask("PUT", &path, &self.log_in().0, &Value::Null).unwrap().0, 204);
        user
    }
}

impl Drop for Keystone {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of Keystone\n{}", self.log());
        }
    }
}

fn configure(folder: &Path, more: &str) {
    let path = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "[DEFAULT]\nlog_file = {}\n[database]\nconnection = sqlite:///{}?timeout=30\nsqlite_synchronous = false\n\
         [identity]\npassword_hash_rounds = 4\n[cache]\nenabled = true\nbackend = oslo_cache.dict\n\
         [fernet_tokens]\nkey_repository = {}\n[fernet_receipts]\nkey_repository = {}\n\
         [credential]\nkey_repository = {}\n{more}",
        path("log"),
        path("keystone.db"),
        path("tokens"),
        path("receipts"),
        path("credentials"),
    );
    fs::write(folder.join("keystone.conf"), text).unwrap();
}

fn manage(folder: &Path, arguments: &[&str]) {
    let mut command = program("keystone-manage");
    command.arg("--config-file").arg(folder.join("keystone.conf")).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn serve(folder: &Path, address: SocketAddr, secure: SocketAddr) -> Child {
    program("python")
        .arg(source("tests/openstack/serve_keystone.py"))
        .args([address.port().to_string(), secure.port().to_string()])
        .arg(folder.join("both.pem"))
        .env("OS_KEYSTONE_CONFIG_DIR", folder)
        .env("OS_KEYSTONE_CONFIG_FILES", "keystone.conf")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
