//! A transfer between two of its requests.
//!
//! The requests of one sender follow each other at once. To close the image and open it again for each costs a dozen round
//! trips, and more than that: while nobody has the lock anybody may write, so all that is there would be read before the
//! commit ([`super::inherited`]). So an owner stays it for [`REST`] after a request. It keeps the lock, and looks whether
//! another gateway asks for the transfer; another transfer that this gateway has for the image goes first.
//!
//! Only one whose every byte is durable rests: then what is in memory is what a new owner would find. To keep the lock
//! until the transfer expires was refused: others could not use the image, and each one that rests costs a client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::RbdUpload;
use crate::id::{ImageName, TransferId};
use crate::image::rbd::objects::wait;

/// How long an owner stays it. Less than others wait for one that was asked to let go.
pub(in crate::image::rbd) const REST: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(250);
/// As many rest at once: each is a client with threads of its own.
const RESTING_MAX: usize = 16;

/// The transfers of this process that rest. Each belongs to the task that waits for its end.
#[derive(Debug, Default)]
pub(in crate::image::rbd) struct Resting(Mutex<HashMap<ImageName, Weak<Place>>>);

#[derive(Debug)]
struct Place(Mutex<Option<RbdUpload>>);

impl Place {
    fn upload(&self) -> MutexGuard<'_, Option<RbdUpload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resting {
    fn places(&self) -> MutexGuard<'_, HashMap<ImageName, Weak<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, upload: &RbdUpload) -> Option<Arc<Place>> {
        let mut places = self.places();
        places.retain(|_, place| place.strong_count() > 0);
        if places.len() >= RESTING_MAX {
            return None;
        }
        let place = Arc::new(Place(Mutex::new(Some(upload.clone()))));
        places.insert(upload.staging().request.image.clone(), Arc::downgrade(&place));
        Some(place)
    }

    /// The transfer that rests in an image, which is the caller's from now on.
    pub(super) fn take(&self, image: &ImageName) -> Option<RbdUpload> {
        let place = self.places().remove(image)?.upgrade()?;
        place.upload().take()
    }

    /// Ends the rest of whatever transfer has the image. Blocks.
    pub(in crate::image::rbd) fn end(&self, image: &ImageName) {
        if let Some(upload) = self.take(image) {
            let left: Result<(), std::convert::Infallible> = wait(async {
                upload.leave().await;
                Ok(())
            });
            left.unwrap_or_default();
        }
    }
}

/// Lets a transfer rest. False: it must end now.
pub(super) fn begin(upload: &RbdUpload) -> bool {
    let rest = upload.staging().shared.rest;
    if rest.is_zero() || !upload.is_settled() {
        return false;
    }
    let Some(place) = upload.staging().shared.resting.enter(upload) else { return false };
    tokio::spawn(async move {
        let end = Instant::now() + rest;
        while Instant::now() < end {
            tokio::time::sleep(LOOK).await;
            let resting = place.upload().clone();
            match resting {
                None => return,
                Some(upload) if upload.still_owns().await.is_err() => break,
                Some(_) => {}
            }
        }
        let over = place.upload().take();
        if let Some(upload) = over {
            upload.leave().await;
        }
    });
    true
}

/// The transfer, if it rests here and nobody else wants it.
pub(in crate::image::rbd) async fn wake(
    resting: &Resting,
    image: &ImageName,
    transfer: &TransferId,
) -> Option<RbdUpload> {
    let upload = resting.take(image)?;
    if upload.staging().request.transfer == *transfer
        && let Some(awake) = upload.clone().wake().await
    {
        return Some(awake);
    }
    upload.leave().await;
    None
}
