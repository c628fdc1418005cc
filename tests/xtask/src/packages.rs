//! System packages that a chore needs, by the command that proves them.
//!
//! Installed with apt-get only when the command is missing, so that a machine that has them (from wherever) is left
//! alone and a second run costs nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::steps::Steps;

/// A command that must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Its name; for what is no command, the whole path of a file.
    pub(crate) command: &'static str,
    /// The package of Debian and Ubuntu that has it.
    pub(crate) package: &'static str,
    pub(crate) why: &'static str,
}

pub(crate) const COMPILER: Need =
    Need { command: "cc", package: "build-essential", why: "compiles the cryptography (aws-lc) and links" };
pub(crate) const CURL: Need =
    Need { command: "curl", package: "curl", why: "speaks to the gateway as a stranger would" };
pub(crate) const ETCD: Need =
    Need { command: "etcd", package: "etcd-server", why: "is where several gateways count themselves" };
pub(crate) const FAKETIME: Need =
    Need { command: "faketime", package: "faketime", why: "makes the clock of a gateway jump" };
pub(crate) const FILE_SYSTEM: Need =
    Need { command: "mke2fs", package: "e2fsprogs", why: "makes and checks the ext4 volume, without mounting it" };
pub(crate) const FUZZER: Need =
    Need { command: "c++", package: "build-essential", why: "compiles the fuzzer (libFuzzer)" };
pub(crate) const HAPROXY: Need =
    Need { command: "haproxy", package: "haproxy", why: "balances between gateways, with the shipped configurations" };
pub(crate) const IP: Need = Need { command: "ip", package: "iproute2", why: "makes networks that can be cut" };
pub(crate) const IPERF: Need = Need { command: "iperf3", package: "iperf3", why: "tells what a line gives" };
pub(crate) const NGINX: Need = Need { command: "nginx", package: "nginx", why: "the peer: WebDAV PUT over TLS" };
pub(crate) const OPENSSL: Need =
    Need { command: "openssl", package: "openssl", why: "makes the certificate of both peers" };
/// A registry for components, who may use it, and who signs them.
pub(crate) const REGISTRY: [Need; 3] = [
    Need { command: "docker-registry", package: "docker-registry", why: "is where plugins are pulled from" },
    Need { command: "htpasswd", package: "apache2-utils", why: "makes the passwords of the registry" },
    Need { command: "minisign", package: "minisign", why: "signs plugins" },
];
pub(crate) const PYTHON: Need =
    Need { command: "python3", package: "python3-venv", why: "makes the environment in which Keystone runs" };
pub(crate) const SYSTEMD: Need =
    Need { command: "systemd-analyze", package: "systemd", why: "judges the units in deploy/systemd" };

/// The etcd client is generated from etcd's own description when it is built.
pub(crate) const PROTOC: [Need; 2] = [
    Need { command: "protoc", package: "protobuf-compiler", why: "generates the client of etcd" },
    Need {
        command: "/usr/include/google/protobuf/descriptor.proto",
        package: "libprotobuf-dev",
        why: "is what every such description refers to",
    },
];
/// What makes components of C.
pub(crate) const C_GUESTS: [Need; 3] = [
    Need { command: "clang", package: "clang", why: "compiles C for WebAssembly" },
    Need { command: "wasm-ld", package: "lld", why: "links WebAssembly" },
    Need {
        command: "/usr/lib/wasm32-wasi/libc.a",
        package: "wasi-libc",
        why: "is the C library of plugins: memory and strings, nothing of WASI",
    },
];
/// What makes components of Python, besides what pip installs.
pub(crate) const PYTHON_GUESTS: [Need; 2] = [
    Need { command: "python3", package: "python3-venv", why: "runs componentize-py" },
    Need { command: "openssl", package: "openssl", why: "makes the certificate of a server that an example asks" },
];
/// What makes components of JavaScript, besides what npm installs.
pub(crate) const NODE: [Need; 2] = [
    Need { command: "node", package: "nodejs", why: "runs componentize-js" },
    Need { command: "npm", package: "npm", why: "installs componentize-js" },
];
pub(crate) const SOCAT: Need = Need { command: "socat", package: "socat", why: "the peer's TLS between two sites" };
pub(crate) const ZSTD: Need = Need { command: "zstd", package: "zstd", why: "packs bodies as a stranger would" };
/// Real Ceph clusters for the tests: a monitor, an OSD, the clients, and the library that the gateway loads.
pub(crate) const CEPH: [Need; 5] = [
    Need { command: "ceph-mon", package: "ceph-mon", why: "the monitor of a Ceph cluster on this machine" },
    Need { command: "ceph-osd", package: "ceph-osd", why: "the storage of a Ceph cluster on this machine" },
    Need { command: "radosgw", package: "radosgw", why: "speaks S3 on a Ceph cluster on this machine" },
    Need { command: "ceph", package: "ceph-common", why: "makes pools and users, and brings librbd1" },
    Need { command: "rbd", package: "ceph-common", why: "the peer, and the judge of what is in an image" },
];

