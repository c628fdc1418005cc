//! The shape of the tree: what may lie at the top, and how long a file may be.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What may lie at the top level, besides files and folders that start with a dot.
const TOP_LEVEL: [&str; 10] =
    ["CHANGELOG.md", "Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "deploy", "plugins", "src", "target", "tests"];
const CONTRACT: &str = "wit";

/// Longest file outside the tests, in lines. A longer one has two subjects.
const LINES_MAX: usize = 500;

/// Files that no person writes.
const GENERATED: [&str; 1] = ["src/rbd/src/bindings.rs"];

/// Names at the top level that do not belong there.
pub(super) fn top_level(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for entry in root.read_dir().context("cannot read the repository")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !is_allowed(&name) {
            faults.push(format!("{name}: does not belong at the top level; find it a folder"));
        }
    }
    Ok(faults)
}

fn is_allowed(name: &str) -> bool {
    name.starts_with('.') || name == CONTRACT || TOP_LEVEL.contains(&name)
}

/// Source files of product and plugins that are too long.
pub(super) fn long_files(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| is_product(file)) {
        let text =
            std::fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} lines, at most {LINES_MAX}; split it into a folder", file.display()));
        }
    }
    Ok(faults)
}

fn is_product(file: &Path) -> bool {
    let source =
        file.extension().is_some_and(|end| end == "rs") && !GENERATED.iter().any(|path| file == Path::new(path));
    source
        && (file.starts_with("src") || file.starts_with("plugins"))
        && !file.components().any(|part| part.as_os_str() == "tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_top_level_file_is_noticed() {
        assert!(is_allowed(".ci") && is_allowed("wit") && is_allowed("src"));
        assert!(!is_allowed("deny.toml") && !is_allowed("scripts"));
    }

    #[test]
    fn length_counts_for_the_product_only() {
        assert!(is_product(Path::new("src/image/mod.rs")) && is_product(Path::new("plugins/image/src/lib.rs")));
        assert!(!is_product(Path::new("tests/it/main.rs")) && !is_product(Path::new("src/README.md")));
        assert!(!is_product(Path::new("src/wire/tests/split.rs")));
        assert!(!is_product(Path::new("src/rbd/src/bindings.rs")));
    }
}
