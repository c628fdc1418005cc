//! How far an unfinished transfer is.
//!
//! A mark in its log makes progress count: one write, beside the pages that it speaks of. The record in the image's metadata
//! is for those who ask and those who want the transfer, and follows [`TELL`] later at most; who asks reads what the log has
//! behind it. To set the record with each mark was refused: it costs the cluster as much as the mark itself, and on a fast
//! path there are fifty of both in a second.

use std::time::{Duration, SystemTime};

use rsnap_rbd::Pool;

use super::{RbdUpload, owner};
use crate::image::page_log::{last_mark, locked};
use crate::image::rbd::failure::{failed, tree_failed};
use crate::image::rbd::objects::Objects;
use crate::image::rbd::record::{Upload, Whereabouts, log_name, upload_key};
use crate::image::rbd::session::Session;
use crate::image::record::milliseconds;
use crate::image::{ImageError, Ranges};

/// Progress is told at most this late, and as late an owner sees that another one wants the transfer.
const TELL: Duration = Duration::from_secs(1);

impl RbdUpload {
    /// The log has a mark of `durable`.
    pub(super) fn advance(&self, durable: Ranges) {
        let log_bytes = locked(&self.log).marked();
        let mut record = self.record();
        record.durable = durable;
        record.log_bytes = log_bytes;
    }

    /// Whether nothing was told for long.
    pub(super) fn is_silent(&self) -> bool {
        let silence = milliseconds(SystemTime::now()).saturating_sub(self.record().touched_ms);
        u128::from(silence) >= TELL.as_millis()
    }

    /// Tells everybody how far the transfer is. Fails when somebody else wants it. Blocks.
    pub(super) fn tell(&self, session: &Session) -> Result<(), ImageError> {
        let mut told = self.record().clone();
        owner::check(session, &told.request.transfer)?;
        told.touched_ms = milliseconds(SystemTime::now());
        session.set(&upload_key(&told.request.transfer), &told)?;
        self.record().touched_ms = told.touched_ms;
        Ok(())
    }
}

/// A record that says as much as the log does. Blocks.
pub(super) fn newest(pool: &Pool, upload: &Upload) -> Result<Upload, ImageError> {
    let mut newest = upload.clone();
    if upload.is_finished || upload.data == Whereabouts::Nowhere {
        return Ok(newest);
    }
    let name = log_name(&upload.request.transfer);
    let log = Objects::find(pool, &upload.image, &name, upload.log_bytes).map_err(failed)?;
    let mark = last_mark(&log, upload.log_bytes).map_err(|error| tree_failed(&name, error))?;
    if let Some((mark, log_bytes)) = mark {
        newest.durable = mark.durable;
        newest.log_bytes = log_bytes;
    }
    Ok(newest)
}
