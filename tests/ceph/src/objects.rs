//! Ceph's own S3 on a cluster: a real server of the protocol, from the distribution.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::options::User;
use crate::port::free_port;
use crate::program;

const USER: &str = "objects";
/// How long the first start may take, in which it makes its pools.
const START: Duration = Duration::from_secs(180);

/// A running `radosgw`. Dropped, or when its cluster ends, it is killed.
#[derive(Debug)]
pub struct ObjectGateway {
    _daemon: Daemon,
    port: u16,
    secure: Option<u16>,
    pub access_key: String,
    pub secret_key: String,
}

impl ObjectGateway {
    /// Starts one on `cluster`, with a user.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        Self::serve(cluster, None)
    }

    /// The same with a second port, for TLS. The files are in PEM.
    pub fn start_secured(cluster: &Cluster, certificate: &Path, key: &Path) -> Result<Self> {
        Self::serve(cluster, Some((free_port()?, certificate, key)))
    }

    fn serve(cluster: &Cluster, tls: Option<(u16, &Path, &Path)>) -> Result<Self> {
        let all = [("mon", "allow rw"), ("osd", "allow rwx")];
        cluster.create_user(&User::new(USER, &all))?;
        let port = free_port()?;
        let name = format!("client.{USER}");
        let mut command = program::command("radosgw", cluster.configuration())?;
        let mut frontend = format!("--rgw-frontends=beast endpoint=127.0.0.1:{port}");
        if let Some((secure, certificate, key)) = &tls {
            let (certificate, key) = (certificate.display(), key.display());
            write!(frontend, " ssl_endpoint=127.0.0.1:{secure} ssl_certificate={certificate} ssl_private_key={key}")?;
        }
        command.args(["-n", &name, &frontend]);
        // Clients have none by the configuration.
        let socket = cluster.directory().join("run").join(format!("{name}.asok"));
        command.arg(format!("--admin-socket={}", socket.display()));
        let mut daemon = Daemon::start(&mut command, &name, cluster.directory())?;
        daemon.wait("version", |_| true)?;
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(started.elapsed() < START, "radosgw does not listen after {START:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let (access_key, secret_key) = ("rsnap-tests".to_owned(), "known-to-all".to_owned());
        let mut user = program::bounded("radosgw-admin", cluster.configuration())?;
        user.args(["-n", &name, "user", "create", "--uid=tests", "--display-name=tests"]);
        program::run(user.args(["--access-key", &access_key, "--secret-key", &secret_key]))?;
        Ok(Self { _daemon: daemon, port, secure: tls.map(|(port, ..)| port), access_key, secret_key })
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it is reached by TLS, if it is.
    #[must_use]
    pub fn secure_endpoint(&self) -> Option<String> {
        self.secure.map(|port| format!("https://127.0.0.1:{port}"))
    }
}
