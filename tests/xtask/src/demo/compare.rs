//! Whether two directories, and two images, hold the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;

/// What was found equal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Same {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// Compares the files of two directories, by name and content; fails with the first difference.
pub(super) fn directories(wanted: &Path, found: &Path) -> Result<Same> {
    let (wanted, found) = (files(wanted)?, files(found)?);
    let missing = wanted.keys().find(|name| !found.contains_key(*name));
    ensure!(missing.is_none(), "{} is missing", missing.map(|name| name.display().to_string()).unwrap_or_default());
    let extra = found.keys().find(|name| !wanted.contains_key(*name));
    ensure!(
        extra.is_none(),
        "{} should not be there",
        extra.map(|name| name.display().to_string()).unwrap_or_default()
    );
    let mut same = Same::default();
    for (name, file) in &wanted {
        let bytes = read(file)?;
        let other = found.get(name).context("a file vanished while it was compared")?;
        ensure!(bytes == read(other)?, "{} has other content", name.display());
        same.files += 1;
        same.bytes += u64::try_from(bytes.len())?;
    }
    Ok(same)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// All files below a directory: their path relative to it, and their place.
fn files(directory: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(current) = open.pop() {
        for entry in current.read_dir().with_context(|| format!("cannot read {}", current.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(directory)?.to_owned(), path);
            }
        }
    }
    Ok(found)
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(file: &Path) -> Result<String> {
    let output = process::capture(Command::new("sha256sum").arg(file))?;
    Ok(output.split_whitespace().next().context("sha256sum printed nothing")?.to_owned())
}
