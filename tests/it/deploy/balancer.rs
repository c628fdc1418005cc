//! The real HAProxy with a configuration file that is shipped, as it is shipped: what is particular to a site comes
//! through the environment.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::site::{NAME, Site};
use crate::support::{free_address, user, wait_for};

const BACKEND: &str = "rsnap_gateways";

pub struct Balancer {
    child: Child,
    pub address: SocketAddr,
    statistics: PathBuf,
    log: PathBuf,
}

/// The shipped files, by name.
pub const VARIANTS: [&str; 2] = ["passthrough", "termination"];

impl Balancer {
    /// Starts before three gateways, and waits until it finds all of them ready.
    pub fn start(site: &Site, variant: &str) -> Self {
        let address = free_address();
        let (statistics, log) = (site.path("haproxy.sock"), site.path("haproxy.log"));
        let output = std::fs::File::create(&log).unwrap();
        let mut command = command(site, variant, address);
        let child = command.arg("-db").stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        let mut balancer = Self { child, address, statistics, log };
        wait_for("the balancer's socket", || {
            assert!(balancer.child.try_wait().unwrap().is_none(), "{}", balancer.said());
            TcpStream::connect(address).is_ok() && balancer.statistics.exists()
        });
        wait_for("the health of all gateways", || (0..3).all(|gateway| balancer.is_up(gateway)));
        balancer
    }

    /// What a column says of the frontend or one server.
    fn column(&self, proxy: &str, server: &str, column: &str) -> String {
        let mut stream = UnixStream::connect(&self.statistics).unwrap();
        stream.write_all(b"show stat\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(',').collect();
        let rows = lines.map(|line| names.iter().copied().zip(line.split(',')).collect::<HashMap<_, _>>());
        let mut rows = rows.filter(|row| row.get("pxname") == Some(&proxy) && row.get("svname") == Some(&server));
        rows.next().unwrap_or_else(|| panic!("no {proxy}/{server} in {text}"))[column].to_owned()
    }

    /// Whether the last check, and not the assumption of the start, says that this gateway is ready.
    pub fn is_up(&self, gateway: usize) -> bool {
        let server = format!("gateway{}", gateway + 1);
        let column = |name| self.column(BACKEND, &server, name);
        column("status") == "UP" && column("check_status") == "L7OK"
    }

    /// Bytes that have gone through, in both directions.
    pub fn bytes(&self) -> u64 {
        ["bin", "bout"].map(|name| self.column("rsnap", "FRONTEND", name).parse::<u64>().unwrap()).iter().sum()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the balancer\n{}", self.said());
        }
    }
}

/// HAProxy on a shipped file, before the gateways of `site`.
pub fn command(site: &Site, variant: &str, address: SocketAddr) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/haproxy/{variant}.cfg"));
    let mut command = Command::new(program());
    command
        .arg("-f")
        .arg(file)
        .env("RSNAP_VIP", address.to_string())
        .env("RSNAP_NAME", NAME)
        .env("RSNAP_CERTIFICATE", site.bundle())
        .env("RSNAP_CA", &site.authority.certificate)
        .env("RSNAP_STATS", site.path("haproxy.sock"))
        .env("RSNAP_USER", user("-un"))
        .env("RSNAP_GROUP", user("-gn"))
        .stdin(Stdio::null());
    for (number, gateway) in site.gateways.iter().enumerate() {
        command.env(format!("RSNAP_GATEWAY_{}", number + 1), gateway.address.to_string());
    }
    command
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.find_map(|folder| Some(folder.join("haproxy")).filter(|file| file.is_file()));
    found.expect("haproxy is not installed: `cargo xtask test` installs it")
}
