//! A gateway process on a port and a data directory of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Client;

/// How the gateway is configured beyond the defaults.
#[derive(Default)]
pub struct Options {
    /// TOML appended to the configuration.
    pub extra: String,
    /// Keys added to `[listen]`.
    pub listen: String,
    /// `[plugins.policy]` component; default `nearest-base`.
    pub policy: Option<String>,
    /// `[plugins.writer]` table body; default the `image` component on the file store.
    pub writer: Option<String>,
    /// `[stores.main]` table body; default the file store.
    pub store: Option<String>,
    /// Variables for the process.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// Where callers reach it, when something stands before it.
    pub advertise: Option<SocketAddr>,
}

pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub data: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    _directory: tempfile::TempDir,
}

impl Gateway {
    /// A gateway with defaults on a temporary directory.
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    pub fn start_with(options: &Options) -> Self {
        let directory = tempfile::Builder::new().prefix("rsnap-it-").tempdir_in(scratch()).unwrap();
        let data = directory.path().to_owned();
        let (address, admin) = (free_address(), free_address());
        let configuration = data.join("rsnap.toml");
        fs::write(&configuration, text(options, &data, address, admin)).unwrap();
        compiled::take(&data);
        let environment = options.environment.clone();
        let child = spawn(&data, &environment);
        let mut gateway = Self { child, address, admin, data, environment, _directory: directory };
        gateway.wait_ready();
        compiled::keep(&gateway.data);
        gateway
    }

    /// Starts the process again on the same ports and data.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.data, &self.environment);
        self.wait_ready();
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Bytes of the process in memory.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The operator token that the first start made.
    pub fn token(&self) -> String {
        fs::read_to_string(self.data.join("token")).unwrap().trim().to_owned()
    }

    pub fn certificate(&self) -> PathBuf {
        self.data.join("certificate.pem")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.data.join("log")).unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(self.address, &self.certificate(), self.token())
    }

    /// The body of an answer of the admin listener, with its status.
    pub fn admin(&self, path: &str) -> (u16, String) {
        admin_get(self.admin, path).unwrap()
    }

    /// The body of an answer of the admin listener, of a gateway that may not run.
    pub fn try_admin(&self, path: &str) -> Option<String> {
        admin_get(self.admin, path).ok().map(|(_, body)| body)
    }

    /// A command of our own command line against this gateway.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("RSNAP_GATEWAY", format!("https://{}", self.address))
            .env("RSNAP_TOKEN_FILE", self.data.join("token"))
            .env("RSNAP_CA", self.certificate());
        command
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}:\n{}", self.log());
            }
            if admin_get(self.admin, "/readyz").is_ok_and(|(status, _)| status == 200) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the gateway is not ready after a minute:\n{}", self.log());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway\n{}", self.log());
        }
    }
}

/// Compiling the components takes seconds in a test build, so the gateways of one run share what the first compiled,
/// with its key: to each of them it is its own cache.
mod compiled {
    use std::fs;
    use std::path::Path;
    use std::sync::OnceLock;

    static KEPT: OnceLock<tempfile::TempDir> = OnceLock::new();

    pub(super) fn take(data: &Path) {
        if let Some(kept) = KEPT.get() {
            copy(kept.path(), &data.join("compiled"));
        }
    }

    pub(super) fn keep(data: &Path) {
        KEPT.get_or_init(|| {
            let kept = tempfile::tempdir().unwrap();
            copy(&data.join("compiled"), kept.path());
            kept
        });
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_rsnap")
}

/// The workspace's target directory: same file system as the build, not a memory file system.
pub fn scratch() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned();
    fs::create_dir_all(&path).unwrap();
    path
}

fn target() -> PathBuf {
    scratch().parent().unwrap().to_owned()
}

/// Where `cargo xtask build` puts components.
pub fn components(kind: &str) -> PathBuf {
    let path = target().join(kind);
    assert!(path.is_dir(), "{} is missing: run `cargo xtask build` first", path.display());
    path
}

fn spawn(data: &Path, environment: &[(&'static str, PathBuf)]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(data.join("log")).unwrap();
    let paths = [components("plugins"), components("fixtures")];
    Command::new(binary())
        .args(["serve", "--config"])
        .arg(data.join("rsnap.toml"))
        .env("RSNAP_PLUGIN_PATH", std::env::join_paths(paths).unwrap())
        .env("RSNAP_LOG", "info,rsnap=debug")
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn text(options: &Options, data: &Path, address: SocketAddr, admin: SocketAddr) -> String {
    let data = data.display();
    let (listen, advertise) = (&options.listen, options.advertise.unwrap_or(address));
    let policy = options.policy.as_deref().unwrap_or("nearest-base");
    let writer = options.writer.as_deref().unwrap_or("component = \"image\"\nstores = [\"main\"]");
    let store = options.store.clone().unwrap_or_else(|| format!("kind = \"file\"\npath = \"{data}/store\""));
    format!(
        "[gateway]\nsite = \"dc2\"\ndata = \"{data}\"\n\
         [listen]\naddress = \"{address}\"\nadvertise = \"{advertise}\"\n{listen}\
         [admin]\naddress = \"{admin}\"\n\
         [stores.main]\n{store}\n\
         [plugins.writer]\n{writer}\n\
         [plugins.policy]\ncomponent = \"{policy}\"\n{}\n",
        options.extra
    )
}

pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], rsnap_test_ceph::free_port().unwrap()))
}

/// Status and body of what a plain HTTP listener answers.
pub fn admin_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    admin_ask(address, "GET", path)
}

pub fn admin_ask(address: SocketAddr, method: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status.unwrap_or(0), body))
}
