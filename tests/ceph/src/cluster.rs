//! The cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::configuration::{self, MONITOR, OSD};
use crate::daemon::Daemon;
use crate::options::{Options, User};
use crate::port::free_port;
use crate::program;
use crate::watchdog::Watchdog;

/// Longest directory: the sockets in it have paths of at most 107 bytes.
const DIRECTORY_MAX: usize = 80;

/// A running cluster. Dropped, or when its process ends in any way, it is killed and its directory removed.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    configuration: PathBuf,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    monitor: Daemon,
    /// None while it is stopped.
    osd: Option<Daemon>,
    watchdog: Watchdog,
}

impl Cluster {
    /// Starts a cluster and waits until its pools can be used.
    pub fn start(options: &Options) -> Result<Self> {
        let directory = directory(options)?;
        let watchdog = Watchdog::start(&directory)?;
        let port = free_port()?;
        let cluster = identifier()?;
        let configuration = directory.join("ceph.conf");
        fs::write(&configuration, configuration::text(options, &directory, &cluster, port))?;

        let monitor = start_monitor(&directory, &configuration, &cluster, port, options)?;
        let osd = first_start_of_osd(&directory, &configuration)?;
        let running = Mutex::new(Running { monitor, osd: Some(osd), watchdog });
        let cluster = Self { directory, configuration, running };
        for pool in &options.pools {
            cluster.create_pool(pool)?;
        }
        Ok(cluster)
    }

