//! Keeping a snapshot from being deleted while it is read.
//!
//! Best effort: it needs a right that readers need not have, and whoever may protect may also undo it (Cinder does so
//! before it deletes). What decides is [`super::RbdSnapshot::prove`]. Only what was done here is undone.
//!
//! Ceph asks for the image's exclusive lock for this, as for every change to an image, and gives it back to whoever wants
//! it; it is given back before anything is read.

use std::time::Duration;

use rsnap_rbd::{Error, Mode, Pool};

use super::RbdSnapshot;

/// How often to try to take a protection away.
const ATTEMPTS: u32 = 5;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// A snapshot that was protected here, and is until this is dropped, which blocks.
#[derive(Debug)]
pub(crate) struct Protection(Place);

#[derive(Debug)]
struct Place {
    pool: Pool,
    image: String,
    snapshot: String,
    id: u64,
}

impl Protection {
    /// Protects a snapshot, if it is not protected and the user may. Blocks.
    pub(crate) fn try_new(snapshot: &RbdSnapshot) -> Option<Self> {
        let (name, image) = (&snapshot.location.snapshot, &snapshot.location.image);
        let place =
            Place { pool: snapshot.pool.clone(), image: image.clone(), snapshot: name.clone(), id: snapshot.id };
        match place.protect(true) {
            Ok(true) => Some(Self(place)),
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(%error, "reading the snapshot without protecting it");
                None
            }
        }
    }
}

impl Place {
    /// Whether it was changed. A snapshot that was made again under the name is another one, and left alone.
    fn protect(&self, protected: bool) -> Result<bool, Error> {
        let image = self.pool.open(&self.image, Mode::ReadWrite, None)?;
        let now = image.snapshots()?.into_iter().find(|snapshot| snapshot.id == self.id);
        let changes = now.is_some_and(|snapshot| snapshot.protected != protected);
        if changes && protected {
            image.protect(&self.snapshot)?;
        } else if changes {
            image.unprotect(&self.snapshot)?;
        }
        image.close()?;
        Ok(changes)
    }
}

impl Drop for Protection {
    /// Tries more than once: Ceph looks through all pools for clones, and whatever comes and goes there meanwhile fails it.
    fn drop(&mut self) {
        let mut last = self.0.protect(false);
        for _ in 1..ATTEMPTS {
            if last.is_ok() {
                return;
            }
            std::thread::sleep(PAUSE);
            last = self.0.protect(false);
        }
        if let Err(error) = last {
            let (image, snapshot) = (&self.0.image, &self.0.snapshot);
            tracing::warn!(%error, "snapshot {snapshot} of image {image} stays protected; undo it with rbd snap unprotect");
        }
    }
}
