//! A pool of the shared cluster for each test, and images in it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rsnap_rbd::{Cluster, Extent, Features, Image, Layout, Library, Mode, Pool, Settings, SnapshotReference};
use rsnap_test_ceph::Cluster as TestCluster;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const POOL: &str = "volumes";

pub(crate) fn library() -> Arc<Library> {
    Library::load().unwrap()
}

pub(crate) fn settings(cluster: &TestCluster) -> Settings {
    let configuration = Some(cluster.configuration().to_owned());
    Settings { configuration, timeout: Duration::from_secs(60), ..Settings::default() }
}

/// A connection of its own to the shared cluster.
pub(crate) fn connect() -> Cluster {
    Cluster::connect(&library(), &settings(TestCluster::shared())).unwrap()
}

/// A namespace that no other test uses.
pub(crate) struct Place {
    pub(crate) cluster: Cluster,
    pub(crate) pool: Pool,
    pub(crate) namespace: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let namespace = TestCluster::shared().namespace(POOL).unwrap();
        let cluster = connect();
        let pool = cluster.pool(POOL, Some(&namespace)).unwrap();
        Self { cluster, pool, namespace }
    }

    /// The same place by another client.
    pub(crate) fn other(&self) -> Self {
        let cluster = connect();
        let pool = cluster.pool(POOL, Some(&self.namespace)).unwrap();
        Self { cluster, pool, namespace: self.namespace.clone() }
    }

    /// A new image with all maps.
    pub(crate) fn image(&self, name: &str, size: u64) -> Image {
        self.image_like(name, size, &Layout { features: Some(all_features()), ..Layout::default() })
    }

    pub(crate) fn image_like(&self, name: &str, size: u64, layout: &Layout) -> Image {
        self.pool.create(name, size, layout).unwrap();
        self.pool.open(name, Mode::ReadWrite, None).unwrap()
    }

    pub(crate) fn at(&self, name: &str, snapshot: &str) -> Image {
        self.pool.open(name, Mode::ReadOnly, Some(SnapshotReference::Name(snapshot))).unwrap()
    }

    /// As the `rbd` tool names it.
    pub(crate) fn path(&self, image: &str) -> String {
        format!("{POOL}/{}/{image}", self.namespace)
    }
}

pub(crate) fn all_features() -> Features {
    Features::LAYERING | Features::EXCLUSIVE_LOCK | Features::OBJECT_MAP | Features::FAST_DIFF | Features::DEEP_FLATTEN
}

pub(crate) async fn bytes(image: &Image, offset: u64, length: usize) -> Vec<u8> {
    let (number, mut buffer) = image.read(offset, vec![0xee; length]).await.unwrap();
    buffer.truncate(number);
    buffer
}

pub(crate) async fn write(image: &Image, offset: u64, data: Vec<u8>) {
    let length = data.len();
    image.write(offset, data, 0..length).await.unwrap();
}

pub(crate) fn differences(image: &Image, from: Option<&str>, whole_objects: bool) -> Vec<(u64, u64, bool)> {
    let (mut extents, size) = (Vec::new(), image.size().unwrap());
    let collect = |Extent { offset, length, exists }| {
        extents.push((offset, length, exists));
        ControlFlow::Continue(())
    };
    image.differences(from, whole_objects, 0, size, collect).unwrap();
    extents
}
