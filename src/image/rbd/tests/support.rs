//! A store in a namespace of its own, and what a stranger can do to it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rsnap_rbd::{Cluster as Client, Image, Library, Mode, Pool, Settings};
use rsnap_test_ceph::Cluster;

use crate::image::cases::{Bench, image};
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

/// The smallest configuration.
pub(super) fn config(ceph: &Path, namespace: Option<&str>) -> RbdConfig {
    let mut config: RbdConfig = toml::from_str(&format!("pool = {POOL:?}")).unwrap();
    config.configuration = Some(ceph.to_owned());
    config.namespace = namespace.map(str::to_owned);
    config
}

impl Site {
    /// A store here, as another gateway would open it.
    pub fn store(&self) -> RbdStore {
        self.store_with(&self.config)
    }

    pub fn store_with(&self, config: &RbdConfig) -> RbdStore {
        let mut shared = Shared::open(config.clone(), Arc::clone(&self.metrics)).unwrap();
        // The owner of a lock that lives answers at once, however busy this machine is with other tests.
        shared.patience = Duration::from_secs(2);
        RbdStore { shared: Arc::new(shared) }
    }

    pub fn bench(&self) -> Bench {
        Bench::new(Arc::new(self.store()), None)
    }

    /// The image's full name for the `rbd` tool, with a snapshot or without.
    pub fn name(&self, snapshot: &str) -> String {
        let at = if snapshot.is_empty() { "" } else { "@" };
        format!("{POOL}/{}/{}{at}{snapshot}", self.namespace, image())
    }

    /// A client of its own.
    pub fn pool(&self) -> Pool {
        let settings = Settings { configuration: self.config.configuration.clone(), ..Settings::default() };
        let client = Client::connect(&Library::load().unwrap(), &settings).unwrap();
        client.pool(POOL, Some(&self.namespace)).unwrap()
    }

    /// The image, opened by a stranger.
    pub fn image(&self, mode: Mode) -> Image {
        self.pool().open(image().as_str(), mode, None).unwrap()
    }
}
