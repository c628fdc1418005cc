//! Both sites: started, held, described, ended.
//!
//! A process of its own holds them, because the clusters of the tests end with the process that started them. It owns
//! the lock on a file, so that whether the sites are up is a fact of the kernel and not of a file that was left behind.
//! However it ends, the sites end: theirs is the other end of its pipe.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rsnap_test_ceph::{Cluster, Options};
use serde_json::Value;

use super::{Releases, environment};
use crate::build;
use crate::packages::{self, CEPH, ETCD, HAPROXY, OPENSSL, OPENSTACK, SITES};
use crate::steps::Steps;

/// Two sites start at once, on machines that have other work.
const START: Duration = Duration::from_secs(600);
const STOP: Duration = Duration::from_secs(180);

/// The folder of a run, and what lies beside it.
pub(super) fn folder(root: &Path) -> PathBuf {
    build::target(root).join("openstack/sites")
}

fn beside(root: &Path, name: &str) -> PathBuf {
    build::target(root).join("openstack").join(name)
}

/// Where the bed says what its sites are, once they are up.
pub(super) fn description(root: &Path) -> PathBuf {
    folder(root).join("sites.json")
}

/// The lock; `None` when somebody holds the sites.
fn lock(root: &Path) -> Result<Option<File>> {
    let path = beside(root, "lock");
    std::fs::create_dir_all(beside(root, ""))?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// `cargo xtask openstack up`.
pub(super) fn up(root: &Path) -> Result<()> {
    let mut steps = Steps::new("OpenStack", 3);
    provide(root, &mut steps, Releases::Both)?;
    steps.step("Use them");
    explain(root, &steps)?;
    steps.finish("both sites are up; end them with: cargo xtask openstack down");
    Ok(())
}

/// Builds, installs and starts what is missing; two steps. Gives whether the sites had to be started.
pub(super) fn provide(root: &Path, steps: &mut Steps, releases: Releases) -> Result<bool> {
    steps.step("Build the gateway, install what the sites are made of");
    build::guests(root, steps)?;
    build::programs(root, steps, build::Profile::Dev)?;
    install(root, steps, releases)?;
    steps.step("Start both sites");
    bring_up(root, steps, releases)
}

/// Installs what the sites are made of.
pub(super) fn install(root: &Path, steps: &Steps, releases: Releases) -> Result<()> {
    packages::ensure(steps, &CEPH)?;
    packages::ensure(steps, &[ETCD, HAPROXY, OPENSSL])?;
    packages::ensure(steps, &SITES)?;
    if releases == Releases::Both {
        packages::ensure(steps, &OPENSTACK)?;
    }
    environment::prepare(root, steps)?;
    environment::install_package(root, steps)
}

/// Starts the sites unless they are up. Gives whether they had to be started.
pub(super) fn bring_up(root: &Path, steps: &Steps, releases: Releases) -> Result<bool> {
    if is_up(root)? {
        steps.line("they are up already");
        return Ok(false);
    }
    steps.timed("Keystone, Cinder, Ceph, etcd, HAProxy and a gateway, twice", || start(root, releases))?;
    Ok(true)
}

fn is_up(root: &Path) -> Result<bool> {
    Ok(lock(root)?.is_none() && description(root).exists())
}

fn start(root: &Path, releases: Releases) -> Result<()> {
    ensure!(lock(root)?.is_some(), "the sites are just being started or ended by another process");
    let log = beside(root, "sites.log");
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    // Not this program's own file, which the build may have replaced while it ran.
    let mut command = Command::new(build::binary(root, build::Profile::Dev, "xtask"));
    command.args(["openstack", "hold", releases.name()]).process_group(0);
    command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    let mut holder = command.spawn().context("cannot start the holder of the sites")?;
    let started = Instant::now();
    while !(description(root).exists() && lock(root)?.is_none()) {
        if let Some(status) = holder.try_wait()? {
            bail!("the sites ended with {status}; {} says:\n{}", log.display(), tail(&log));
        }
        if started.elapsed() > START {
            end(root)?;
            bail!("the sites are not up after {START:?}; {} says:\n{}", log.display(), tail(&log));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n")
}

/// Holds the sites until it is asked to end, or killed.
pub(super) fn hold(root: &Path, releases: Releases) -> Result<()> {
    let Some(mut lock) = lock(root)? else { bail!("the sites are held already") };
    clear(root)?;
    lock.set_len(0)?;
    write!(lock, "{}", std::process::id())?;
    let clusters = [Cluster::start(&Options::bluestore())?, Cluster::start(&Options::bluestore())?];
    let mut bed = bed(root, &clusters, releases)?;
    // Its end is what ends the sites, and waiting would close it.
    let _pipe = bed.stdin.take();
    let status = bed.wait().context("cannot wait for the sites")?;
    ensure!(status.success(), "the sites ended with {status}");
    clear(root)
}

fn bed(root: &Path, clusters: &[Cluster; 2], releases: Releases) -> Result<Child> {
    let newest = environment::folder(root).join("bin/python");
    let other = match releases {
        Releases::Both => PathBuf::from("/usr/bin/python3"),
        Releases::Newest => newest.clone(),
    };
    let mut command = Command::new("/usr/bin/python3");
    command.current_dir(root.join("tests/openstack")).args(["-B", "-m", "bed", "--folder"]).arg(folder(root));
    command.arg("--source").arg(root).arg("--newest").arg(&newest);
    command.arg("--rsnap").arg(build::binary(root, build::Profile::Dev, "rsnap"));
    command.arg("--package").arg(environment::package(root));
    command.arg("--plugins").arg(build::plugins(root));
    for (name, python, cluster) in [("dc1", &newest, &clusters[0]), ("dc2", &other, &clusters[1])] {
        command.arg(format!("{name}={}={}", python.display(), cluster.configuration().display()));
    }
    command.stdin(Stdio::piped()).spawn().context("cannot start the sites")
}

fn clear(root: &Path) -> Result<()> {
    let folder = folder(root);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// `cargo xtask openstack down`.
pub(super) fn down(root: &Path) -> Result<()> {
    let steps = Steps::new("OpenStack", 0);
    end(root)?;
    steps.finish("no site is up");
    Ok(())
}

/// Asks the sites to end, and waits until nobody holds them.
pub(super) fn end(root: &Path) -> Result<()> {
    if let Ok(mut control) = UnixStream::connect(folder(root).join("control")) {
        control.write_all(b"{\"do\": \"end\"}\n")?;
        let mut answer = String::new();
        control.read_to_string(&mut answer).context("the sites do not answer")?;
    } else if let (None, Ok(id)) = (lock(root)?, std::fs::read_to_string(beside(root, "lock"))) {
        // Not up yet: its holder is ended, and with it whatever it has started.
        crate::process::terminate(id.parse().context("the lock names no process")?);
    }
    let started = Instant::now();
    while lock(root)?.is_none() {
        ensure!(started.elapsed() < STOP, "the sites have not ended after {STOP:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    clear(root)
}

/// How to talk to the sites.
fn explain(root: &Path, steps: &Steps) -> Result<()> {
    let path = description(root);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let sites: serde_json::Map<String, Value> = serde_json::from_str(&text)?;
    steps.line(format!("export PATH={}:$PATH", environment::folder(root).join("bin").display()));
    steps.line(format!("export PYTHONPATH={}", environment::package(root).display()));
    for (name, site) in &sites {
        let openrc = site.get("openrc").and_then(Value::as_str).unwrap_or_default();
        let ceph = site.get("ceph").and_then(Value::as_str).unwrap_or_default();
        steps.line(format!("site {name}: . {openrc}   # its Ceph: export CEPH_CONF={ceph}"));
    }
    steps.line("openstack volume create --size 1 v; openstack volume snapshot create --volume v s");
    steps.line("openstack volume snapshot copy s --site dc2 --wait");
    Ok(())
}
