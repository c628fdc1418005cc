//! From what the store knows to what callers read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::http::header::ETAG;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::api::{CONTENT_ROOT, ChainAnswer, SnapshotAnswer};
use crate::content::Root;
use crate::id::VolumeId;
use crate::image::{Chain, Committed, SnapshotRecord};

/// The end of the year 9999: RFC 3339 has no later moment.
const LAST_MOMENT_MS: u64 = 253_402_300_799_999;

/// A moment as RFC 3339.
pub(super) fn moment(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let known = since.min(Duration::from_millis(LAST_MOMENT_MS));
    humantime::format_rfc3339_millis(UNIX_EPOCH + known).to_string()
}

pub(super) fn snapshot(record: &SnapshotRecord) -> SnapshotAnswer {
    let created = UNIX_EPOCH + Duration::from_millis(record.created_ms.min(LAST_MOMENT_MS));
    SnapshotAnswer {
        volume: record.volume.to_string(),
        snapshot: record.snapshot.to_string(),
        size: record.size,
        root: record.root.to_string(),
        base: record.base.as_ref().map(ToString::to_string),
        source_volume: record.identity.source_volume.clone(),
        source_snapshot: record.identity.source_snapshot.clone(),
        source_mark: record.identity.source_mark.as_ref().map(ToString::to_string),
        created: moment(created),
        stored: record.stored,
    }
}

pub(super) fn chain(volume: &VolumeId, chain: &Chain) -> ChainAnswer {
    ChainAnswer {
        volume: volume.to_string(),
        snapshots: chain.snapshots.iter().map(snapshot).collect(),
        damaged: chain.damaged.iter().map(ToString::to_string).collect(),
    }
}

/// 201 for what is new, 200 for what was there.
pub(super) fn status(committed: &Committed) -> StatusCode {
    match committed {
        Committed::New(_) => StatusCode::CREATED,
        Committed::Already(_) => StatusCode::OK,
    }
}

pub(super) fn committed(committed: &Committed) -> Response {
    let record = committed.record();
    (status(committed), identity(&record.root), Json(snapshot(record))).into_response()
}

/// The headers that name a snapshot's content.
pub(super) fn identity(root: &Root) -> [(HeaderName, HeaderValue); 2] {
    let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    [(ETAG, value(etag(root))), (HeaderName::from_static(CONTENT_ROOT), value(root.to_string()))]
}

/// The entity tag of the raw image: its content root, which is strong by construction.
pub(super) fn etag(root: &Root) -> String {
    format!("\"{root}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Hash;
    use crate::image::Identity;

    fn record(created_ms: u64) -> SnapshotRecord {
        SnapshotRecord {
            volume: "v1".parse().unwrap(),
            snapshot: "s1".parse().unwrap(),
            name: "snapshot-s1".parse().unwrap(),
            size: 4096,
            root: Root::new(4096, Hash::ZERO),
            identity: Identity::default(),
            base: None,
            created_ms,
            stored: 0,
        }
    }

    #[test]
    fn new_is_created_and_old_is_ok() {
        let new = committed(&Committed::New(record(0)));
        assert_eq!(new.status(), StatusCode::CREATED);
        let root = Root::new(4096, Hash::ZERO).to_string();
        assert_eq!(new.headers()["etag"], format!("\"{root}\""));
        assert_eq!(new.headers()["rsnap-content-root"], root);
        assert_eq!(committed(&Committed::Already(record(0))).status(), StatusCode::OK);
    }

    #[test]
    fn no_moment_is_too_far() {
        assert_eq!(snapshot(&record(1_500)).created, "1970-01-01T00:00:01.500Z");
        assert_eq!(snapshot(&record(u64::MAX)).created, "9999-12-31T23:59:59.999Z");
    }
}
