//! Where a snapshot lies in Ceph, as users write it: `rbd:pool[/namespace]/image@snapshot`.
//!
//! The grammar is that of the `rbd` tool with a prefix, since SOURCE can be a file too; a file of such a name is `./rbd:…`.
//! Options of the cluster are no part of it: they are options of the command, where `--help` explains them.

use std::fmt;
use std::str::FromStr;

/// What tells a snapshot in Ceph from a file.
pub const PREFIX: &str = "rbd:";
/// Longest name, in bytes; Ceph itself is not stricter.
const NAME_MAX: usize = 255;

/// A snapshot of an image in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub pool: String,
    pub namespace: Option<String>,
    pub image: String,
    pub snapshot: String,
}

/// Why a text names no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write {PREFIX}POOL[/NAMESPACE]/IMAGE@SNAPSHOT: {0}")]
pub struct LocationError(&'static str);

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let path = text.strip_prefix(PREFIX).ok_or(LocationError("it does not begin so"))?;
        let (place, snapshot) = path.rsplit_once('@').ok_or(LocationError("it names no snapshot"))?;
        let parts: Vec<&str> = place.split('/').collect();
        let (pool, namespace, image) = match parts[..] {
            [pool, image] => (pool, None, image),
            [pool, namespace, image] => (pool, Some(name(namespace)?), image),
            _ => return Err(LocationError("it has a pool, perhaps a namespace, and an image")),
        };
        if image.contains('@') || snapshot.contains('/') {
            return Err(LocationError("names of images and snapshots have neither '/' nor '@'"));
        }
        Ok(Self { pool: name(pool)?, namespace, image: name(image)?, snapshot: name(snapshot)? })
    }
}

fn name(text: &str) -> Result<String, LocationError> {
    match text {
        "" => Err(LocationError("a name is empty")),
        _ if text.len() > NAME_MAX => Err(LocationError("a name has more than 255 bytes")),
        _ if text.chars().any(char::is_control) => Err(LocationError("a name has control characters")),
        _ => Ok(text.to_owned()),
    }
}

impl Location {
    /// Another snapshot of the same image, by its name.
    pub fn sibling(&self, snapshot: &str) -> Result<Self, LocationError> {
        if snapshot.contains(['/', '@']) {
            return Err(LocationError("names of images and snapshots have neither '/' nor '@'"));
        }
        Ok(Self { snapshot: name(snapshot)?, ..self.clone() })
    }

    /// Whether both are snapshots of one image.
    #[must_use]
    pub fn is_sibling(&self, other: &Self) -> bool {
        (&self.pool, &self.namespace, &self.image) == (&other.pool, &other.namespace, &other.image)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, namespace, image, snapshot } = self;
        match namespace {
            Some(namespace) => write!(formatter, "{PREFIX}{pool}/{namespace}/{image}@{snapshot}"),
            None => write!(formatter, "{PREFIX}{pool}/{image}@{snapshot}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<(String, Option<String>, String, String)> {
        let Location { pool, namespace, image, snapshot } = text.parse().ok()?;
        Some((pool, namespace, image, snapshot))
    }

    #[test]
    fn snapshots_are_found() {
        let found = parse("rbd:volumes/volume-1@snapshot-1").unwrap();
        assert_eq!(found, ("volumes".into(), None, "volume-1".into(), "snapshot-1".into()));
        let found = parse("rbd:a b/site-a/vol:1@s=1").unwrap();
        assert_eq!(found, ("a b".into(), Some("site-a".into()), "vol:1".into(), "s=1".into()));
        let long = "x".repeat(NAME_MAX);
        assert!(parse(&format!("rbd:{long}/{long}/{long}@{long}")).is_some());
    }

    #[test]
    fn near_misses_are_refused() {
        for text in [
            "volumes/v@s",
            "rbd:",
            "rbd:v@s",
            "rbd:p/v",
            "rbd:p/v@",
            "rbd:p/@s",
            "rbd:/v@s",
            "rbd:p//v@s",
            "rbd:p/n/v/w@s",
            "rbd:p/v@s@t",
            "rbd:p/v@s/t",
            "rbd:p/v\n@s",
            "rbd:p/v@s\0",
            "RBD:p/v@s",
            &format!("rbd:p/v@{}", "x".repeat(NAME_MAX + 1)),
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn siblings_are_of_one_image() {
        let one: Location = "rbd:p/n/v@a".parse().unwrap();
        let other = one.sibling("b").unwrap();
        assert_eq!(other.to_string(), "rbd:p/n/v@b");
        assert!(one.is_sibling(&other));
        assert!(!one.is_sibling(&"rbd:p/v@a".parse().unwrap()) && !one.is_sibling(&"rbd:p/n/w@a".parse().unwrap()));
        assert!(one.sibling("").is_err() && one.sibling("v@b").is_err() && one.sibling("a/b").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_written_back(text in "(rbd:)?[a-c/@:=\\x00-\\x7f]{0,24}") {
            if let Ok(location) = text.parse::<Location>() {
                prop_assert_eq!(location.to_string(), text);
            }
        }
    }
}