    /// One cluster with the default options for all tests of this process, in their own namespaces.
    ///
    /// # Panics
    ///
    /// When it does not start: no test can go on.
    #[allow(clippy::panic, reason = "without a cluster no test can go on, and each would need the same line")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Options::default()).unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// A second one, for tests with two sites.
    ///
    /// # Panics
    ///
    /// As [`Cluster::shared`].
    #[allow(clippy::panic, reason = "without a cluster no test can go on, and each would need the same line")]
    pub fn shared_other() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Options::default()).unwrap_or_else(|error| panic!("{error:?}")))
    }

    /// The path of `ceph.conf`.
    pub fn configuration(&self) -> &Path {
        &self.configuration
    }

    /// Where everything of this cluster lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The keyring of a user, given without `client.`.
    pub fn keyring(&self, user: &str) -> PathBuf {
        keyring(&self.directory, &format!("client.{user}"))
    }

    /// Runs `rbd` and gives what it prints.
    pub fn rbd(&self, arguments: &[&str]) -> Result<String> {
        program::run(program::bounded("rbd", &self.configuration)?.args(arguments))
    }

    /// Runs `ceph`, which costs half a second of Python, and gives what it prints.
    pub fn ceph(&self, arguments: &[&str]) -> Result<String> {
        program::run(program::bounded("ceph", &self.configuration)?.args(arguments))
    }

    /// A program with this cluster's configuration in its environment and nothing on its standard input.
    pub fn command(&self, name: &str) -> Result<Command> {
        program::command(name, &self.configuration)
    }

    /// Runs lines of `sh` with this cluster's configuration; a failure anywhere in a pipe is one.
    pub fn shell(&self, script: &str) -> Result<String> {
        let mut command = program::bounded("bash", &self.configuration)?;
        program::run(command.args(["-c", &format!("set -euo pipefail\n{script}")]))
    }

    /// The SHA-256 of what `rbd export` says is in an image or a snapshot.
    pub fn digest(&self, image: &str) -> Result<String> {
        let printed = self.shell(&format!("rbd export --no-progress '{image}' - | sha256sum"))?;
        Ok(printed.split(' ').next().unwrap_or_default().to_owned())
    }

    /// Changes a setting of the running OSD, until it is started again.
    pub fn configure_osd(&self, key: &str, value: &str) -> Result<()> {
        let request = serde_json::json!({ "prefix": "config set", "var": key, "val": [value] });
        let answer = self.running().osd.as_ref().context("the OSD is stopped")?.ask(&request)?;
        ensure!(answer.get("success").is_some(), "the OSD does not take {key} = {value}: {answer}");
        Ok(())
    }

    /// Bytes of the disk that objects take up, holes not counted. Only a store on a disk knows them.
    pub fn allocated(&self) -> Result<u64> {
        let request = serde_json::json!({ "prefix": "perf dump", "logger": "bluestore" });
        let answer = self.running().osd.as_ref().context("the OSD is stopped")?.ask(&request)?;
        let bytes = answer.get("bluestore").and_then(|counters| counters.get("bluestore_allocated")?.as_u64());
        bytes.with_context(|| format!("the OSD does not say what is allocated: {answer}"))
    }

    /// Makes a pool that is ready for RBD.
    pub fn create_pool(&self, name: &str) -> Result<()> {
        self.ceph(&["osd", "pool", "create", name, "8", "8", "replicated"])?;
        self.rbd(&["pool", "init", name]).map(drop)
    }

    /// Makes a namespace that no other test has, in a pool.
    pub fn namespace(&self, pool: &str) -> Result<String> {
        let name = self.unique("space");
        self.rbd(&["namespace", "create", &format!("{pool}/{name}")])?;
        Ok(name)
    }

    /// A name that no other test of this process has.
    pub fn unique(&self, start: &str) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        format!("{start}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a user and gives its keyring.
    pub fn create_user(&self, user: &User) -> Result<PathBuf> {
        let path = self.keyring(&user.name);
        let mut command = program::bounded("ceph", &self.configuration)?;
        command.args(["auth", "get-or-create", &format!("client.{}", user.name)]);
        for (daemon, capability) in &user.capabilities {
            command.args([daemon, capability]);
        }
        program::run(command.arg("-o").arg(&path))?;
        Ok(path)
    }

    /// Process id of the OSD, for measurements.
    pub fn osd_id(&self) -> Option<u32> {
        self.running().osd.as_ref().map(Daemon::id)
    }

    /// Process id of the monitor.
    pub fn monitor_id(&self) -> u32 {
        self.running().monitor.id()
    }

    /// SIGSTOP to the OSD: it is there and does not answer.
    pub fn suspend_osd(&self) -> Result<()> {
        self.signal_osd(Signal::STOP)
    }

    /// SIGCONT to the OSD.
    pub fn resume_osd(&self) -> Result<()> {
        self.signal_osd(Signal::CONT)
    }

    fn signal_osd(&self, signal: Signal) -> Result<()> {
        self.running().osd.as_ref().context("the OSD is stopped")?.signal(signal)
    }

    /// SIGSTOP to the monitor.
    pub fn suspend_monitor(&self) -> Result<()> {
        self.running().monitor.signal(Signal::STOP)
    }

    /// SIGCONT to the monitor.
    pub fn resume_monitor(&self) -> Result<()> {
        self.running().monitor.signal(Signal::CONT)
    }

    /// Stops the OSD in order; a store in memory is written to disk by that.
    pub fn stop_osd(&self) -> Result<()> {
        self.running().osd.take().context("the OSD is stopped")?.stop()
    }

    /// SIGKILL to the OSD. A store in memory has lost everything then.
    pub fn kill_osd(&self) -> Result<()> {
        self.running().osd.take().context("the OSD is stopped")?.kill();
        Ok(())
    }

    /// Starts the OSD again and waits until it serves.
    pub fn start_osd(&self) -> Result<()> {
        let mut running = self.running();
        ensure!(running.osd.is_none(), "the OSD runs");
        let mut osd = spawn_osd(&self.directory, &self.configuration)?;
        wait_for_osd(&mut osd)?;
        running.osd = Some(osd);
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut running = self.running();
        running.watchdog.dismiss();
        if let Some(osd) = &mut running.osd {
            osd.kill();
        }
        running.monitor.kill();
        // What cannot be removed is left in a directory for temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn directory(options: &Options) -> Result<PathBuf> {
    let directory = match &options.directory {
        Some(directory) => {
            fs::create_dir_all(directory)?;
            directory.canonicalize()?
        }
        None => tempfile::Builder::new().prefix("rsnap-ceph-").tempdir_in("/var/tmp")?.keep(),
    };
    let length = directory.as_os_str().len();
    ensure!(
        length <= DIRECTORY_MAX,
        "{} has {length} bytes, sockets need at most {DIRECTORY_MAX}",
        directory.display()
    );
    for name in ["run", "log", "keys", MONITOR, OSD] {
        fs::create_dir_all(directory.join(name))?;
    }
    Ok(directory)
}

fn keyring(directory: &Path, name: &str) -> PathBuf {
    directory.join("keys").join(format!("{name}.keyring"))
}

/// A random UUID.
fn identifier() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").context("the kernel gives no UUID")?;
    Ok(text.trim().to_owned())
}

