//! Giving up what nobody works on any more.
//!
//! By the same fence as every change: with the image's lock held, so that nobody can take the transfer over between the
//! look at its record and its end. An image that somebody has open is looked at again next time.

use std::time::SystemTime;

use super::give_up;
use crate::id::{ImageName, TransferId};
use crate::image::ImageError;
use crate::image::rbd::catalog::Catalog;
use crate::image::rbd::failure::unanswered;
use crate::image::rbd::session::Session;
use crate::image::rbd::store::Shared;

impl Shared {
    /// Blocks; looks at each image of the pool.
    pub(in crate::image::rbd) fn expire(&self, before: SystemTime) -> Result<u64, ImageError> {
        let mut expired = 0;
        for image in self.readers_pool()?.images().map_err(unanswered)? {
            let Ok(name) = image.name.parse::<ImageName>() else { continue };
            match self.expire_in(&name, before) {
                Ok(count) => expired += count,
                Err(ImageError::Busy { .. } | ImageError::InUse { .. }) => {}
                Err(error) => tracing::warn!(image = %name, %error, "put off giving up abandoned transfers"),
            }
        }
        Ok(expired)
    }

    fn expire_in(&self, name: &ImageName, before: SystemTime) -> Result<u64, ImageError> {
        let Some(survey) = self.survey(name)? else { return Ok(0) };
        if over(&survey.catalog, before).is_empty() && survey.catalog.given_up().next().is_none() {
            return Ok(0);
        }
        self.alone(name, |session, catalog| self.expire_alone(session, catalog, before))
    }

    fn expire_alone(&self, session: &Session, catalog: Catalog, before: SystemTime) -> Result<u64, ImageError> {
        let over = over(&catalog, before);
        for transfer in &over {
            tracing::info!(image = %session.name, %transfer, "give up a transfer that nobody has worked on");
            give_up(session, transfer)?;
        }
        let left: Vec<TransferId> = session.survey()?.given_up().cloned().collect();
        self.clear(session, session.survey()?, &left)?;
        Ok(over.len() as u64)
    }
}

/// Those that were abandoned, and those that nobody can go on with.
fn over(catalog: &Catalog, before: SystemTime) -> Vec<TransferId> {
    catalog.abandoned_uploads(before).into_iter().chain(catalog.broken_uploads().cloned()).collect()
}
