//! The questions that policies and resolvers are asked, as JSON that people write.

use serde::Deserialize;

use crate::id::{SiteName, SnapshotId, VolumeId};
use crate::plugin::{Kind, PolicyRequest, SourceSnapshot, TargetSnapshot};

/// A question to a policy, as [`EXAMPLE`] shows it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    volume: VolumeId,
    snapshot: SnapshotId,
    #[serde(default)]
    source_volume: Option<String>,
    /// The wanted snapshot by its source id; the last of `source` when not given.
    #[serde(default)]
    wanted: Option<String>,
    source: Vec<SourceSnapshot>,
    #[serde(default)]
    target: Vec<TargetSnapshot>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenName {
    name: SiteName,
}

const EXAMPLE: &str = r#"{
  "volume": "my-volume",
  "snapshot": "wednesday",
  "source_volume": "their-volume",
  "source": [
    { "id": "mon", "size": 1073741824, "root": "r1" },
    { "id": "tue", "size": 1073741824, "root": "r2" },
    { "id": "wed", "size": 1073741824 }
  ],
  "target": [
    { "id": "monday", "size": 1073741824, "root": "r1", "source_snapshot": "mon", "created": 1790000000000 }
  ]
}"#;

/// A question that a plugin of this kind understands; `None` for writers, which are not asked but driven.
#[must_use]
pub fn example(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Writer => None,
        Kind::Policy => Some(EXAMPLE),
        Kind::Resolver => Some("{ \"name\": \"dc1\" }"),
    }
}

/// What a policy is asked by `text`.
pub fn policy(text: &str) -> Result<PolicyRequest, String> {
    let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let wanted = match &written.wanted {
        None => written.source.last(),
        Some(id) => written.source.iter().find(|snapshot| snapshot.id == *id),
    };
    let wanted = wanted.cloned().ok_or("the wanted snapshot is not in `source`")?;
    let Written { volume, snapshot, source_volume, source, target, .. } = written;
    Ok(PolicyRequest { volume, snapshot, source_volume, wanted, source, target })
}

/// What a resolver is asked by `text`: JSON, or the bare name of a site.
pub fn resolver(text: &str) -> Result<SiteName, String> {
    let text = text.trim();
    if text.starts_with('{') {
        let written: WrittenName = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok(written.name);
    }
    text.parse().map_err(|error: crate::id::NameError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_questions() {
        let request = policy(example(Kind::Policy).unwrap()).unwrap();
        assert_eq!((request.wanted.id.as_str(), request.target[0].id.as_str()), ("wed", "monday"));
        assert_eq!(resolver(example(Kind::Resolver).unwrap()).unwrap().as_str(), "dc1");
        assert_eq!(resolver("dc2\n").unwrap().as_str(), "dc2");
    }

    #[test]
    fn the_wanted_snapshot_can_be_named() {
        let text = r#"{"volume":"v","snapshot":"s","wanted":"a","source":[{"id":"a","size":1},{"id":"b","size":1}]}"#;
        assert_eq!(policy(text).unwrap().wanted.id, "a");
        assert!(policy(&text.replace("\"wanted\":\"a\"", "\"wanted\":\"c\"")).unwrap_err().contains("not in `source`"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(policy("{\"volume\":\"v\",\"snapshto\":\"s\"}").unwrap_err().contains("snapshto"));
        assert!(policy("{\"volume\":\"../v\"}").unwrap_err().contains("volume id"));
        assert!(resolver("a/b").unwrap_err().contains("site name"));
    }
}
