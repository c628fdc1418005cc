//! Trees of images that are gone, and locks of makers that are.
//!
//! Whoever removes an image with `rbd rm` or through Cinder does not know of the content trees beside it, and without the
//! image nobody would ever look for them. Ceph cannot list objects by the beginning of their names, so all names of the
//! pool are asked for: work for an operator's command now and then, and not for each start of a gateway. An image lives as
//! long as its header is there, also in the trash; its id is never given again. So nothing can be removed here that
//! somebody needs, whatever runs at the same time. The lock under which an image was made ([`super::making`]) is of no use
//! once the image can be opened.

use std::collections::HashMap;
use std::ops::ControlFlow;

use rsnap_rbd::{Kind, Mode, Pool};

use super::failure::unanswered;
use super::making::MAKERS;
use super::objects::{TREES, wait};
use super::store::Shared;
use crate::image::ImageError;

/// What the names of all our objects begin with.
const OURS: &str = "rsnap.";

impl Shared {
    /// Removes them, and gives the number of objects. Blocks, for minutes where the pool is large.
    pub(super) fn sweep(&self) -> Result<u64, ImageError> {
        let pool = self.readers_pool()?;
        let mut sweep = Sweep { pool: &pool, lives: HashMap::new(), removed: 0, failed: None };
        let listed = pool.objects(OURS, |name| sweep.look_at(name));
        listed.map_err(unanswered)?;
        sweep.failed.map_or(Ok(sweep.removed), Err)
    }
}

struct Sweep<'a> {
    pool: &'a Pool,
    /// Images by Ceph's id.
    lives: HashMap<String, bool>,
    removed: u64,
    failed: Option<ImageError>,
}

impl Sweep<'_> {
    fn look_at(&mut self, name: &str) -> ControlFlow<()> {
        let done = match (image_of(name), name.strip_prefix(MAKERS)) {
            (Some(image), _) => self.remove_if_dead(image, name),
            (None, Some(image)) => self.remove_if_made(image, name),
            (None, None) => Ok(()),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(unanswered(error));
                ControlFlow::Break(())
            }
        }
    }

    fn remove_if_dead(&mut self, image: &str, name: &str) -> Result<(), rsnap_rbd::Error> {
        match self.lives(image)? {
            true => Ok(()),
            false => self.remove(name),
        }
    }

    fn remove_if_made(&mut self, image: &str, name: &str) -> Result<(), rsnap_rbd::Error> {
        match self.pool.open(image, Mode::ReadOnly, None) {
            Ok(_) => self.remove(name),
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn remove(&mut self, name: &str) -> Result<(), rsnap_rbd::Error> {
        match wait(self.pool.remove(name)) {
            Ok(()) => self.removed += 1,
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn lives(&mut self, image: &str) -> Result<bool, rsnap_rbd::Error> {
        if let Some(lives) = self.lives.get(image) {
            return Ok(*lives);
        }
        let lives = match wait(self.pool.stat(&format!("rbd_header.{image}"))) {
            Ok(_) => true,
            Err(error) if error.kind() == Kind::NotFound => false,
            Err(error) => return Err(error),
        };
        self.lives.insert(image.to_owned(), lives);
        Ok(lives)
    }
}

/// The id of the image that a tree's object belongs to.
fn image_of(name: &str) -> Option<&str> {
    let (image, _) = name.strip_prefix(TREES)?.split_once('.')?;
    (!image.is_empty() && image.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_a_tree_names_its_image() {
        assert_eq!(image_of("rsnap.tree.13f2a0c1.4.t-1.00000000"), Some("13f2a0c1"));
        for other in ["rsnap.tree.", "rsnap.tree.13f2", "rsnap.tree..x", "rsnap.tree.a/b.x", "rbd_data.13f2.0"] {
            assert_eq!(image_of(other), None, "{other}");
        }
    }
}
