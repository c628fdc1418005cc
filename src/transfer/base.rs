//! Which committed snapshot a stream is a change of, and whether its sender means the same content.

use super::{TransferError, Upload};
use crate::content::Root;
use crate::image::{Chain, SnapshotRecord};

/// Finds the base that `upload` and the `from` name of its stream speak of; `None` for a full snapshot.
///
/// The names in a stream are the source's, so they are compared with what the base's own commit recorded of its
/// source; they are never looked up as names of the target, unless the base came from a sender who told no name.
pub(super) fn resolve<'c>(
    upload: &Upload,
    from: Option<&str>,
    chain: &'c Chain,
) -> Result<Option<&'c SnapshotRecord>, TransferError> {
    let record = match (&upload.base.snapshot, from) {
        (None, None) if upload.base.root.is_some() => {
            return mismatch("the request names the content root of a base, but the stream is a full one");
        }
        (None, None) => return Ok(None),
        (Some(base), _) => {
            let record = chain.find(base).ok_or_else(|| {
                TransferError::BaseMissing(format!(
                    "the base snapshot {base} is not here; send a full one, or ask for a plan"
                ))
            })?;
            check_name(record, from, upload.base.root)?;
            record
        }
        (None, Some(from)) => by_source_name(upload, from, chain)?,
    };
    check_volume(upload, record)?;
    check_root(record, upload.base.root)?;
    Ok(Some(record))
}

fn mismatch<T>(text: impl Into<String>) -> Result<T, TransferError> {
    Err(TransferError::BaseMismatch(text.into()))
}

/// Cinder's RBD driver names the snapshot `snapshot-<id>`; a sender may tell either.
fn same_name(recorded: &str, told: &str) -> bool {
    recorded == told
        || told.strip_prefix("snapshot-") == Some(recorded)
        || recorded.strip_prefix("snapshot-") == Some(told)
}

/// The name that the source has for a snapshot; the target's where the sender never told it.
pub(super) fn source_name(record: &SnapshotRecord) -> &str {
    record.identity.source_snapshot.as_deref().unwrap_or_else(|| record.snapshot.as_str())
}

/// A stream without `from` leaves zeroes out, so it fits no base; otherwise equal roots prove more than any name.
fn check_name(record: &SnapshotRecord, from: Option<&str>, root: Option<Root>) -> Result<(), TransferError> {
    match from {
        Some(_) if root == Some(record.root) => Ok(()),
        None => mismatch(format!("the request names the base {}, but the stream is a full one", record.snapshot)),
        Some(from) if same_name(source_name(record), from) => Ok(()),
        Some(from) => mismatch(format!(
            "the stream starts from {from:?}, but the base {} was committed as the source's {:?}",
            record.snapshot,
            source_name(record)
        )),
    }
}

fn by_source_name<'c>(upload: &Upload, from: &str, chain: &'c Chain) -> Result<&'c SnapshotRecord, TransferError> {
    let same_volume = |record: &SnapshotRecord| check_volume(upload, record).is_ok();
    let fits = |record: &&SnapshotRecord| same_name(source_name(record), from) && same_volume(record);
    let mut found = chain.snapshots.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(record), None) => Ok(record),
        (None, _) => Err(TransferError::BaseMissing(format!(
            "the stream starts from {from:?}, and no snapshot here was committed as that; send a full one, or name the \
             base in the header Rsnap-Base"
        ))),
        (Some(_), Some(_)) => mismatch(format!(
            "more than one snapshot here was committed as the source's {from:?}; name the base in the header Rsnap-Base"
        )),
    }
}

fn check_volume(upload: &Upload, record: &SnapshotRecord) -> Result<(), TransferError> {
    match (&upload.source_volume, &record.identity.source_volume) {
        (Some(told), Some(recorded)) if told != recorded => mismatch(format!(
            "the base {} is a copy from the source's volume {recorded:?}, this stream comes from {told:?}",
            record.snapshot
        )),
        _ => Ok(()),
    }
}

fn check_root(record: &SnapshotRecord, told: Option<Root>) -> Result<(), TransferError> {
    match told.filter(|told| *told != record.root) {
        None => Ok(()),
        Some(told) => mismatch(format!(
            "the base {} has the content {} here and {told} at the source; send a full one, or from another base",
            record.snapshot, record.root
        )),
    }
}
