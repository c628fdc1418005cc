//! The files of the repository, as they lie there; no git needed, so that an unpacked archive can be checked too.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders that hold nothing that somebody wrote.
const SKIPPED: [&str; 4] = [".git", "target", "corpus", "artifacts"];

/// All files below `root`, relative to it, in order.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(current) = open.pop() {
        for path in entries(&current)? {
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = directory.read_dir().with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// The manifests of all cargo workspaces: the gateway's, and those that need another target or tool chain.
pub(crate) fn workspaces(root: &Path) -> Vec<PathBuf> {
    let manifests = [
        "Cargo.toml",
        "plugins/Cargo.toml",
        "tests/bindings/Cargo.toml",
        "tests/fixtures/Cargo.toml",
        "tests/fuzz/Cargo.toml",
    ];
    manifests.map(|manifest| root.join(manifest)).into_iter().filter(|manifest| manifest.exists()).collect()
}
