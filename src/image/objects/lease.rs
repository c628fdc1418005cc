//! Which transfers, and which repairs, are alive.
//!
//! A transfer writes its lease again and again, and its age by the storage's own clock tells whether it still does: no
//! clock of a gateway is compared with another one's. The answer only decides when somebody may take over. What keeps a
//! transfer that was declared dead and wakes up from doing harm is the head, which names another writer then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt as _;
use tokio::task::JoinHandle;

use super::bucket::Bucket;
use super::layout::{LEASES, Session, is_of_mending, lease_name};
use crate::id::ImageName;
use crate::image::ImageError;

/// How long a transfer may be silent: several times what one request may take.
pub(super) const LIFETIME: Duration = Duration::from_mins(1);
/// Times that a lease is written in its life.
const BEATS: u32 = 9;

/// A lease that is kept alive until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    bucket: Bucket,
    name: String,
    beat: JoinHandle<()>,
}

impl Lease {
    /// The lease called `name`, of a transfer or of something else, which `holder` tells to people.
    pub(super) async fn begin(
        bucket: &Bucket,
        name: String,
        holder: &str,
        lifetime: Duration,
    ) -> Result<Self, ImageError> {
        let text = holder.as_bytes().to_vec();
        bucket.write(&name, text.clone()).await?;
        let pause = (lifetime / BEATS).max(Duration::from_millis(100));
        let (keeper, kept) = (bucket.clone(), name.clone());
        let beat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                if let Err(error) = keeper.write(&kept, text.clone()).await {
                    tracing::warn!(lease = kept, %error, "renew a lease");
                }
            }
        });
        Ok(Self { bucket: bucket.clone(), name, beat })
    }

    /// The present, by the storage's clock: to be asked when the lease has just begun.
    pub(super) async fn now(&self) -> Result<SystemTime, ImageError> {
        let written = self.bucket.modified(&self.name).await?;
        Ok(written.unwrap_or_else(SystemTime::now))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beat.abort();
        let (bucket, name) = (self.bucket.clone(), std::mem::take(&mut self.name));
        // Without a runtime the process is about to end, and the lease runs out.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { bucket.remove([name]).await });
        }
    }
}

/// Whether a transfer is to be believed alive at the moment `now` of the storage's clock.
pub(super) async fn is_alive(
    bucket: &Bucket,
    session: Session,
    now: SystemTime,
    lifetime: Duration,
) -> Result<bool, ImageError> {
    let written = bucket.modified(&lease_name(session)).await?;
    Ok(written.is_some_and(|written| written + lifetime > now))
}

/// Whether a repair is to be believed alive at that moment.
pub(super) async fn is_mended(bucket: &Bucket, now: SystemTime, lifetime: Duration) -> Result<bool, ImageError> {
    let leases: Vec<_> = bucket.list(LEASES).try_collect().await?;
    Ok(leases.iter().any(|lease| is_of_mending(&lease.name) && lease.modified + lifetime > now))
}

/// Removes the leases that have run out.
pub(super) async fn remove_old(bucket: &Bucket, now: SystemTime, lifetime: Duration) -> Result<(), ImageError> {
    let leases: Vec<_> = bucket.list(LEASES).try_collect().await?;
    let old = leases.into_iter().filter(|lease| lease.modified + lifetime <= now);
    bucket.remove(old.map(|lease| format!("{LEASES}/{}", lease.name))).await
}

/// The images that this process writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Writing(Arc<Mutex<BTreeSet<ImageName>>>);

/// One image that is written, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    writing: Writing,
    image: ImageName,
}

impl Writing {
    pub(super) fn enter(&self, image: &ImageName) -> Result<Place, ImageError> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone()) {
            true => Ok(Place { writing: self.clone(), image: image.clone() }),
            false => Err(ImageError::Busy { image: image.clone() }),
        }
    }

    pub(super) fn is_written(&self, image: &ImageName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(image)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.writing.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.image);
    }
}
