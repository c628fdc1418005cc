//! One client of the cluster, for one writer of one image.
//!
//! A successor fences a writer by blocklisting its client, so a writer must not share its client with anybody: the other
//! transfers of the gateway go on. And a client whose operation was not answered may have something on its way that takes
//! effect later, when its successor relies on the head: so it is blocklisted by itself before the lock is given back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rsnap_rbd::{Cluster, Error, Features, Image, Kind, Mode, Pool};

use super::catalog::Catalog;
use super::clients::{Opener, client_key};
use super::failure::{failed, other};
use super::making::Maker;
use super::objects::wait;
use super::record::{CLIENT, PREFIX};
use super::store::Shared;
use crate::id::ImageName;
use crate::image::ImageError;
use crate::image::record::{Body, seal, unseal};

/// How long a client stays blocklisted: longer than a stopped process or a hanging OSD may keep a write of it.
pub(super) const BLOCKLIST: Duration = Duration::from_hours(7 * 24);
/// How long to wait before another attempt to blocklist a client that has to be.
const RETRY: Duration = Duration::from_secs(5);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Session {
    pub cluster: Cluster,
    pub pool: Pool,
    pub name: ImageName,
    /// Ceph's id of the image.
    pub id: String,
    address: String,
    /// `None` once it is closed.
    image: Option<Image>,
    is_doubtful: AtomicBool,
    /// It has set a record.
    has_written: AtomicBool,
}

impl Session {
    /// Connects, and opens the image for writing. With a size, an image that is not there is made. Blocks.
    pub(super) fn open(shared: &Shared, name: &ImageName, create: Option<u64>) -> Result<Self, ImageError> {
        let cluster = shared.connect()?;
        let pool = shared.pool(&cluster)?;
        let address = cluster.addresses().map_err(failed)?;
        let image = match create {
            Some(size) => Maker { shared, cluster: &cluster, pool: &pool, name, size }.open_or_make()?,
            None => pool.open(name.as_str(), Mode::ReadWrite, None).map_err(failed)?,
        };
        let id = image.id().map_err(failed)?;
        let (name, is_doubtful, has_written) = (name.clone(), AtomicBool::new(false), AtomicBool::new(false));
        let session = Self { cluster, pool, name, id, address, image: Some(image), is_doubtful, has_written };
        session.register(false, false)?;
        Ok(session)
    }

    /// Says whose client this is, see [`super::clients`]. Blocks.
    fn register(&self, is_closing: bool, is_beside: bool) -> Result<(), ImageError> {
        let opener = Opener { image: self.id.clone(), address: self.address.clone(), is_closing, is_beside };
        self.set(&client_key(&self.address), &opener)
    }

    /// Says that this client changes records without the lock. Blocks.
    pub(super) fn works_beside(&self) -> Result<(), ImageError> {
        self.register(false, true)
    }

