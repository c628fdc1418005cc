//! The contract does not change by accident.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    package: String,
    version: String,
    /// Once true, the files of this version do not change any more.
    frozen: bool,
    blake3: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wit")
}

/// All files in the order of their names, without what changes nothing: blank lines and space at the ends of lines.
/// Comments count: they are the contract.
fn normalised(folder: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let content = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = content.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        format!("{name}\n{}\n", lines.join("\n"))
    };
    files.iter().map(text).collect()
}

#[test]
fn the_contract_is_the_one_that_was_decided_on() {
    let lock: Lock = toml::from_str(&fs::read_to_string(folder().join("rsnap-plugin.lock")).unwrap()).unwrap();
    let text = normalised(&folder().join("rsnap-plugin"));
    let package = format!("package {}@{};", lock.package, lock.version);
    assert!(text.contains(&package), "wit/rsnap-plugin.lock is for {package} and the files are not");
    let actual = blake3::hash(text.as_bytes()).to_hex();
    let decision = if lock.frozen {
        "This version is frozen: give the package a new version, keep the old one's host modules, and lock the new one."
    } else {
        "This version is not frozen yet: if the change is meant, and the shipped plugins and the SDK follow it, write \
         the new hash into the lock. If plugins built before must be refused, raise the version as well."
    };
    assert_eq!(
        actual.as_str(),
        lock.blake3,
        "\nThe files in wit/rsnap-plugin are not those of wit/rsnap-plugin.lock (left: the files' hash).\n{decision}\n"
    );
}
