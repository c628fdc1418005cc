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
        (None, None) if upload.base.root.is_some() || upload.base.mark.is_some() => {
            return mismatch("the request names the content of a base, but the stream is a full one");
        }
        (None, None) => return Ok(None),
        (Some(base), _) => {
            let record = chain.find(base).ok_or_else(|| {
                TransferError::BaseMissing(format!(
                    "the base snapshot {base} is not here; send a full one, or ask for a plan"
                ))
            })?;
            check_name(record, from, upload)?;
            record
        }
        (None, Some(from)) => by_source_name(upload, from, chain)?,
    };
    check_volume(upload, record)?;
    check_root(record, upload.base.root)?;
    check_mark(record, upload)?;
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

/// A stream without `from` leaves zeroes out, so it fits no base; otherwise equal roots or marks prove more than any
/// name.
fn check_name(record: &SnapshotRecord, from: Option<&str>, upload: &Upload) -> Result<(), TransferError> {
    match from {
        Some(_) if upload.base.root == Some(record.root) || same_mark(record, upload) => Ok(()),
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
    match (&upload.source.source_volume, &record.identity.source_volume) {
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

fn same_mark(record: &SnapshotRecord, upload: &Upload) -> bool {
    record.identity.has_mark(upload.base.mark.as_ref(), upload.sender.as_deref())
}

/// Who claims a base by its mark does not know its root: nothing else would prove it.
fn check_mark(record: &SnapshotRecord, upload: &Upload) -> Result<(), TransferError> {
    match (&upload.base.mark, &record.identity.source_mark) {
        (Some(_), _) if upload.base.root.is_some() || same_mark(record, upload) => Ok(()),
        (Some(told), Some(recorded)) if told == recorded => mismatch(format!(
            "the base {} was marked {recorded} by another sender, whose word proves nothing of this stream; send a full \
             one, or tell the base's content in the header Rsnap-Base-Root",
            record.snapshot
        )),
        (Some(told), Some(recorded)) => mismatch(format!(
            "the base {} is a copy of the source's {recorded}, and this stream starts from {told}; send a full one",
            record.snapshot
        )),
        (Some(_), None) => mismatch(format!(
            "the base {} was sent without a mark of its source, so that it cannot be compared; send a full one",
            record.snapshot
        )),
        (None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::content::Hash;
    use crate::image::Identity;
    use crate::transfer::{BaseClaim, Format};

    fn root(seed: u8) -> Root {
        Root::new(4096, Hash([seed; 32]))
    }

    /// `t1`, committed as the source's `s1`, with and without a mark.
    fn chain(mark: Option<&str>) -> Chain {
        let source_mark = mark.map(|mark| mark.parse().unwrap());
        let record = SnapshotRecord {
            volume: "v".parse().unwrap(),
            snapshot: "t1".parse().unwrap(),
            name: "snapshot-t1".parse().unwrap(),
            size: 4096,
            root: root(1),
            identity: Identity {
                source_volume: None,
                source_snapshot: Some("s1".to_owned()),
                marked_by: mark.map(|_| "token:one".to_owned()),
                source_mark,
            },
            base: None,
            created_ms: 0,
            stored: 0,
        };
        Chain { snapshots: vec![record], damaged: Vec::new() }
    }

    /// Whether a stream of the sender of `t1` that starts from `from` may use it.
    fn fits(chain: &Chain, from: Option<&str>, told: Option<Root>, mark: Option<&str>) -> bool {
        fits_for("token:one", chain, from, told, mark)
    }

    fn fits_for(sender: &str, chain: &Chain, from: Option<&str>, told: Option<Root>, mark: Option<&str>) -> bool {
        let mark = mark.map(|mark| mark.parse().unwrap());
        let snapshot = from.map(|_| "t1".parse().unwrap());
        let upload = Upload {
            volume: "v".parse().unwrap(),
            snapshot: "t2".parse().unwrap(),
            format: Format::RbdDiff,
            length: None,
            size: None,
            base: BaseClaim { snapshot, root: told, mark },
            root: None,
            source: Identity::default(),
            issued: SystemTime::now(),
            principal: "test".to_owned(),
            sender: (!sender.is_empty()).then(|| sender.to_owned()),
            digests: Vec::new(),
            digest_trailers: crate::transfer::DigestTrailers::default(),
            metadata: None,
        };
        match resolve(&upload, from, chain) {
            Ok(found) => found.is_some(),
            Err(TransferError::BaseMismatch(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_equal_mark_proves_a_base_and_a_name_does_not_mend_another() {
        let marked = chain(Some("m1"));
        assert!(fits(&marked, Some("renamed"), None, Some("m1")));
        assert!(!fits(&marked, Some("s1"), None, Some("m2")));
        assert!(!fits(&chain(None), Some("s1"), None, Some("m1")), "there is nothing to compare with");
        assert!(!fits(&marked, None, None, Some("m1")), "a full stream has no base");
    }

    #[test]
    fn a_mark_proves_nothing_to_another_sender() {
        let marked = chain(Some("m1"));
        for other in ["token:two", ""] {
            assert!(!fits_for(other, &marked, Some("s1"), None, Some("m1")), "{other:?}");
            assert!(fits_for(other, &marked, Some("s1"), Some(root(1)), Some("m1")), "it knows the content");
            assert!(!fits_for(other, &marked, Some("s1"), Some(root(2)), Some("m1")));
        }
        let mut unknown = chain(Some("m1"));
        unknown.snapshots[0].identity.marked_by = None;
        assert!(!fits(&unknown, Some("s1"), None, Some("m1")) && !fits_for("", &unknown, Some("s1"), None, Some("m1")));
    }

    #[test]
    fn a_root_decides_where_there_is_one() {
        assert!(fits(&chain(Some("m1")), Some("s1"), Some(root(1)), Some("m2")));
        assert!(!fits(&chain(Some("m1")), Some("s1"), Some(root(2)), Some("m1")));
        assert!(fits(&chain(None), Some("s1"), None, None));
    }
}