/// Debian's own OpenStack, beside the newest one.
pub(crate) const OPENSTACK: [Need; 3] = [
    Need {
        command: "/usr/lib/python3/dist-packages/keystone/__init__.py",
        package: "python3-keystone",
        why: "is Keystone as Debian has it",
    },
    Need {
        command: "/usr/lib/python3/dist-packages/cinder/__init__.py",
        package: "python3-cinder",
        why: "is Cinder as Debian has it",
    },
    Need {
        command: "/usr/lib/python3/dist-packages/pymysql/__init__.py",
        package: "python3-pymysql",
        why: "is how Debian's Cinder speaks to its database",
    },
];
/// What each site needs, whatever release it runs.
pub(crate) const SITES: [Need; 5] = [
    Need {
        command: "/usr/share/doc/python3-rbd/copyright",
        package: "python3-rbd",
        why: "is how Cinder's driver speaks to Ceph",
    },
    Need { command: "mariadbd", package: "mariadb-server-core", why: "is where Cinder keeps its records" },
    Need { command: "mysql", package: "mariadb-client-core", why: "makes the databases" },
    Need { command: "ceph-mgr", package: "ceph-mgr", why: "tells Cinder's driver how full a pool is" },
    Need { command: "setpriv", package: "util-linux", why: "ends a transfer with the worker that began it" },
];

/// What `cargo xtask test` needs.
pub(crate) fn tests() -> Vec<Need> {
    [FILE_SYSTEM, CURL, ETCD, FAKETIME, FUZZER, HAPROXY, IP, ZSTD].into_iter().chain(CEPH).chain(REGISTRY).collect()
}

/// Where commands are looked for: an ordinary user's `PATH` often lacks the directories of administrators.
fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect()
}

/// The file of a command, if it is installed.
pub(crate) fn find(command: &str) -> Option<PathBuf> {
    search_path().into_iter().map(|directory| directory.join(command)).find(|file| file.is_file())
}

/// A command that [`ensure`] has made sure of.
pub(crate) fn tool(command: &str) -> Result<Command> {
    let file = find(command).with_context(|| format!("{command} is not installed"))?;
    Ok(Command::new(file))
}

/// Installs what is missing, saying what and why.
pub(crate) fn ensure(steps: &Steps, needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| find(need.command).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { provide(steps, &missing) }
}

/// Installs a package whose command alone does not prove that it is there.
pub(crate) fn ensure_unless(steps: &Steps, need: Need, is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() { Ok(()) } else { provide(steps, &[&need]) }
}

fn provide(steps: &Steps, missing: &[&Need]) -> Result<()> {
    for need in missing {
        steps.line(format!("installing {}: {} {}", need.package, need.command, need.why));
    }
    let packages: BTreeSet<&str> = missing.iter().map(|need| need.package).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    steps.timed("apt-get install", || install(&packages)).with_context(|| remedy(&packages))
}

fn remedy(packages: &[&str]) -> String {
    format!("cannot install {0}; do it yourself, then run this again: apt-get install {0}", packages.join(" "))
}

/// Installs packages, whether they are there or not.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("this is not a Debian or Ubuntu system (there is no apt-get)");
    }
    process::quiet(apt_get()?.arg("update"))?;
    process::quiet(apt_get()?.args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

/// `apt-get` with the rights that it needs, waiting for another one that runs, and asking nothing.
fn apt_get() -> Result<Command> {
    let mut command = if is_root()? { Command::new("env") } else { Command::new("sudo") };
    if !is_root()? {
        command.args(["-n", "env"]);
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]);
    Ok(command)
}

pub(crate) fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(Path::new("/proc/self")).context("cannot read /proc/self")?;
    Ok(metadata.uid() == 0)
}
