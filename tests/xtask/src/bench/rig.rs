//! What the rows share: programs, certificate, data, and equal beginnings.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rsnap_test_ceph::Cluster;

use super::Arguments;
use super::sites::POOL;
use crate::build::{self, Profile};
use crate::certificate;
use crate::gateway::{Ends, Gateway, Settings};
use crate::packages::{self, CEPH, CURL, ETCD, NGINX, OPENSSL, SOCAT};
use crate::process;
use crate::steps::Steps;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const TIB: u64 = 1 << 40;

/// By how much `--small` divides.
const SMALL: u64 = 64;

#[derive(Debug)]
pub(super) struct Rig {
    directory: PathBuf,
    plugins: PathBuf,
    profile: Profile,
    root: PathBuf,
    small: bool,
    /// How often us and the peer take turns.
    pub(super) pairs: usize,
}

impl Rig {
    pub(super) fn new(root: &Path, steps: &Steps, arguments: &Arguments) -> Result<Self> {
        let profile = if arguments.dev { Profile::Dev } else { Profile::Release };
        packages::ensure(steps, &[CURL, ETCD, NGINX, OPENSSL, SOCAT])?;
        packages::ensure(steps, &CEPH)?;
        build::guests(root, steps)?;
        build::programs(root, steps, profile)?;
        let rig = Self {
            directory: build::target(root).join("bench"),
            plugins: build::plugins(root),
            profile,
            root: root.to_owned(),
            small: arguments.small,
            pairs: arguments.pairs.into(),
        };
        rig.clear()?;
        std::fs::create_dir_all(&rig.directory).context("cannot make target/bench")?;
        // One for all, so that every handshake costs the same.
        certificate::make(&rig.certificate(), &rig.key())?;
        Ok(rig)
    }

    /// Removes all data, which is large.
    pub(super) fn clear(&self) -> Result<()> {
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory).context("cannot remove target/bench")?;
        }
        Ok(())
    }

    /// A directory of its own for a server.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.join(name);
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(directory)
    }

    /// An amount of data: as asked for, or less by `--small`.
    pub(super) fn amount(&self, bytes: u64) -> u64 {
        if self.small { (bytes / SMALL).max(MIB) } else { bytes }
    }

    /// A program of the workspace.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        build::binary(&self.root, self.profile, name)
    }

    /// A shipped plugin.
    pub(super) fn plugin(&self, name: &str) -> PathBuf {
        self.plugins.join(format!("{name}.wasm"))
    }

    /// A plugin of the tests.
    pub(super) fn fixture(&self, name: &str) -> PathBuf {
        build::fixtures(&self.root).join(format!("{name}.wasm"))
    }

    /// The program that makes data.
    pub(super) fn maker(&self) -> Command {
        Command::new(self.program("rsnap-bench"))
    }

    /// A file of incompressible data, spread over `size` bytes; made once.
    pub(super) fn file(&self, name: &str, data: u64, size: u64) -> Result<PathBuf> {
        let file = self.directory.join(name);
        if !file.exists() {
            let (data, size) = (data.to_string(), size.to_string());
            process::quiet(self.maker().arg("file").arg(&file).args(["--data", &data, "--size", &size]))?;
        }
        Ok(file)
    }

    /// An rbd-diff stream in a file, from snapshot `from` to `to`.
    pub(super) fn diff(&self, from: Option<&str>, to: &str, data: u64, size: u64) -> Result<PathBuf> {
        let file = self.directory.join(format!("{to}.rbd-diff"));
        let (seed, data, size) = ((data / MIB).to_string(), data.to_string(), size.to_string());
        let mut command = self.maker();
        command.arg("diff").arg(&file).args(["--to", to, "--data", &data, "--size", &size, "--seed", &seed]);
        if let Some(from) = from {
            command.args(["--from", from]);
        }
        process::quiet(&mut command)?;
        Ok(file)
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// Starts a gateway with a store of the given kind and a writer.
    pub(super) fn gateway(&self, name: &str, store: &'static str, writer: &'static str) -> Result<Gateway> {
        let mut settings = Settings::new("bench", &self.directory(name)?, self.plugins.clone())?;
        settings.store = store;
        settings.writer = writer;
        self.start(settings)
    }

    /// Starts a gateway that writes to a pool of a Ceph cluster.
    pub(super) fn gateway_on_ceph(&self, cluster: &Cluster) -> Result<Gateway> {
        let mut settings = Settings::new("bench", &self.directory("rbd")?, self.plugins.clone())?;
        settings.store = "rbd";
        settings.ceph = Some((cluster.configuration().to_owned(), POOL.to_owned()));
        self.start(settings)
    }

    /// Starts a gateway with a store of the given kind and a policy.
    pub(super) fn gateway_with_policy(&self, name: &str, store: &'static str, policy: &Path) -> Result<Gateway> {
        let mut settings = Settings::new("bench", &self.directory(name)?, self.plugins.clone())?;
        settings.store = store;
        policy.display().to_string().clone_into(&mut settings.policy);
        self.start(settings)
    }

    /// Starts a gateway at the far end of a line.
    pub(super) fn gateway_on_line(&self, name: &str, ends: &Ends) -> Result<Gateway> {
        let mut settings = Settings::new("bench", &self.directory(name)?, self.plugins.clone())?;
        settings.ends = Some(ends.clone());
        self.start(settings)
    }

    /// Starts a gateway with more tables in its configuration.
    pub(super) fn gateway_with(&self, name: &str, tables: String) -> Result<Gateway> {
        let mut settings = Settings::new("bench", &self.directory(name)?, self.plugins.clone())?;
        settings.tables = tables;
        self.start(settings)
    }

    fn start(&self, mut settings: Settings) -> Result<Gateway> {
        settings.identity = Some((self.certificate(), self.key()));
        Gateway::start(&self.program("rsnap"), settings)
    }

    /// Makes every turn begin alike: with nothing left to be written. The kernel's caches are not dropped: what is
    /// sent must come from memory for both sides, and what was received is deleted after each turn, which frees it.
    pub(super) fn settle(&self) -> Result<()> {
        process::quiet(&mut Command::new("sync"))
    }
}
