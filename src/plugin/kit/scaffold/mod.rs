//! A new plugin that builds at once.
//!
//! The templates are real code with a real name, `my-plugin`, which is replaced; so each can be built and read as it
//! lies in `plugins/templates`. What a scaffold needs of this project goes with it: the contract, and for Rust the SDK
//! as sources. A dependency on a published SDK was refused while the contract may still change: a scaffold must fit the
//! gateway whose command made it.

mod bindings;
mod files;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Problem;
use crate::plugin::Kind;
use crate::plugin::fault::Fault;

/// The languages that there are templates for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    C,
    Python,
    JavaScript,
}

impl Language {
    pub const ALL: [Self; 4] = [Self::Rust, Self::C, Self::Python, Self::JavaScript];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }
}

impl std::str::FromStr for Language {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|language| language.name() == text);
        found.ok_or_else(|| format!("there is no template for {text:?}: write one of {known}"))
    }
}

/// Longest name of a plugin.
const NAME_MAX: usize = 64;

/// What a new plugin is to be.
#[derive(Debug, Clone, Copy)]
pub struct Scaffold<'a> {
    pub kind: Kind,
    pub language: Language,
    /// Lower-case letters, digits and hyphens, the first a letter: it becomes the name of a package in each language.
    pub name: &'a str,
}

impl Scaffold<'_> {
    /// Writes the plugin's folder `folder/<name>`, which must not exist, and gives its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Problem> {
        self.check_name()?;
        let root = folder.join(self.name);
        if root.exists() {
            let text = format!("{} exists already", root.display());
            return Err(Fault::new(text, "give another name, or another folder with --into").into());
        }
        for file in self.files()? {
            write(&root.join(&file.path), &file).map_err(|error| unwritable(&root.join(&file.path), &error))?;
        }
        Ok(root)
    }

    fn check_name(&self) -> Result<(), Fault> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let first = self.name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if first && self.name.bytes().all(letter) && self.name.len() <= NAME_MAX && !self.name.ends_with('-') {
            return Ok(());
        }
        Err(Fault::new(
            format!("{:?} is no name for a plugin", self.name),
            format!("write up to {NAME_MAX} lower-case letters, digits and hyphens, the first a letter"),
        ))
    }
}

/// A file of a scaffold.
struct File {
    path: PathBuf,
    text: String,
    executable: bool,
}

fn write(path: &Path, file: &File) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, &file.text)?;
    if file.executable {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(format!("could not write {}: {error}", path.display()), "check the folder and its permissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaffold(kind: Kind, language: Language, name: &str) -> Scaffold<'_> {
        Scaffold { kind, language, name }
    }

    fn all_files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn each_language_and_kind_has_a_scaffold_that_bears_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            for kind in Kind::ALL {
                let name = format!("{}-{kind}", language.name());
                let root = scaffold(kind, language, &name).write(folder.path()).unwrap();
                let files = all_files(&root);
                assert!(files.len() >= 9, "{name} has {files:?}");
                for file in files {
                    let text = fs::read_to_string(&file).unwrap();
                    for left in ["my-plugin", "my_plugin", "MyPlugin", "KIND", "WORLD"] {
                        assert!(!text.contains(left), "{left} is in {}", file.display());
                    }
                }
                let build = fs::metadata(root.join("build.sh")).unwrap();
                assert_eq!(build.permissions().mode() & 0o111, 0o111, "{name}");
                assert!(root.join("wit/rsnap-plugin/worlds.wit").is_file() && root.join(".gitignore").is_file());
            }
        }
    }

    #[test]
    fn the_sdk_of_a_scaffold_needs_what_the_sdk_needs() {
        let dependencies = |text: &str| toml::from_str::<toml::Table>(text).unwrap()["dependencies"].clone();
        let (own, copied) = (
            include_str!("../../../../plugins/sdk/Cargo.toml"),
            include_str!("../../../../plugins/templates/rust/sdk.toml.template"),
        );
        assert_eq!(dependencies(own), dependencies(copied));
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let new = scaffold(Kind::Policy, Language::Rust, "mine");
        new.write(folder.path()).unwrap();
        assert!(new.write(folder.path()).unwrap_err().fault.ends_with("mine exists already"));
    }

    #[test]
    fn names_are_names_in_every_language() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "a/b", "../a", "My", "1a", "-a", "a-", "a_b", "ä", &"x".repeat(65)] {
            let fault = scaffold(Kind::Policy, Language::C, name).write(folder.path()).unwrap_err();
            assert!(fault.remedy.contains("lower-case"), "{name}: {fault}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
