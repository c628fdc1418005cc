//! Words that must not be in the files: paths of one person's machine, and hosts of one company's mirrors.
//!
//! They leak into lock files, scripts and documentation unnoticed, and break for everybody else.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// The only source that a lock file may name.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Beginnings of paths that exist on one machine only. In pieces, so that this file does not find itself.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

/// Faults in all text files, each with file and line.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in files {
        // What is not UTF-8 is not text, and no place where words are looked for.
        if let Ok(text) = std::fs::read_to_string(root.join(file)) {
            faults.extend(faults_in(file, &text));
        }
    }
    Ok(faults)
}

fn faults_in(file: &Path, text: &str) -> Vec<String> {
    let place = |number: usize| format!("{}:{}", file.display(), number + 1);
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| starts_path(line, path)) {
            faults.push(format!("{}: names a path of one machine ({path}…)", place(number)));
        }
        if is_foreign_source(file, line) {
            faults.push(format!("{}: the lock file names another registry", place(number)));
        }
    }
    faults
}

/// Whether `path` begins a path in `line`: the same word in the middle of a longer path is somebody else's.
fn starts_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|character| character.is_alphanumeric() || "-_.}/".contains(character))
    })
}

fn is_foreign_source(file: &Path, line: &str) -> bool {
    let lock = file.file_name().is_some_and(|name| name == "Cargo.lock");
    lock && line.strip_prefix("source = \"").is_some_and(|source| !source.starts_with(REGISTRY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths_are_found_with_their_line() {
        let text = format!("fine\nlet path = \"{}me/secret\";\n", MACHINE_PATHS[0]);
        let faults = faults_in(Path::new("a.rs"), &text);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("a.rs:2:"), "{faults:?}");
    }

    #[test]
    fn the_middle_of_another_path_is_not_one() {
        let inner = format!("path = \"/srv{}x\"", MACHINE_PATHS[1]);
        assert!(faults_in(Path::new("a.md"), &inner).is_empty());
    }

    #[test]
    fn another_registry_in_a_lock_file_is_found() {
        let line = "source = \"registry+https://mirror.example/index\"";
        assert_eq!(faults_in(Path::new("plugins/Cargo.lock"), line).len(), 1);
        assert!(faults_in(Path::new("README.md"), line).is_empty());
        assert!(faults_in(Path::new("Cargo.lock"), &format!("source = \"{REGISTRY}\"")).is_empty());
    }
}
