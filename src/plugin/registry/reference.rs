//! Names of components in registries: `oci://registry/repository:tag` and `oci://registry/repository@sha256:…`.
//!
//! They become parts of requests and of file names, so they are parsed by the grammar of the OCI distribution
//! specification and by nothing more lenient.

use std::fmt;
use std::str::FromStr;

use crate::plugin::source::hex;

const SCHEME: &str = "oci://";
const REPOSITORY_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// SHA-256 of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugin) struct Digest(String);

impl Digest {
    pub(in crate::plugin) fn of(bytes: &[u8]) -> Self {
        Self(hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref()))
    }

    /// In hexadecimal, without its `sha256:`.
    pub(in crate::plugin) fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.0)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64);
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match digits.filter(|digits| digits.bytes().all(lower)) {
            Some(digits) => Ok(Self(digits.to_owned())),
            None => Err("a digest is sha256: and 64 lower-case hexadecimal digits".to_owned()),
        }
    }
}

/// A component in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugin) struct Reference {
    /// Host and perhaps port.
    pub(in crate::plugin) registry: String,
    pub(in crate::plugin) repository: String,
    tag: Option<String>,
    pub(in crate::plugin) digest: Option<Digest>,
}

impl Reference {
    /// Whether `component` is meant to be one.
    pub(in crate::plugin) fn is_meant(component: &str) -> bool {
        component.starts_with(SCHEME)
    }

    /// What it is called in a request: the digest, or else the tag.
    pub(super) fn name(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same with a digest, and without the tag, which may come to mean another one.
    pub(in crate::plugin) fn pinned(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The last part of the repository.
    pub(in crate::plugin) fn stem(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, repository, tag, digest } = self;
        write!(formatter, "{SCHEME}{registry}/{repository}")?;
        tag.iter().try_for_each(|tag| write!(formatter, ":{tag}"))?;
        digest.iter().try_for_each(|digest| write!(formatter, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| format!("it does not begin with {SCHEME}"))?;
        let (registry, rest) = rest.split_once('/').ok_or("there is no repository in it")?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_registry(registry) {
            return Err(format!("{registry:?} is no host, nor host:port"));
        }
        if repository.len() > REPOSITORY_MAX || !repository.split('/').all(is_part) {
            return Err(format!("{repository:?} is no repository"));
        }
        if !tag.is_none_or(is_tag) {
            return Err("a tag is 1 to 128 characters of [A-Za-z0-9._-]".to_owned());
        }
        let (registry, repository) = (registry.to_owned(), repository.to_owned());
        Ok(Self { registry, repository, tag: tag.map(ToOwned::to_owned), digest })
    }
}

fn is_registry(text: &str) -> bool {
    text.parse::<http::uri::Authority>().is_ok_and(|authority| !text.contains('@') && !authority.host().is_empty())
}

/// Lower-case letters and digits, in groups that are parted by a dot, one or two underscores, or hyphens.
fn is_part(part: &str) -> bool {
    let is_letter = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let parted = |parting: &str| matches!(parting, "" | "." | "_" | "__") || parting.bytes().all(|byte| byte == b'-');
    part.starts_with(is_letter) && part.ends_with(is_letter) && part.split(is_letter).all(parted)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, String> {
        text.parse()
    }

    #[test]
    fn references_are_told_as_they_were_written() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let pinned = format!("oci://registry.example:5000/site/house-rule@{digest}");
        let both = format!("oci://registry.example/house_rule:1.0@{digest}");
        for text in ["oci://[::1]:5000/a", "oci://r.example/a/b__c/d--e:v1_0", &pinned, &both] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let reference = parse(&both).unwrap();
        assert_eq!((reference.name(), reference.stem()), (digest.clone(), "house_rule"));
        assert_eq!(parse("oci://r/a").unwrap().name(), "latest");
        let named = parse("oci://r/a:v1").unwrap();
        assert_eq!(named.pinned(digest.parse().unwrap()).to_string(), format!("oci://r/a@{digest}"));
    }

    #[test]
    fn what_is_none_is_refused() {
        let long = format!("oci://r/{}", "a".repeat(256));
        let digest = format!("oci://r/a@sha256:{}", "0A".repeat(32));
        let bad = ["https://r/a", "oci://r", "oci:///a", "oci://r/", "oci://r/A", "oci://r/a//b", "oci://r/../b"];
        let more =
            ["oci://u:p@r/a", "oci://r/a:", "oci://r/a:-v", "oci://r/a@sha256:12", "oci://r/a b", "oci://r/a___b"];
        for text in bad.into_iter().chain(more).chain([long.as_str(), digest.as_str()]) {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
