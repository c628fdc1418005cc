//! Names and numbers that identify things, as types.
//!
//! Every name that reaches a storage backend comes from a stranger (a URL, a ticket, a stream, a plugin), so each
//! one is checked once, here, when it becomes a value of its type; nothing below this layer looks at raw strings.
//! Plain `String`s with checks at the point of use were refused: one forgotten check is a path traversal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest accepted name, in bytes: Ceph and file systems take at least this much with any prefix of ours.
pub const NAME_MAX: usize = 128;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a {kind} must not be empty")]
    Empty { kind: &'static str },
    #[error("a {kind} has at most {NAME_MAX} characters, this one has {length}")]
    TooLong { kind: &'static str, length: usize },
    #[error("a {kind} starts with a letter or a digit, not with {found:?}")]
    Start { kind: &'static str, found: char },
    #[error("a {kind} is made of letters, digits, '-', '_' and '.', not {found:?}")]
    Character { kind: &'static str, found: char },
}

fn check(kind: &'static str, text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty { kind })?;
    if text.len() > NAME_MAX {
        return Err(NameError::TooLong { kind, length: text.len() });
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Start { kind, found: first });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.chars().find(|c| !allowed(*c)) {
        Some(found) => Err(NameError::Character { kind, found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text: 1 to [`NAME_MAX`] characters of `[A-Za-z0-9._-]`, the first a letter or digit.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check($kind, text)?;
                Ok(Self(text.to_owned()))
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check($kind, &text)?;
                Ok(Self(text))
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name!(/// A Cinder volume, by its id at the site that holds it.
    VolumeId, "volume id");
name!(/// A Cinder snapshot, by its id at the site that holds it.
    SnapshotId, "snapshot id");
name!(/// A volume as a storage backend names it (in Ceph: an image).
    ImageName, "image name");
name!(/// A snapshot as a storage backend names it.
    SnapshotName, "snapshot name");
name!(/// A site, as the configuration names it (`dc2`).
    SiteName, "site name");
name!(/// An OpenStack project, the owner of a volume.
    ProjectId, "project id");
name!(/// One snapshot on its way; made by the gateway that accepts it.
    TransferId, "transfer id");
name!(/// A configured storage backend (a `[stores.<name>]` table).
    StoreName, "store name");

/// Longest accepted mark, in bytes.
pub const MARK_MAX: usize = 512;

/// Why a text is not a mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a source mark is 1 to {MARK_MAX} printable ASCII characters without spaces")]
pub struct MarkError;

/// A content at its source, by a mark that the source never gives to another content, such as a cluster's, pool's,
/// image's and snapshot's numbers: equal marks are equal contents. Different ones say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceMark(String);

impl SourceMark {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceMark {
    type Err = MarkError;
    fn from_str(text: &str) -> Result<Self, MarkError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for SourceMark {
    type Error = MarkError;
    fn try_from(text: String) -> Result<Self, MarkError> {
        let fits = (1..=MARK_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text)) } else { Err(MarkError) }
    }
}

impl From<SourceMark> for String {
    fn from(mark: SourceMark) -> Self {
        mark.0
    }
}

impl fmt::Display for SourceMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl SiteName {
    /// The site of a gateway that was not told its site.
    #[must_use]
    pub fn local() -> Self {
        Self("local".to_owned())
    }
}

impl StoreName {
    /// The store of a gateway that was not told its stores.
    #[must_use]
    pub fn main() -> Self {
        Self("main".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for text in ["a", "volume-6f0e7c1c-7d8a-4c52-8a53-4f2f7b6f2a10", "snap.1_x", "0"] {
            assert_eq!(text.parse::<VolumeId>().map(String::from), Ok(text.to_owned()));
        }
    }

    #[test]
    fn tricks_are_refused() {
        for text in ["", ".", "..", "../x", "a/b", "a\\b", "a\0b", "-x", "ä", "a b", "a@b", "a%2fb", "a\n"] {
            assert!(text.parse::<SnapshotId>().is_err(), "{text:?} was accepted");
        }
        assert!("x".repeat(NAME_MAX).parse::<SnapshotId>().is_ok());
        assert!("x".repeat(NAME_MAX + 1).parse::<SnapshotId>().is_err());
    }

    #[test]
    fn the_names_that_we_choose_are_names() {
        assert_eq!(SiteName::local().as_str().parse(), Ok(SiteName::local()));
        assert_eq!(StoreName::main().as_str().parse(), Ok(StoreName::main()));
    }

    #[test]
    fn marks_are_bounded_and_printable() {
        assert!(
            "rbd:5b1c/3/10ab@7".parse::<SourceMark>().is_ok() && "x".repeat(MARK_MAX).parse::<SourceMark>().is_ok()
        );
        for text in ["", "a b", "a\n", "ä", "\u{7f}", &"x".repeat(MARK_MAX + 1)] {
            assert_eq!(text.parse::<SourceMark>(), Err(MarkError), "{text:?}");
        }
    }

    #[test]
    fn deserialising_checks_too() {
        assert!(serde_json::from_str::<VolumeId>("\"../etc\"").is_err());
    }
}
