//! What a component shows before it is compiled: the names of its imports and exports.
//!
//! Compared here first, because the runtime's own message for another version or world speaks of types and does not
//! say what to do. The runtime checks the types afterwards and has the last word.

use std::fmt;

use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};

use super::Kind;
use super::fault::Fault;

/// The package of `wit/rsnap-plugin`, and its version.
pub(super) const PACKAGE: &str = "rsnap:plugin";
pub(super) const VERSION: Version = Version { major: 0, minor: 1, patch: 2 };

/// A released version of the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let version = Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? };
        numbers.next().is_none().then_some(version)
    }

    /// Whether a component for `self` can be tried: the same interfaces by the rules of semantic versioning.
    fn fits(self) -> bool {
        self.major == VERSION.major && (self.minor == VERSION.minor || self.major > 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A name such as `rsnap:plugin/settings@0.1.0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Interface {
    package: String,
    name: String,
    version: String,
}

impl Interface {
    fn parse(text: &str) -> Self {
        let (rest, version) = text.split_once('@').unwrap_or((text, ""));
        let (package, name) = rest.split_once('/').unwrap_or(("", rest));
        Self { package: package.to_owned(), name: name.to_owned(), version: version.to_owned() }
    }

    fn is_ours(&self) -> bool {
        self.package == PACKAGE
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.package.as_str(), self.version.as_str()) {
            ("", _) => formatter.write_str(&self.name),
            (package, "") => write!(formatter, "{package}/{}", self.name),
            (package, version) => write!(formatter, "{package}/{}@{version}", self.name),
        }
    }
}

/// The imports and exports of a component.
#[derive(Debug)]
pub(super) struct Surface {
    pub(super) imports: Vec<Interface>,
    exports: Vec<Interface>,
}

impl Surface {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        if !bytes.starts_with(b"\0asm") {
            return Err(Fault::new("the file is not WebAssembly", "give the path of a component (.wasm)"));
        }
        if Parser::is_core_wasm(bytes) {
            return Err(Fault::new(
                "the file is a core module, not a component",
                "make a component of it with `rsnap plugin pack`",
            ));
        }
        let broken = |error| Fault::new(format!("the file is damaged: {error}"), "build or fetch it again");
        Self::parse(bytes).map_err(broken)
    }

    /// The names at the outermost level; what lies inside is passed over.
    fn parse(bytes: &[u8]) -> wasmparser::Result<Self> {
        let mut surface = Self { imports: Vec::new(), exports: Vec::new() };
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        surface.imports.push(Interface::parse(import?.name.name));
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        surface.exports.push(Interface::parse(export?.name.name));
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }

    /// The kind that the component was built for, and the version of the package.
    pub(super) fn kind(&self) -> Result<(Kind, Version), Fault> {
        self.check_versions()?;
        let known =
            |export: &Interface| Kind::ALL.into_iter().find(|kind| export.is_ours() && kind.table() == export.name);
        let exported = self.exports.iter().find_map(|export| Some((known(export)?, Version::parse(&export.version)?)));
        exported.ok_or_else(|| {
            let exports: Vec<_> = self.exports.iter().map(ToString::to_string).collect();
            let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
            Fault::new(
                format!("it exports {found}, which is no plugin of this gateway"),
                format!("build it for one of the worlds of {PACKAGE}@{VERSION}"),
            )
        })
    }

    fn check_versions(&self) -> Result<(), Fault> {
        let ours = self.exports.iter().chain(&self.imports).filter(|interface| interface.is_ours());
        for interface in ours {
            if !Version::parse(&interface.version).is_some_and(Version::fits) {
                return Err(Fault::new(
                    format!("it was built for {PACKAGE}@{}, this gateway speaks {VERSION}", interface.version),
                    format!("use a build of the plugin for {PACKAGE}@{VERSION}, or a gateway for that version"),
                ));
            }
        }
        Ok(())
    }

    /// Checks that the component is of `kind` and imports nothing that the kind does not have.
    pub(super) fn fits(&self, kind: Kind) -> Result<Version, Fault> {
        let (actual, version) = self.kind()?;
        if actual != kind {
            return Err(Fault::new(
                format!("it is a {actual} (world {}), not a {kind} (world {})", actual.world(), kind.world()),
                format!("name it under [plugins.{}], or another component here", actual.table()),
            ));
        }
        match self.imports.iter().find(|import| !import.is_ours() || !kind.imports().contains(&import.name.as_str())) {
            None => Ok(version),
            Some(import) => Err(Fault::new(
                format!("it imports {import}, which the world {} does not give", kind.world()),
                if import.package.starts_with("wasi:") {
                    "build it without WASI (for Rust: for wasm32-unknown-unknown)".to_owned()
                } else {
                    format!("build it for the world {} of {PACKAGE}@{VERSION}", kind.world())
                },
            )),
        }
    }

    /// Whether the component can open images.
    pub(super) fn wants_stores(&self) -> bool {
        self.imports.iter().any(|import| import.is_ours() && import.name == "image-store")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(wat: &str, kind: Kind) -> String {
        let surface = Surface::read(&wat::parse_str(wat).unwrap());
        surface.and_then(|surface| surface.fits(kind)).map_or_else(|fault| fault.text, |version| version.to_string())
    }

    fn exporting(name: &str) -> String {
        format!("(component (instance $i) (export \"{name}\" (instance $i)))")
    }

    #[test]
    fn the_version_is_that_of_the_package() {
        let wit = include_str!("../../wit/rsnap-plugin/types.wit");
        assert!(wit.contains(&format!("package {PACKAGE}@{VERSION};")));
    }

    #[test]
    fn a_compatible_component_passes() {
        assert_eq!(fault(&exporting("rsnap:plugin/policy@0.1.0"), Kind::Policy), "0.1.0");
        assert_eq!(fault(&exporting("rsnap:plugin/policy@0.1.7"), Kind::Policy), "0.1.7");
    }

    #[test]
    fn others_are_refused_in_words() {
        let version = "it was built for rsnap:plugin@0.2.0, this gateway speaks 0.1.2";
        assert_eq!(fault(&exporting("rsnap:plugin/policy@0.2.0"), Kind::Policy), version);
        let candidate = "it was built for rsnap:plugin@0.1.3-rc.1, this gateway speaks 0.1.2";
        assert_eq!(fault(&exporting("rsnap:plugin/policy@0.1.3-rc.1"), Kind::Policy), candidate);
        let world = "it is a policy (world chain-policy), not a writer (world backend-writer)";
        assert_eq!(fault(&exporting("rsnap:plugin/policy@0.1.0"), Kind::Writer), world);
        let other = "it exports wasi:cli/run@0.2.0, which is no plugin of this gateway";
        assert_eq!(fault(&exporting("wasi:cli/run@0.2.0"), Kind::Writer), other);
        assert_eq!(fault("(component)", Kind::Writer), "it exports nothing, which is no plugin of this gateway");
        assert_eq!(fault("(module)", Kind::Writer), "the file is a core module, not a component");
    }

    #[test]
    fn imports_outside_of_the_world_are_refused() {
        for (import, kind) in
            [("wasi:filesystem/types@0.2.0", Kind::Writer), ("rsnap:plugin/image-store@0.1.0", Kind::Policy)]
        {
            let wat = format!(
                "(component (import \"{import}\" (instance)) (instance $i) (export \"rsnap:plugin/{}@0.1.0\" (instance $i)))",
                kind.table()
            );
            let expected = format!("it imports {import}, which the world {} does not give", kind.world());
            assert_eq!(fault(&wat, kind), expected);
        }
    }

    #[test]
    fn what_is_inside_does_not_count() {
        let wat = "(component (component (import \"wasi:cli/run@0.2.0\" (instance)))
            (instance $i) (export \"rsnap:plugin/policy@0.1.0\" (instance $i)))";
        assert_eq!(fault(wat, Kind::Policy), "0.1.0");
    }

    #[test]
    fn noise_is_refused() {
        for bytes in [&b""[..], b"\0as", b"hello", b"\0asm\x0d\0\x01\0\xff\xff\xff"] {
            assert!(Surface::read(bytes).is_err(), "{bytes:?} was accepted");
        }
    }
}
