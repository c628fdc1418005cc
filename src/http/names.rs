//! Names from the path and the query: checked before anything else sees them.

use std::collections::BTreeSet;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use crate::id::{SnapshotId, TransferId, VolumeId};

/// Most snapshots in one request.
const SNAPSHOTS_MAX: usize = 1_000;

/// `{volume}` of the path.
#[derive(Debug)]
pub(super) struct Volume(pub(super) VolumeId);

/// `{volume}` and `{snapshot}` of the path.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) volume: VolumeId,
    pub(super) snapshot: SnapshotId,
}

/// `{volume}`, `{snapshot}` and `{upload}` of the path.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) volume: VolumeId,
    pub(super) snapshot: SnapshotId,
    pub(super) upload: TransferId,
}

impl<S: Send + Sync> FromRequestParts<S> for Upload {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<(String, String, String)>, _> = Path::from_request_parts(parts, state).await;
        let Path((volume, snapshot, upload)) = path.map_err(malformed)?;
        let upload = Self { volume: volume.parse()?, snapshot: snapshot.parse()?, upload: upload.parse()? };
        tracing::Span::current().record("volume", upload.volume.as_str());
        tracing::Span::current().record("snapshot", upload.snapshot.as_str());
        Ok(upload)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Volume {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(volume): Path<String> = Path::from_request_parts(parts, state).await.map_err(malformed)?;
        let volume: VolumeId = volume.parse()?;
        tracing::Span::current().record("volume", volume.as_str());
        Ok(Self(volume))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<(String, String)>, _> = Path::from_request_parts(parts, state).await;
        let Path((volume, snapshot)) = path.map_err(malformed)?;
        let target = Self { volume: volume.parse()?, snapshot: snapshot.parse()? };
        tracing::Span::current().record("volume", target.volume.as_str());
        tracing::Span::current().record("snapshot", target.snapshot.as_str());
        Ok(target)
    }
}

fn malformed(fault: impl ToString) -> Problem {
    Problem::new(Kind::BadName, fault.to_string())
}

/// The query of a request; keys that are not known are refused, because a misspelt `base` must not mean a full copy.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let read = Query::try_from_uri(uri).map(|Query(query)| query);
    read.map_err(|error| Problem::new(Kind::BadRequest, error.body_text()))
}

/// A list of snapshots, separated by commas, each once.
pub(super) fn snapshots(list: &str) -> Result<Vec<SnapshotId>, Problem> {
    let snapshots: Vec<SnapshotId> =
        list.split(',').take(SNAPSHOTS_MAX + 1).map(str::parse).collect::<Result<_, _>>()?;
    if snapshots.len() > SNAPSHOTS_MAX {
        return Err(Problem::new(Kind::BadRequest, format!("name at most {SNAPSHOTS_MAX} snapshots at once")));
    }
    match snapshots.iter().collect::<BTreeSet<_>>().len() == snapshots.len() {
        true => Ok(snapshots),
        false => Err(Problem::new(Kind::BadRequest, "a snapshot is named twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_checked() {
        assert_eq!(snapshots("a,b").unwrap().len(), 2);
        for (list, kind) in
            [("", Kind::BadName), ("a,", Kind::BadName), ("a,../b", Kind::BadName), ("a,b,a", Kind::BadRequest)]
        {
            assert_eq!(snapshots(list).unwrap_err().kind(), kind, "{list:?}");
        }
        let long: Vec<_> = (0..=SNAPSHOTS_MAX).map(|number| format!("s{number}")).collect();
        assert_eq!(snapshots(&long.join(",")).unwrap_err().kind(), Kind::BadRequest);
    }
}
