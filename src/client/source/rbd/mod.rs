//! A snapshot in Ceph, read where it lies.
//!
//! Ceph knows what changed between two snapshots, so that neither the base nor the rest of the image is read; and it
//! never gives the number of a snapshot again, so that numbers prove what roots would have to be computed for: the
//! [`RbdSnapshot::mark`]. Going through `rbd export-diff` was refused: it sends holes as data, reads what it sends twice,
//! and does not notice that the snapshot was deleted under its hands.
//!
//! Reading takes no lock, and needs no more than the right to read; with more it protects the snapshot meanwhile.

mod extents;
mod location;
mod protection;
mod reader;

pub(crate) use extents::Span;
pub use location::{Location, LocationError, PREFIX};
pub(crate) use protection::Protection;
pub(crate) use reader::{Piece, Reader};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rsnap_rbd::{Cluster, Image, Library, Mode, Pool, Settings, SnapshotReference};

use tokio::runtime::Handle;

use crate::client::ClientError;

/// How long the cluster may take for one operation. A silent OSD that comes back within it costs nothing but time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How to reach the cluster, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `ceph.conf`; `None`: where Ceph looks for it.
    pub configuration: Option<PathBuf>,
    /// The user without `client.`; `None`: `admin`.
    pub user: Option<String>,
    /// The file with the user's key; `None`: what the configuration says.
    pub keyring: Option<PathBuf>,
}

/// An earlier snapshot of the same image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    pub name: String,
    /// Ceph's number, which is never given again.
    pub id: u64,
    /// Bytes.
    pub size: u64,
}

/// A snapshot, open for reading.
#[derive(Debug)]
pub struct RbdSnapshot {
    location: Location,
    pool: Pool,
    image: Arc<Image>,
    image_id: String,
    id: u64,
    size: u64,
    /// Of all marks of this image.
    mark_start: String,
    earlier: Vec<Earlier>,
}

impl RbdSnapshot {
    /// Opens a snapshot. Blocks.
    pub fn open(location: Location, access: &Access) -> Result<Self, ClientError> {
        let settings = Settings {
            configuration: access.configuration.clone(),
            user: access.user.clone(),
            keyring: access.keyring.clone(),
            options: Vec::new(),
            timeout: TIMEOUT,
        };
        let cluster = Cluster::connect(&Library::load()?, &settings)?;
        let pool = cluster.pool(&location.pool, location.namespace.as_deref())?;
        let name = SnapshotReference::Name(&location.snapshot);
        let image = pool.open(&location.image, Mode::ReadOnly, Some(name))?;
        let (id, image_id, size) = (image.snapshot_id(&location.snapshot)?, image.id()?, image.size()?);
        let mark_start = format!("{PREFIX}{}/{}/{image_id}@", cluster.fsid()?, pool.id());
        let earlier = earlier(&image, id)?;
        Ok(Self { location, pool, image: Arc::new(image), image_id, id, size, mark_start, earlier })
    }

    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Bytes of the image at this snapshot.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The snapshots of the image that are older than this one, oldest first.
    #[must_use]
    pub fn earlier(&self) -> &[Earlier] {
        &self.earlier
    }

    /// What no other content in any cluster has: cluster, pool, image and snapshot by their numbers.
    #[must_use]
    pub fn mark(&self) -> String {
        self.mark_of(self.id)
    }

    /// The mark of an earlier snapshot, by its number.
    #[must_use]
    pub fn mark_of(&self, id: u64) -> String {
        format!("{}{id}", self.mark_start)
    }

    /// `length` bytes from `offset` on. Blocks, on a thread that knows the runtime.
    pub(crate) fn piece(&self, offset: u64, length: u64) -> Result<Bytes, ClientError> {
        let buffer = vec![0; usize::try_from(length).unwrap_or_default()];
        let (found, buffer) = Handle::current().block_on(self.image.read(offset, buffer))?;
        match found == buffer.len() {
            true => Ok(Bytes::from(buffer)),
            false => Err(ClientError::Changed("the image became shorter while it was read".to_owned())),
        }
    }

    /// Proves that this snapshot and the earlier one that it is compared with are still there. Without that, what was
    /// read may be zeroes: reading a deleted snapshot is no error in Ceph. Blocks.
    pub(crate) fn prove(&self, base: Option<&Earlier>) -> Result<(), ClientError> {
        // An image that is open for reading is not told what became of its snapshots.
        let image = self.pool.open(&self.location.image, Mode::ReadOnly, None)?;
        let there = if image.id()? == self.image_id { image.snapshots()? } else { Vec::new() };
        let wanted = [Some((&self.location.snapshot, self.id)), base.map(|base| (&base.name, base.id))];
        match wanted.into_iter().flatten().find(|(_, id)| there.iter().all(|snapshot| snapshot.id != *id)) {
            None => Ok(()),
            Some((name, _)) => {
                let image = &self.location.image;
                let text = format!("snapshot {name} of image {image} was deleted or made again while it was read");
                Err(ClientError::Changed(text))
            }
        }
    }
}

/// Snapshots that Ceph made for itself are nothing that a user has sent.
fn earlier(image: &Image, id: u64) -> Result<Vec<Earlier>, ClientError> {
    let snapshots = image.snapshots()?.into_iter().filter(|snapshot| snapshot.is_user && snapshot.id < id);
    Ok(snapshots.map(|snapshot| Earlier { name: snapshot.name, id: snapshot.id, size: snapshot.size }).collect())
}
