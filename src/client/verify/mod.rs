//! Proof that two sites hold the same snapshot, or where they do not.
//!
//! Two trees are compared and only what differs is fetched, so that the proof costs the difference and not the volume.
//! Trees tell what was committed. Whether the stored bytes still are that is another question, which costs a read of
//! all of them at the gateway: [`check`].

mod check;
mod extents;

pub use check::{Checked, check};
pub use extents::{Damage, Extent, Extents, LISTED};

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::progress::telling;
use super::source::{ImageFile, RbdSnapshot};
use super::thread::on_thread;
use super::tree::{Difference, LocalTree, RemoteTree, Tree};
use super::{ClientError, Gateway, Meter, Reporter, Stage};
use crate::id::{SnapshotId, VolumeId};
use crate::retry::Backoff;

/// A snapshot that a gateway holds.
#[derive(Debug, Clone)]
pub struct Held {
    pub gateway: Gateway,
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
}

/// What a snapshot is compared with.
#[derive(Debug)]
pub enum Other {
    /// A raw image in a file or on a block device.
    File(PathBuf),
    /// A snapshot in Ceph.
    Ceph(Arc<RbdSnapshot>),
    /// What another gateway holds.
    Held(Held),
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// What it is called.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Content root.
    pub root: String,
}

/// How two snapshots compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub equal: bool,
    pub one: Side,
    pub other: Side,
    /// What differs.
    #[serde(flatten)]
    pub extents: Extents,
    /// Bytes that went over the network.
    pub moved: u64,
}

/// Compares what `one` holds with `other`.
pub async fn compare(
    one: Held,
    other: Other,
    backoff: Backoff,
    reporter: &dyn Reporter,
) -> Result<Comparison, ClientError> {
    let meter = Arc::new(Meter::default());
    let name = one.snapshot.to_string();
    let ours = one.open(backoff, &meter).await?;
    let (theirs, other_name) = other.open(backoff, &meter, reporter).await?;
    let sides = [(&ours as &dyn Tree, one.name()), (&*theirs, other_name)];
    let [first, second] = sides.map(|(tree, name)| Side { name, size: tree.size(), root: tree.root().to_string() });
    let mut extents = Extents::default();
    if ours.root() != theirs.root() {
        let size = ours.size().max(theirs.size());
        let descent = descend(&ours, &*theirs, &meter, &mut extents);
        telling(reporter, Stage::Comparing, &name, size, &meter, descent).await?;
    }
    let equal = first.root == second.root;
    Ok(Comparison { equal, one: first, other: second, extents, moved: meter.moved() })
}

async fn descend(ours: &dyn Tree, theirs: &dyn Tree, meter: &Meter, extents: &mut Extents) -> Result<(), ClientError> {
    let mut difference = Difference::new(Some(ours), theirs);
    while let Some((found, position)) = difference.next().await? {
        found.into_iter().for_each(|range| extents.add(range, None));
        meter.reach(position);
    }
    Ok(())
}

impl Held {
    /// What users call it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} of {} at {}", self.snapshot, self.volume, self.gateway.name())
    }

    async fn open(&self, backoff: Backoff, meter: &Arc<Meter>) -> Result<RemoteTree, ClientError> {
        let (gateway, volume, snapshot) = (self.gateway.clone(), self.volume.clone(), self.snapshot.clone());
        RemoteTree::open(gateway, volume, snapshot, backoff, Arc::clone(meter)).await
    }
}

impl Other {
    async fn open(
        self,
        backoff: Backoff,
        meter: &Arc<Meter>,
        reporter: &dyn Reporter,
    ) -> Result<(Box<dyn Tree>, String), ClientError> {
        match self {
            Self::Held(held) => Ok((Box::new(held.open(backoff, meter).await?), held.name())),
            Self::File(path) => {
                let (name, mut image) = (path.display().to_string(), ImageFile::open(&path)?);
                let size = super::source::Blocks::size(&image);
                let tree = local(reporter, &name, size, move |meter| LocalTree::of_blocks(&mut image, meter)).await?;
                Ok((Box::new(tree), name))
            }
            Self::Ceph(snapshot) => {
                let (name, size) = (snapshot.location().to_string(), snapshot.size());
                let tree = local(reporter, &name, size, move |meter| LocalTree::of_snapshot(&snapshot, meter)).await?;
                Ok((Box::new(tree), name))
            }
        }
    }
}

/// Builds the tree of an image that lies here.
async fn local(
    reporter: &dyn Reporter,
    name: &str,
    size: u64,
    build: impl FnOnce(&Meter) -> Result<LocalTree, ClientError> + Send + 'static,
) -> Result<LocalTree, ClientError> {
    let meter = Arc::new(Meter::default());
    let counted = Arc::clone(&meter);
    let work = on_thread("proof", move || build(&counted));
    telling(reporter, Stage::Proving, name, size, &meter, work).await?
}
