//! What the gateways share: a directory, or a pool of a Ceph cluster.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use super::disk::Disk;
use crate::ceph::support::{POOL, Site};
use crate::support::wait_for;

/// How often an OSD here looks how full it is.
const HEARTBEAT: Duration = Duration::from_secs(1);

pub trait Backend: Send + Sync {
    /// The table of the store.
    fn store(&self) -> String;
    /// Lets nobody write any more.
    fn fill(&self);
    fn drain(&self);
    /// What is there of a volume and serves nobody, when it has these snapshots and no transfer.
    fn leftovers(&self, volume: &str, snapshots: &BTreeSet<String>) -> Vec<String>;
}

/// On a disk of its own.
pub struct Files(Disk);

impl Files {
    pub fn new() -> Self {
        Self(Disk::new())
    }
}

impl Backend for Files {
    fn store(&self) -> String {
        format!("kind = \"file\"\npath = {:?}", self.0.path().join("store"))
    }

    fn fill(&self) {
        self.0.fill();
    }

    fn drain(&self) {
        self.0.drain();
    }

    fn leftovers(&self, volume: &str, snapshots: &BTreeSet<String>) -> Vec<String> {
        let folder = self.0.path().join(format!("store/images/volume-{volume}"));
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let (mut left, mut data, mut trees, mut records) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for name in names {
            let (stem, kind) = name.rsplit_once('.').unwrap_or((&name, ""));
            match kind {
                "raw" | "delta" => data.push(name),
                "tree" => trees.push(name),
                "snapshot" if snapshots.contains(stem.strip_prefix("snapshot-").unwrap_or_default()) => records += 1,
                "hidden" => records += 1,
                // Tombstones, and the record of an upload for who missed the last answer; the gateways list those.
                "deleted" | "upload" | "lock" | "" => {}
                _ => left.push(name),
            }
        }
        if data.len() != records || trees.len() != records {
            left.push(format!("{records} records, {data:?}, {trees:?}"));
        }
        left
    }
}

/// A cluster of its own. Who dies between opening an image and saying that he is ours is a stranger to the others, until
/// Ceph counts him no more: half a minute, and here less than that.
pub struct Ceph(Site);

impl Ceph {
    pub fn new() -> Self {
        let options = rsnap_test_ceph::Options::default()
            .with_setting("osd", "osd client watch timeout = 8")
            .with_setting("osd", "osd heartbeat interval = 1");
        Self(Site::own(&options))
    }

    fn set_bytes(&self, bytes: u64) {
        self.0.cluster().configure_osd("memstore_device_bytes", &bytes.to_string()).unwrap();
    }
}

impl Backend for Ceph {
    fn store(&self) -> String {
        self.0.store("")
    }

    fn fill(&self) {
        self.set_bytes(1 << 20);
    }

    /// The OSD says only now and then how full it is.
    fn drain(&self) {
        self.set_bytes(12 << 30);
        let is_full = || self.0.cluster().ceph(&["health", "detail"]).unwrap().contains("OSD_FULL");
        for _ in 0..2 {
            std::thread::sleep(HEARTBEAT);
            wait_for("space", || !is_full());
        }
    }

    fn leftovers(&self, volume: &str, snapshots: &BTreeSet<String>) -> Vec<String> {
        let image = format!("volume-{volume}");
        let mut left = Vec::new();
        for listed in self.0.snapshots(&image) {
            if !snapshots.contains(listed.name.strip_prefix("snapshot-").unwrap_or_default()) {
                left.push(format!("{listed:?}"));
            }
        }
        let records = self.0.rbd(&format!("image-meta ls @{image}"));
        let is_left = |line: &&str| line.contains("rsnap.claim.") || line.contains("rsnap.intent");
        left.extend(records.lines().filter(is_left).map(str::to_owned));
        // What a layer is called stands in a record.
        let id = self.0.json(&format!("info @{image}"))["id"].as_str().unwrap().to_owned();
        let prefix = format!("rsnap.tree.{id}.");
        let command = format!("rados --pool {POOL} --namespace {} ls", self.0.namespace());
        for object in self.0.cluster().shell(&command).unwrap().lines() {
            let Some(layer) = object.strip_prefix(&prefix).and_then(|rest| rest.rsplit_once('.')) else { continue };
            if !records.contains(layer.0) {
                left.push(object.to_owned());
            }
        }
        left
    }
}
