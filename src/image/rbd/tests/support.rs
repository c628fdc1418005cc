//! A store in a namespace of its own, and what a stranger can do to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rsnap_rbd::{Cluster as Client, Image, Library, Mode, Pool, Settings};
use rsnap_test_ceph::Cluster;

use crate::image::cases::{Bench, changed, content, image};
use crate::image::file::Dice;
use crate::image::rbd::store::Shared;
use crate::image::rbd::{RbdConfig, RbdStore};
use crate::metrics::Metrics;

pub(super) const POOL: &str = "volumes";

/// A namespace of the cluster that all tests share.
#[derive(Debug)]
pub(super) struct Site {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub config: RbdConfig,
    pub metrics: Arc<Metrics>,
}

/// A new one.
pub(super) fn site() -> Site {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(POOL).unwrap();
    let config = config(cluster.configuration(), Some(&namespace));
    Site { cluster, namespace, config, metrics: Arc::new(Metrics::new()) }
}

/// A chain of three.
pub(super) struct Scene {
    pub site: Site,
    pub bench: Bench,
    pub all: Vec<Vec<u8>>,
}

impl Scene {
    /// Of `size` bytes each, as `seed` has it.
    pub(super) async fn new(seed: u64, size: usize) -> Self {
        let site = site();
        let bench = site.bench();
        let mut dice = Dice(seed);
        let mut all = vec![content(&mut dice, size)];
        bench.put(0, None, &all[0]).await.unwrap();
        for number in 1..3 {
            let next = changed(&mut dice, &all[number - 1], size);
            bench.put(number, Some((number - 1, &all[number - 1])), &next).await.unwrap();
            all.push(next);
        }
        Self { site, bench, all }
    }
}

/// The smallest configuration.
pub(super) fn config(ceph: &Path, namespace: Option<&str>) -> RbdConfig {
    let mut config: RbdConfig = toml::from_str(&format!("pool = {POOL:?}")).unwrap();
    config.configuration = Some(ceph.to_owned());
    config.namespace = namespace.map(str::to_owned);
    config
}

/// A store that does not wait long for the owner of a lock: one that lives answers in milliseconds. Its unfinished
/// transfers do not rest, so that each request has an owner of its own.
pub(super) fn store(config: &RbdConfig, metrics: Arc<Metrics>) -> RbdStore {
    store_with_rest(config, metrics, Duration::ZERO)
}

fn store_with_rest(config: &RbdConfig, metrics: Arc<Metrics>, rest: Duration) -> RbdStore {
    let mut shared = Shared::open(config.clone(), metrics).unwrap();
    shared.patience = Duration::from_secs(1);
    shared.rest = rest;
    RbdStore { shared: Arc::new(shared) }
}

impl Site {
    /// A store here, as another gateway would open it.
    pub(super) fn store(&self) -> RbdStore {
        store(&self.config, Arc::clone(&self.metrics))
    }

    pub(super) fn store_with_rest(&self, rest: Duration) -> RbdStore {
        store_with_rest(&self.config, Arc::clone(&self.metrics), rest)
    }

    pub(super) fn bench(&self) -> Bench {
        self.bench_of(Duration::ZERO)
    }

    pub(super) fn bench_of(&self, rest: Duration) -> Bench {
        Bench::new(Arc::new(self.store_with_rest(rest)), None)
    }

    /// The image's full name for the `rbd` tool, with a snapshot or without.
    pub(super) fn name(&self, snapshot: &str) -> String {
        let at = if snapshot.is_empty() { "" } else { "@" };
        format!("{POOL}/{}/{}{at}{snapshot}", self.namespace, image())
    }

    /// A client of its own.
    pub(super) fn client(&self) -> Client {
        let settings = Settings { configuration: self.config.configuration.clone(), ..Settings::default() };
        Client::connect(&Library::load().unwrap(), &settings).unwrap()
    }

    /// The namespace, for a stranger.
    pub(super) fn pool(&self) -> Pool {
        self.client().pool(POOL, Some(&self.namespace)).unwrap()
    }

    /// The bytes of a snapshot, as the `rbd` tool exports them.
    pub(super) fn exported(&self, snapshot: &str) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let arguments = ["export", "--no-progress", &self.name(snapshot), "-"];
        let mut command = self.cluster.command("rbd").unwrap();
        let status = command.args(arguments).stdout(file.reopen().unwrap()).status().unwrap();
        assert!(status.success());
        std::fs::read(file.path()).unwrap()
    }

    /// Names of the objects that begin so.
    pub(super) fn objects(&self, prefix: &str) -> Vec<String> {
        let listed = self.cluster.shell(&format!("rados -p {POOL} -N {} ls", self.namespace)).unwrap();
        listed.lines().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// Names of the objects of content trees.
    pub(super) fn trees(&self) -> Vec<String> {
        self.objects("rsnap.tree.")
    }

    /// Names of the objects of images' data.
    pub(super) fn data(&self) -> Vec<String> {
        self.objects("rbd_data.")
    }

    /// The image, opened by a stranger.
    pub(super) fn image(&self, mode: Mode) -> Image {
        self.pool().open(image().as_str(), mode, None).unwrap()
    }
}
