//! Which images this process writes to.
//!
//! The fence against others is in the storage; this only spares the storage what is known here. And it lets the next
//! transfer wait for the end of the one before: closing an image takes some round trips, and whoever has just been told
//! that a transfer has ended must not hear that it still runs. And a deletion meanwhile goes through the transfer's own
//! client, because nobody else may change the image.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::staging::Staging;
use crate::id::ImageName;

#[derive(Debug)]
enum State {
    /// With the transfer, once it has the image.
    Open(Weak<Staging>),
    Closing,
}

#[derive(Debug, Default)]
struct Shared {
    images: Mutex<HashMap<ImageName, State>>,
    changed: Condvar,
}

impl Shared {
    fn images(&self) -> MutexGuard<'_, HashMap<ImageName, State>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's text. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Writers(Arc<Shared>);

/// One image that is written to, until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    writers: Writers,
    image: ImageName,
}

impl Writers {
    /// Claims an image. `None`: somebody has it, or has not closed it within `patience`. Blocks.
    pub(super) fn claim(&self, image: &ImageName, patience: Duration) -> Option<Claim> {
        let until = Instant::now() + patience;
        let mut images = self.0.images();
        loop {
            match images.get(image) {
                None => break,
                Some(State::Open(_)) => return None,
                Some(State::Closing) => {}
            }
            let left = until.checked_duration_since(Instant::now())?;
            images = self.0.changed.wait_timeout(images, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        images.insert(image.clone(), State::Open(Weak::new()));
        Some(Claim { writers: self.clone(), image: image.clone() })
    }

    /// The transfer that has the image.
    pub(super) fn staging(&self, image: &ImageName) -> Option<Arc<Staging>> {
        match self.0.images().get(image)? {
            State::Open(staging) => staging.upgrade(),
            State::Closing => None,
        }
    }
}

impl Claim {
    /// The image is that transfer's.
    pub(super) fn is_for(&self, staging: &Arc<Staging>) {
        self.writers.0.images().insert(self.image.clone(), State::Open(Arc::downgrade(staging)));
    }

    /// From now on others may wait for it.
    pub(super) fn is_closing(&self) {
        self.writers.0.images().insert(self.image.clone(), State::Closing);
        self.writers.0.changed.notify_all();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.writers.0.images().remove(&self.image);
        self.writers.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_claimed_once_and_waited_for_while_it_is_closed() {
        let (writers, image) = (Writers::default(), "i".parse().unwrap());
        let long = Duration::from_secs(60);
        let claim = writers.claim(&image, long).unwrap();
        assert!(writers.claim(&image, long).is_none(), "claimed twice");
        assert!(writers.claim(&"other".parse().unwrap(), long).is_some());
        claim.is_closing();
        assert!(writers.claim(&image, Duration::from_millis(1)).is_none(), "claimed before it was closed");
        let waiting = std::thread::spawn({
            let (writers, image) = (writers.clone(), image.clone());
            move || writers.claim(&image, long).is_some()
        });
        drop(claim);
        assert!(waiting.join().unwrap());
    }
}
