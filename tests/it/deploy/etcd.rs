//! The real etcd, one member.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::support::{free_address, scratch, wait_for};

pub struct Etcd {
    child: Child,
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Etcd {
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("etcd-").tempdir_in(scratch()).unwrap();
        let (address, peers) = (free_address(), free_address());
        let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(folder.path())
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync"])
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is not installed: `cargo xtask test` installs it");
        let etcd = Self { child, address, _folder: folder };
        wait_for("etcd's listener", || TcpStream::connect(address).is_ok());
        etcd
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
