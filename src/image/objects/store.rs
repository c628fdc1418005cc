//! The store as a whole, and what is asked of it between transfers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt as _;

use super::bucket::{Bucket, Made, unbelievable};
use super::head::{Advance, advance, load};
use super::layout::{IMAGES, LEASES, MANIFESTS, MARKER, Piece, Session};
use super::lease::Writing;
use super::record::{Marker, RECORD_MAX};
use super::snapshot::{ObjectsSnapshot, is_sound};
use crate::id::{ImageName, SnapshotId};
use crate::image::record::{Tombstone, seal, unseal};
use crate::image::{Chain, ImageError};

const FORMAT: u32 = 1;

/// What all users of the store have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub bucket: Bucket,
    /// Tells this process from all others.
    pub process: Session,
    pub writing: Writing,
    /// How long a transfer may be silent.
    pub lifetime: Duration,
    /// Where the objects are, when that is a directory.
    pub directory: Option<PathBuf>,
    id: String,
}

impl Shared {
    /// Opens what is there, or makes a store where there is nothing.
    pub(super) async fn open(
        bucket: Bucket,
        directory: Option<PathBuf>,
        lifetime: Duration,
    ) -> Result<Self, ImageError> {
        let id = match read_marker(&bucket).await? {
            Some(id) => id,
            None => initialise(&bucket).await?,
        };
        refuse_unconditional(&bucket).await?;
        let (process, writing) = (Session::new(), Writing::default());
        Ok(Self { bucket, process, writing, lifetime, directory, id })
    }

    pub(super) fn identity(&self) -> String {
        format!("objects:{}", self.id)
    }

    pub(super) async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        let current = load(&self.bucket, image).await?;
        let named: Vec<Session> = current.head.snapshots.iter().map(|stored| stored.manifest).collect();
        let there = self.manifests_there(&named).await?;
        Ok(current.head.chain(|manifest| there.contains(&manifest)))
    }

    /// Which of these manifests are there. Few are asked for one by one; for many, all names are read.
    async fn manifests_there(&self, named: &[Session]) -> Result<BTreeSet<Session>, ImageError> {
        let mut there = BTreeSet::new();
        if named.len() > 100 {
            let all = self.bucket.list(MANIFESTS);
            let names: Vec<Session> = all
                .try_filter_map(|found| std::future::ready(Ok(found.name.parse::<Session>().ok())))
                .try_collect()
                .await?;
            return Ok(names.into_iter().collect());
        }
        for session in named {
            if self.bucket.modified(&Piece::Manifest { session: *session }.name()).await?.is_some() {
                there.insert(*session);
            }
        }
        Ok(there)
    }

    pub(super) async fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        match load(&self.bucket, image).await?.head.find(snapshot) {
            Some(stored) => is_sound(&self.bucket, stored).await,
            None => Ok(false),
        }
    }

    pub(super) async fn open_snapshot(
        &self,
        image: &ImageName,
        snapshot: &SnapshotId,
    ) -> Result<ObjectsSnapshot, ImageError> {
        let current = load(&self.bucket, image).await?;
        let stored = current.head.find(snapshot).ok_or_else(|| missing(image, snapshot))?;
        ObjectsSnapshot::open(self.bucket.clone(), stored.clone()).await
    }

    /// Makes a snapshot invisible, for good. What it is made of goes with the next collection.
    pub(super) async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        loop {
            let current = load(&self.bucket, image).await?;
            let stored = current.head.find(snapshot).ok_or_else(|| missing(image, snapshot))?.clone();
            let mut next = current.head.next();
            next.snapshots.retain(|there| there.record.snapshot != *snapshot);
            next.deleted.retain(|there| there.snapshot != *snapshot);
            next.deleted.push(Tombstone::now(snapshot));
            // Whoever writes on it as a base still needs it.
            if next.writer.as_ref().is_some_and(|writer| writer.base == Some(stored.manifest)) {
                next.hidden.push(stored);
            }
            if advance(&self.bucket, image, &current, &next).await? == Advance::Done {
                return Ok(());
            }
        }
    }

    pub(super) async fn deleted(
        &self,
        image: &ImageName,
        snapshot: &SnapshotId,
    ) -> Result<Option<SystemTime>, ImageError> {
        Ok(load(&self.bucket, image).await?.head.tombstone(snapshot).map(Tombstone::deleted))
    }

    /// The images that there are, or were.
    pub(super) async fn images(&self) -> Result<Vec<ImageName>, ImageError> {
        let folders = self.bucket.folders(IMAGES).await?;
        Ok(folders.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(super) fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let asked = rustix::fs::statvfs(directory);
        let space = asked.map_err(|error| ImageError::Io {
            action: format!("ask for the free space of {}", directory.display()),
            source: error.into(),
        })?;
        Ok(Some(space.f_bavail.saturating_mul(space.f_frsize)))
    }
}

pub(super) fn missing(image: &ImageName, snapshot: &SnapshotId) -> ImageError {
    ImageError::NotFound { image: image.clone(), snapshot: snapshot.clone() }
}

/// A storage that ignores the condition of a creation would let two gateways overwrite each other's commits, and there are
/// some that do. Better to find out now.
async fn refuse_unconditional(bucket: &Bucket) -> Result<(), ImageError> {
    let name = format!("{LEASES}/{}.trial", Session::new());
    bucket.create(&name, Vec::new()).await?;
    let again = bucket.create(&name, vec![1]).await?;
    bucket.remove([name.clone()]).await?;
    match again {
        Made::Taken => Ok(()),
        Made::New => {
            let text = "the storage creates what is there already (it ignores `If-None-Match: *`), so two gateways would \
                        overwrite each other's commits; use another one";
            Err(unbelievable(&name, text))
        }
    }
}

async fn read_marker(bucket: &Bucket) -> Result<Option<String>, ImageError> {
    let Some(bytes) = bucket.read(MARKER, RECORD_MAX).await? else { return Ok(None) };
    let marker = unseal::<Marker>(&bytes).map_err(|fault| unbelievable(MARKER, fault.to_string()))?;
    match marker.format {
        FORMAT => Ok(Some(marker.id)),
        found => {
            let text =
                format!("the store has format {found} and this rsnap knows {FORMAT}: run the version that wrote it");
            Err(unbelievable(MARKER, text))
        }
    }
}

/// Marks a store where there is none. Whoever loses the race takes the winner's.
async fn initialise(bucket: &Bucket) -> Result<String, ImageError> {
    let marker = Marker { format: FORMAT, id: crate::secret::random_text(16) };
    let bytes = seal(&marker).map_err(|fault| unbelievable(MARKER, fault.to_string()))?;
    match bucket.create(MARKER, bytes).await? {
        Made::New => Ok(marker.id),
        Made::Taken => {
            let there = read_marker(bucket).await?;
            there.ok_or_else(|| unbelievable(MARKER, "it is there and cannot be read"))
        }
    }
}
