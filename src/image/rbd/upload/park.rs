//! One head for many transfers.
//!
//! An unfinished transfer leaves its bytes in the head. Whoever needs the head next makes an RBD snapshot of it first,
//! under a name that is nobody else's, and notes its id with the transfer: that costs one operation, whatever the size,
//! and Ceph keeps what is overwritten. When the transfer goes on, the head is rolled back to that snapshot. To copy the
//! bytes to a place of their own was refused: it costs what was sent, each time.
//!
//! The snapshot is made first and noted then. A death in between leaves the transfer in the head, where it is as before,
//! and a snapshot that no record names, which the next one removes. It may have to stay, beside a record that cannot be
//! read: so the time is part of the name.

use std::time::SystemTime;

use super::progress::newest;
use crate::image::rbd::catalog::Catalog;
use crate::image::rbd::failure::failed;
use crate::image::rbd::head;
use crate::image::rbd::record::{PARKED, Upload, Whereabouts, upload_key};
use crate::image::rbd::session::Session;
use crate::image::record::milliseconds;
use crate::image::{ImageError, Ranges, StageRequest};

/// Parks the transfer that has its bytes in the head, unless it is the one that asks. True: there was another one. Wants
/// the lock. Blocks.
pub(in crate::image::rbd) fn park(
    session: &Session,
    catalog: &Catalog,
    request: &StageRequest,
) -> Result<bool, ImageError> {
    let there = catalog.in_head().filter(|upload| upload.request.transfer != request.transfer);
    let Some(upload) = there else { return Ok(false) };
    let upload = &newest(&session.pool, upload)?;
    let parked = match is_intact(session, upload)? && !upload.durable.is_empty() {
        true => Upload { data: Whereabouts::Parked(snapshot(session, upload)?), ..upload.clone() },
        false => Upload { data: Whereabouts::Nowhere, durable: Ranges::default(), log_bytes: 0, ..upload.clone() },
    };
    session.set(&upload_key(&upload.request.transfer), &parked)?;
    Ok(true)
}

/// What somebody has cut off is lost, so a head of another size is not believed.
fn is_intact(session: &Session, upload: &Upload) -> Result<bool, ImageError> {
    let size = session.image()?.size().map_err(failed)?;
    if size != upload.request.size {
        tracing::warn!(
            image = %session.name, transfer = %upload.request.transfer, size,
            "the head of an unfinished transfer was resized; it begins anew"
        );
    }
    Ok(size == upload.request.size)
}

fn snapshot(session: &Session, upload: &Upload) -> Result<u64, ImageError> {
    let now = milliseconds(SystemTime::now());
    let name = format!("{PARKED}{}.{}.{now}", upload.generation, upload.request.transfer);
    session.changed(session.image()?.create_snapshot(&name))
}

/// Brings the transfer's bytes back into the head. False: there are none any more. Wants the lock. Blocks.
pub(super) fn unpark(session: &Session, catalog: &Catalog, upload: &Upload) -> Result<bool, ImageError> {
    match upload.data {
        Whereabouts::Nowhere => Ok(false),
        Whereabouts::Head => is_intact(session, upload),
        Whereabouts::Parked(id) => match catalog.snapshot(id) {
            Some(snapshot) => {
                head::roll_back(session, &snapshot.name)?;
                is_intact(session, upload)
            }
            None => {
                tracing::warn!(
                    image = %session.name, transfer = %upload.request.transfer,
                    "somebody removed the snapshot that held an unfinished transfer; it begins anew"
                );
                Ok(false)
            }
        },
    }
}
