//! A registry of the distribution that Debian ships, with TLS and passwords, and what `curl` pushes into it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{output, tool};
use crate::deploy::authority::Authority;
use crate::support::{free_address, scratch, wait_for};

const USER: &str = "site";
const PASSWORD: &str = "a-password-of-the-site";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub struct Registry {
    child: Child,
    pub address: SocketAddr,
    pub folder: tempfile::TempDir,
    pub authority: Authority,
}

/// A content as a manifest names it.
pub struct Blob {
    kind: &'static str,
    pub digest: String,
    bytes: usize,
}

impl Registry {
    /// One that asks for a password.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("registry-").tempdir_in(scratch()).unwrap();
        let users = folder.path().join("users");
        fs::write(&users, output(tool("htpasswd").args(["-Bbn", USER, PASSWORD]))).unwrap();
        let asking = format!("  htpasswd:\n    realm: tests\n    path: {}\n", users.display());
        Self::start_in(folder, |_| asking)
    }

    /// One that asks as `asking` says, which is the part `auth` of its configuration.
    fn start_in(folder: tempfile::TempDir, asking: impl FnOnce(&Authority) -> String) -> Self {
        let authority = Authority::new(folder.path());
        let path = |name: &str| folder.path().join(name);
        authority.issue(&["127.0.0.1"]).write(&path("registry.pem"), &path("registry.key"));
        let address = free_address();
        let text = format!(
            "version: 0.1\nlog:\n  level: error\n\
             storage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: {address}\n  tls:\n    certificate: {}\n    key: {}\n\
             auth:\n{}",
            path("data").display(),
            path("registry.pem").display(),
            path("registry.key").display(),
            asking(&authority),
        );
        fs::write(path("registry.yml"), text).unwrap();
        let child = spawn(&path("registry.yml"), &path("log"));
        let mut registry = Self { child, address, folder, authority };
        registry.wait_ready();
        registry
    }

    /// Another one with the same content, that asks as `asking` says.
    pub fn again(mut self, asking: impl FnOnce(&Authority) -> String) -> Self {
        self.stop();
        Self::start_in(std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()), asking)
    }

    fn wait_ready(&mut self) {
        let (address, child, log) = (self.address, &mut self.child, self.folder.path().join("log"));
        wait_for("the start of the registry", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(&log).unwrap());
            TcpStream::connect(address).is_ok()
        });
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the registry keeps a content.
    pub fn stored(&self, digest: &str) -> PathBuf {
        let digits = digest.strip_prefix("sha256:").unwrap();
        self.path(&format!("data/docker/registry/v2/blobs/sha256/{}/{digits}/data", &digits[..2]))
    }

    pub fn reference(&self, name: &str) -> String {
        format!("oci://{}/site/{name}", self.address)
    }

    /// A file as `docker login` writes it.
    pub fn credentials(&self, password: &str) -> PathBuf {
        self.written(self.address, password)
    }

    pub fn login(&self) -> PathBuf {
        self.credentials(PASSWORD)
    }

    /// The login of a registry that is reached at another address.
    pub fn login_at(&self, address: SocketAddr) -> PathBuf {
        self.written(address, PASSWORD)
    }

    fn written(&self, address: SocketAddr, password: &str) -> PathBuf {
        use base64::Engine as _;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{password}"));
        let text = serde_json::json!({ "auths": { address.to_string(): { "auth": login } } });
        let file = self.path(&format!("{password}-{}.json", address.port()));
        fs::write(&file, text.to_string()).unwrap();
        file
    }

    fn curl(&self) -> Command {
        let mut command = tool("curl");
        command.args(["--silent", "--show-error", "--fail", "--cacert"]).arg(&self.authority.certificate);
        command.args(["--user", &format!("{USER}:{PASSWORD}")]);
        command
    }

    fn push_blob(&self, name: &str, kind: &'static str, content: &Path) -> Blob {
        let digest = format!("sha256:{}", &output(tool("sha256sum").arg(content))[..64]);
        let uploads = format!("https://{}/v2/site/{name}/blobs/uploads/", self.address);
        let begun = output(self.curl().args(["--include", "--request", "POST", &uploads]));
        let header = |line: &str| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
        };
        let location = begun.lines().find_map(header).expect("a place to send to");
        let with = if location.contains('?') { '&' } else { '?' };
        let place = format!("{location}{with}digest={digest}");
        output(self.curl().args(["--upload-file".as_ref(), content.as_os_str()]).arg(&place));
        Blob { kind, digest, bytes: usize::try_from(fs::metadata(content).unwrap().len()).unwrap() }
    }

    /// Pushes a component with its signature, if there is one, under a tag; the digest of the manifest.
    pub fn push(&self, name: &str, tag: &str, component: &Path, signature: Option<&Path>) -> (String, Vec<Blob>) {
        let empty = self.path("empty.json");
        fs::write(&empty, "{}").unwrap();
        let config = self.push_blob(name, "application/vnd.wasm.config.v0+json", &empty);
        let mut layers = vec![self.push_blob(name, "application/wasm", component)];
        layers.extend(signature.map(|file| self.push_blob(name, "application/vnd.rsnap.minisig", file)));
        let told =
            |blob: &Blob| serde_json::json!({ "mediaType": blob.kind, "digest": blob.digest, "size": blob.bytes });
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": told(&config), "layers": layers.iter().map(told).collect::<Vec<_>>(),
        });
        let file = self.path("manifest.json");
        fs::write(&file, manifest.to_string()).unwrap();
        let url = format!("https://{}/v2/site/{name}/manifests/{tag}", self.address);
        let put = ["--header", &format!("Content-Type: {MANIFEST}"), "--upload-file"];
        output(self.curl().args(put).arg(&file).arg(&url));
        (format!("sha256:{}", &output(tool("sha256sum").arg(&file))[..64]), layers)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(configuration: &Path, log: &Path) -> Child {
    let log = fs::File::create(log).unwrap();
    let mut command = tool("docker-registry");
    command.arg("serve").arg(configuration).env("OTEL_TRACES_EXPORTER", "none");
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}