    fn text<T: Body>(key: &str, body: &T) -> Result<String, ImageError> {
        let failed = |reason: String| other(format!("write the record {key}"), reason);
        let bytes = seal(body).map_err(|error| failed(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
    }

    /// Of this client, as other clients see it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn image(&self) -> Result<&Image, ImageError> {
        self.image.as_ref().ok_or_else(|| other("use an image", "it is closed"))
    }

    /// What the cluster tells of a change: an error that leaves open whether it took effect is remembered.
    pub(super) fn changed<T>(&self, result: Result<T, Error>) -> Result<T, ImageError> {
        result.map_err(|error| {
            if matches!(error.kind(), Kind::TimedOut | Kind::Other) {
                self.doubt();
            }
            failed(error)
        })
    }

    /// Something may take effect later.
    pub(super) fn doubt(&self) {
        self.is_doubtful.store(true, Ordering::Release);
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful.load(Ordering::Acquire)
    }

    /// The records and snapshots of the image. Blocks.
    pub(super) fn survey(&self) -> Result<Catalog, ImageError> {
        let image = self.image()?;
        let metadata = image.all_metadata(PREFIX).map_err(failed)?;
        Ok(Catalog::new(&self.id, &metadata, image.snapshots().map_err(failed)?))
    }

    /// A record, if it is there and can be read. Blocks.
    pub(super) fn get<T: Body>(&self, key: &str) -> Result<Option<T>, ImageError> {
        let text = self.image()?.metadata(key).map_err(failed)?;
        Ok(text.and_then(|text| unseal(text.as_bytes()).ok()))
    }

    /// Sets a record, without waiting for others who have the image open: a dead one would be waited for, and the lock of a
    /// stranger asked for. Blocks.
    pub(super) fn set<T: Body>(&self, key: &str, body: &T) -> Result<(), ImageError> {
        let text = Self::text(key, body)?;
        self.has_written.fetch_or(!key.starts_with(CLIENT), Ordering::AcqRel);
        self.changed(wait(self.image()?.note_metadata(key, &text)))
    }

    /// Removes a record. Blocks.
    pub(super) fn unset(&self, key: &str) -> Result<(), ImageError> {
        self.changed(wait(self.image()?.unnote_metadata(key)))
    }

    /// Removes the snapshot with this id, if it is there, protected or not. Blocks.
    pub(super) fn remove_snapshot(&self, id: u64) -> Result<(), ImageError> {
        let image = self.image()?;
        let snapshots = image.snapshots().map_err(failed)?;
        let ours = |snapshot: &rsnap_rbd::Snapshot| snapshot.id == id && snapshot.is_user;
        let Some(snapshot) = snapshots.into_iter().find(ours) else { return Ok(()) };
        if snapshot.protected {
            self.changed(image.unprotect(&snapshot.name))?;
        }
        match image.remove_snapshot_by_id(id) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => self.changed(other),
        }
    }

    /// Whether the image has the lock that keeps two gateways from writing it at once.
    pub(super) fn has_lock_feature(&self) -> Result<bool, ImageError> {
        Ok(self.image()?.features().map_err(failed)?.contains(Features::EXCLUSIVE_LOCK))
    }

    /// Whether the image can be written without fear of another writer.
    pub(super) fn require_features(&self) -> Result<(), ImageError> {
        let foreign = |detail: &str| ImageError::Foreign { image: self.name.clone(), detail: detail.to_owned() };
        if !self.has_lock_feature()? {
            return Err(foreign(
                "it does not have the feature exclusive-lock, which keeps two gateways from writing it at once; add it \
                 with `rbd feature enable`",
            ));
        }
        if self.image()?.features().map_err(failed)?.contains(Features::JOURNALING) {
            return Err(foreign(
                "it has the feature journaling, which repeats writes of a writer that was shut out; take it away with \
                 `rbd feature disable`",
            ));
        }
        Ok(())
    }

    /// Keeps the lock until this client can do no harm any more.
    fn retire(&self, image: Image) {
        let (cluster, address) = (self.cluster.clone(), self.address.clone());
        let Err(error) = cluster.blocklist(&address, seconds(BLOCKLIST)) else { return };
        tracing::warn!(%address, %error, "keep an image locked until its former writer is blocklisted");
        let keep_trying = move || {
            while cluster.blocklist(&address, seconds(BLOCKLIST)).is_err() {
                std::thread::sleep(RETRY);
            }
            drop(image);
        };
        if let Err(error) = std::thread::Builder::new().name("rbd-retire".to_owned()).spawn(keep_trying) {
            tracing::error!(%error, "start a thread");
        }
    }
}

/// Gives the lock back and closes the image. Blocks: sessions are used and dropped on threads that may.
impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_doubtful() {
            // On an image that is not ours, nothing stays. Elsewhere the next one must not take it for a stranger before the
            // image is closed.
            let told = match self.has_written.load(Ordering::Acquire) {
                true => self.register(true, false),
                false => self.unset(&client_key(&self.address)),
            };
            if let Err(error) = told {
                tracing::debug!(%error, "leave the record of a client to the next transfer");
            }
        }
        let Some(image) = self.image.take() else { return };
        if self.is_doubtful() {
            self.retire(image);
        } else if let Err(error) = image.close() {
            tracing::warn!(%error, "leave the lock of an image to the next transfer");
        }
    }
}

pub(super) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
