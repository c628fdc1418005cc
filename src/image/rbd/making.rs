//! Making an image, which is several steps of librbd: an id, an entry in the pool's directory, a header.
//!
//! A gateway that dies between them leaves a name that can neither be made, for it is there, nor opened, for it has no
//! header. Removing it lets it be made again, but must not meet a maker that lives: the image would lose its name, and what
//! is committed to it would be found by nobody. So whoever makes an image holds the lock of an object named after it. One
//! who finds the lock with a client that does not get on blocklists that client and takes the lock over: then nothing of
//! the former maker takes effect any more, and what it left is removed. The lock goes, with its object, when the image can
//! be opened; after an error it stays, for what was begun may still take effect.
//!
//! What is half made and was not made under such a lock is somebody else's, such as Cinder's: it is waited for, and then
//! refused. To make it under another name and rename it was refused: a death leaves an image of a name nobody knows.

use std::time::Instant;

use rsnap_rbd::{Cluster, Error, Image, Kind, Locker, Mode, Pool};

use super::failure::{failed, sized};
use super::fence::{Patience, STEP};
use super::objects::wait;
use super::session::{BLOCKLIST, seconds};
use super::store::Shared;
use crate::id::ImageName;
use crate::image::ImageError;

/// What the names of the objects whose locks makers hold begin with.
pub(super) const MAKERS: &str = "rsnap.maker.";

/// Whose work it is to make an image under the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nobody,
    /// Somebody had the lock before, and is blocklisted.
    Dead,
}

/// One who opens an image that may have to be made, with a client of its own.
pub(super) struct Maker<'a> {
    pub shared: &'a Shared,
    pub cluster: &'a Cluster,
    pub pool: &'a Pool,
    pub name: &'a ImageName,
    /// Of an image that is made, in bytes.
    pub size: u64,
}

impl Maker<'_> {
    /// Opens the image for writing, and makes it if it is not there. Blocks.
    pub(super) fn open_or_make(&self) -> Result<Image, ImageError> {
        match self.open()? {
            Some(image) => Ok(image),
            None => self.make(),
        }
    }

    fn open(&self) -> Result<Option<Image>, ImageError> {
        match self.pool.open(self.name.as_str(), Mode::ReadWrite, None) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            other => other.map(Some).map_err(failed),
        }
    }

    fn object(&self) -> String {
        format!("{MAKERS}{}", self.name)
    }

    fn locker(&self) -> Result<Option<Locker>, ImageError> {
        self.pool.object_locker(&self.object()).map_err(failed)
    }

    /// Whether the lock is ours now.
    fn lock(&self) -> Result<bool, ImageError> {
        match self.pool.lock_object(&self.object()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Kind::Busy => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn make(&self) -> Result<Image, ImageError> {
        let mut watched = None;
        let mut patience = Patience::new("make an image", self.shared.patience);
        loop {
            let asked = Instant::now();
            if self.lock()? {
                return self.make_locked(Before::Nobody);
            }
            if let Some(image) = self.open()? {
                return Ok(image);
            }
            let locker = self.locker()?;
            if locker != watched {
                patience = Patience::new("make an image", self.shared.patience);
                watched = locker;
            } else if let Some(dead) = watched.as_ref().filter(|_| patience.is_over()) {
                self.take_over(dead)?;
                return self.make_locked(Before::Dead);
            }
            patience.spend(asked.elapsed())?;
            std::thread::sleep(STEP);
        }
    }

    fn take_over(&self, dead: &Locker) -> Result<(), ImageError> {
        tracing::warn!(image = %self.name, client = dead.address, "blocklist a client that began to make an image and does not end");
        self.cluster.blocklist(&dead.address, seconds(BLOCKLIST)).map_err(failed)?;
        match self.pool.break_object_lock(&self.object(), dead) {
            Err(error) if error.kind() != Kind::NotFound => return Err(failed(error)),
            _ => {}
        }
        match self.lock()? {
            true => Ok(()),
            false => Err(ImageError::Busy { image: self.name.clone() }),
        }
    }

    fn make_locked(&self, before: Before) -> Result<Image, ImageError> {
        let made = match self.open()? {
            Some(image) => Ok(image),
            None => self.create(before),
        };
        if matches!(made, Ok(_) | Err(ImageError::Size { .. } | ImageError::Foreign { .. })) {
            self.unlock()?;
        }
        made
    }

    fn create(&self, before: Before) -> Result<Image, ImageError> {
        match (self.create_once(), before) {
            (Err(error), Before::Dead) if error.kind() == Kind::Exists => {
                tracing::info!(image = %self.name, "remove an image that a dead client had half made");
                self.remove()?;
                self.create_once().map_err(|error| sized(self.size, error))?;
            }
            (Err(error), Before::Nobody) if error.kind() == Kind::Exists => return self.wait_for_stranger(),
            (other, _) => other.map_err(|error| sized(self.size, error))?,
        }
        self.pool.open(self.name.as_str(), Mode::ReadWrite, None).map_err(failed)
    }

    fn create_once(&self) -> Result<(), Error> {
        self.pool.create(self.name.as_str(), self.size, &self.shared.config.layout())
    }

    /// One that has nothing but an id is removed, and yet librbd says that it is not there.
    fn remove(&self) -> Result<(), ImageError> {
        match self.pool.remove_image(self.name.as_str()) {
            Err(error) if error.kind() != Kind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    fn wait_for_stranger(&self) -> Result<Image, ImageError> {
        let mut patience = Patience::new("make an image", self.shared.patience);
        while !patience.is_over() {
            let asked = Instant::now();
            if let Some(image) = self.open()? {
                return Ok(image);
            }
            patience.spend(asked.elapsed())?;
            std::thread::sleep(STEP);
        }
        let detail = "somebody else began to make it, and it cannot be opened; if nobody is still at it, remove it with `rbd rm`";
        Err(ImageError::Foreign { image: self.name.clone(), detail: detail.to_owned() })
    }

    fn unlock(&self) -> Result<(), ImageError> {
        match wait(self.pool.remove(&self.object())) {
            Err(error) if error.kind() != Kind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}