/// The monitor is made with the keys of everybody, so that no user has to be added by a command afterwards.
fn start_monitor(
    directory: &Path,
    configuration: &Path,
    cluster: &str,
    port: u16,
    options: &Options,
) -> Result<Daemon> {
    let all = directory.join("keys/all");
    for user in &everybody(options) {
        let own = keyring(directory, &user.name);
        create_key(configuration, &own, user)?;
        fs::write(&all, fs::read_to_string(&all).unwrap_or_default() + &fs::read_to_string(&own)?)?;
    }
    let map = directory.join("monitors");
    let mut command = program::command("monmaptool", configuration)?;
    command.args(["--create", "--fsid", cluster, "--addv", "a", &format!("[v2:127.0.0.1:{port}]")]).arg(&map);
    program::run(&mut command)?;
    let mut command = program::command("ceph-mon", configuration)?;
    command.args(["--mkfs", "-i", "a", "--monmap"]).arg(&map).arg("--keyring").arg(&all);
    program::run(&mut command)?;
    let mut monitor =
        Daemon::start(program::command("ceph-mon", configuration)?.args(["-i", "a"]), MONITOR, directory)?;
    monitor.wait("mon_status", |status| status.get("state").is_some_and(|state| state == "leader"))?;
    Ok(monitor)
}

/// The daemons, the administrator and the users asked for.
fn everybody(options: &Options) -> Vec<User> {
    let all = "allow *";
    let own = [
        User::new("mon.", &[("mon", all)]),
        User::new("client.admin", &[("mon", all), ("osd", all), ("mgr", all)]),
        User::new(OSD, &[("mon", "allow profile osd"), ("osd", all), ("mgr", "allow profile osd")]),
    ];
    let named = |user: &User| User { name: format!("client.{}", user.name), ..user.clone() };
    own.into_iter().chain(options.users.iter().map(named)).collect()
}

fn create_key(configuration: &Path, file: &Path, user: &User) -> Result<()> {
    let mut command = program::command("ceph-authtool", configuration)?;
    command.arg("--create-keyring").arg(file).args(["--gen-key", "-n", &user.name]);
    for (daemon, capability) in &user.capabilities {
        command.args(["--cap", daemon, capability]);
    }
    program::run(&mut command).map(drop)
}

fn first_start_of_osd(directory: &Path, configuration: &Path) -> Result<Daemon> {
    let identity = identifier()?;
    program::run(program::bounded("ceph", configuration)?.args(["osd", "new", &identity, "0"]))?;
    let mut command = program::command("ceph-osd", configuration)?;
    program::run(command.args(["--mkfs", "-i", "0", "--osd-uuid", &identity]))?;
    let mut osd = spawn_osd(directory, configuration)?;
    wait_for_osd(&mut osd)?;
    Ok(osd)
}

fn spawn_osd(directory: &Path, configuration: &Path) -> Result<Daemon> {
    Daemon::start(program::command("ceph-osd", configuration)?.args(["-i", "0"]), OSD, directory)
}

fn wait_for_osd(osd: &mut Daemon) -> Result<()> {
    osd.wait("status", |status| status.get("state").is_some_and(|state| state == "active"))
}
