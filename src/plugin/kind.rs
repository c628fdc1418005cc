//! The three kinds of plugins and what the contract calls them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a plugin decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Writer,
    Policy,
    Resolver,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Writer, Self::Policy, Self::Resolver];

    /// Its table under `[plugins]`, which is also its interface in `wit/`.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Policy => "policy",
            Self::Resolver => "resolver",
        }
    }

    /// Its world in `wit/`.
    #[must_use]
    pub const fn world(self) -> &'static str {
        match self {
            Self::Writer => "backend-writer",
            Self::Policy => "chain-policy",
            Self::Resolver => "site-resolver",
        }
    }

    /// The interfaces that the world imports. A policy exports types of its own only.
    pub(super) const fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Writer => &["settings", "log", "clock", "chunks", "image-store", "http", "http-chunks", "types"],
            Self::Policy => &["settings", "log", "clock", "chains"],
            Self::Resolver => &["settings", "log", "clock", "http", "key-value", "types"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.table())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text:?} is not a kind of plugin: write writer, policy or resolver");
        Self::ALL.into_iter().find(|kind| kind.table() == text).ok_or_else(unknown)
    }
}
