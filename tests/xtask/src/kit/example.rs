//! The examples in `plugins/examples`, and what each must answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::job::Job;

/// What says what an example is; not part of the plugin.
const DESCRIPTION: &str = "example.toml";

/// An example and its questions.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) name: String,
    folder: PathBuf,
    /// A site that a resolver must know.
    pub(super) site: Option<String>,
    /// The stores that a writer is granted.
    pub(super) stores: Vec<String>,
    /// The program of a server that the plugin asks.
    pub(super) server: Option<String>,
    pub(super) runs: Vec<Run>,
    /// What the server must have in the end: names, and files with the same bytes.
    pub(super) stored: BTreeMap<String, String>,
}

/// `example.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    kind: String,
    #[serde(default)]
    site: Option<String>,
    #[serde(default)]
    stores: Vec<String>,
    #[serde(default)]
    server: Option<String>,
    runs: Vec<Run>,
    #[serde(default)]
    stored: BTreeMap<String, String>,
}

/// A call of `rsnap plugin run`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    pub(super) arguments: Vec<String>,
    /// The exit code.
    #[serde(default)]
    pub(super) code: i32,
    /// What must be in the answer.
    #[serde(default)]
    pub(super) expect: Option<Value>,
}

/// The examples in a language: the folders whose names begin with it.
pub(super) fn all(root: &Path, language: &str) -> Result<Vec<Job>> {
    let examples = root.join("plugins/examples");
    let mut jobs = Vec::new();
    for entry in std::fs::read_dir(&examples).context("cannot read plugins/examples")? {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(name) = name.strip_prefix(language).and_then(|rest| rest.strip_prefix('-')) {
            jobs.push(read(&folder, name, language)?);
        }
    }
    Ok(jobs)
}

fn read(folder: &Path, name: &str, language: &str) -> Result<Job> {
    let file = folder.join(DESCRIPTION);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let Description { kind, site, stores, server, runs, stored } =
        toml::from_str(&text).with_context(|| format!("{} is not as it should be", file.display()))?;
    let example = Example { name: name.to_owned(), folder: folder.to_owned(), site, stores, server, runs, stored };
    Ok(Job { language: language.to_owned(), kind, example: Some(example) })
}

impl Example {
    /// Puts the files of the example over those of a new plugin.
    pub(super) fn copy_over(&self, plugin: &Path) -> Result<()> {
        copy(&self.folder, plugin)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_name() != DESCRIPTION {
            std::fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
