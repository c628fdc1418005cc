//! One plugin: made, built, held against the contract, asked.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::example::Example;
use super::tools::Tools;
use super::vendor;
use crate::build::{self, Profile};
use crate::process;

/// Where cargo builds all scaffolds, so that what they share is compiled once.
pub(super) const RUST_TARGET: &str = "rust-target";
/// Bytes of the image that is sent through writers.
const STREAM: usize = 3_000_001;

/// A plugin to make.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) language: String,
    pub(super) kind: String,
    pub(super) example: Option<Example>,
}

/// How a component came about.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Built,
    /// Taken from the cache: nothing that it is built from has changed.
    Kept,
}

impl fmt::Display for How {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Built => "built",
            Self::Kept => "kept",
        })
    }
}

impl Job {
    pub(super) fn scaffold(language: &str, kind: &str) -> Self {
        Self { language: language.to_owned(), kind: kind.to_owned(), example: None }
    }

    pub(super) fn name(&self) -> String {
        match &self.example {
            Some(example) => format!("{}, an example in {}", example.name, self.language),
            None => format!("a new {} in {}", self.kind, self.language),
        }
    }

    /// The plugin's own name.
    fn plugin(&self) -> String {
        match &self.example {
            Some(example) => example.name.clone(),
            None => format!("new-{}-{}", self.language, self.kind),
        }
    }

    /// Does all that a newcomer would do.
    pub(super) fn run(&self, root: &Path, folder: &Path, tools: &Tools) -> Result<How> {
        let plugin = self.plugin();
        super::anew(&folder.join(&plugin))?;
        let mut new = rsnap(root, folder);
        process::quiet(new.args(["new", &self.kind, &plugin, "--lang", &self.language]))?;
        let own = folder.join(&plugin);
        if let Some(example) = &self.example {
            example.copy_over(&own)?;
        }
        let component = own.join(format!("{plugin}.wasm"));
        let how = self.build(root, &own, &component, tools)?;
        let server = self.example.as_ref().and_then(|example| example.server.as_deref());
        let _server = server.map(|program| vendor::start(program, &own)).transpose()?;
        self.test(root, &own, &component)?;
        if let Some(example) = &self.example {
            std::fs::write(own.join("stream.raw"), stream())?;
            self.ask(root, &own, &component, example)?;
            example.stored.iter().try_for_each(|(name, expected)| vendor::has_stored(&own, name, expected))?;
        }
        Ok(how)
    }

    fn build(&self, root: &Path, own: &Path, component: &Path, tools: &Tools) -> Result<How> {
        let kept = match tools.keeps() {
            Some(cache) => Some(cache.join(format!("{:016x}.wasm", fingerprint(own)?))),
            None => None,
        };
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_file()) {
            std::fs::copy(kept, component)?;
            return Ok(How::Kept);
        }
        let mut script = Command::new(own.join("build.sh"));
        script.current_dir(own).env("RSNAP", build::binary(root, Profile::Dev, "rsnap"));
        tools.apply(&mut script, own)?;
        process::quiet(&mut script)?;
        if let Some(kept) = kept {
            let fresh = kept.with_extension("new");
            std::fs::copy(component, &fresh)
                .and_then(|_| std::fs::rename(&fresh, &kept))
                .context("keep a component")?;
        }
        Ok(How::Built)
    }

    fn test(&self, root: &Path, own: &Path, component: &Path) -> Result<()> {
        let mut test = rsnap(root, own);
        test.arg("test").arg(component).args(["--settings", "settings.toml"]);
        if self.example.as_ref().is_some_and(|example| example.server.is_some()) {
            test.args(["--grants", "grants.toml"]);
        }
        if self.kind == "resolver" {
            test.args(["--site", self.example.as_ref().and_then(|example| example.site.as_deref()).unwrap_or("dc1")]);
        }
        self.limits(&mut test);
        process::quiet(&mut test)
    }

    /// Memory and stores as an operator would grant them, and time for a busy machine and an unoptimised host.
    fn limits(&self, command: &mut Command) {
        command.args(["--call-timeout", "60s"]);
        if matches!(self.language.as_str(), "python" | "javascript") {
            command.args(["--memory", "256MiB"]);
        }
        for store in self.example.iter().flat_map(|example| &example.stores) {
            command.args(["--store", store]);
        }
    }

    fn ask(&self, root: &Path, own: &Path, component: &Path, example: &Example) -> Result<()> {
        for run in &example.runs {
            let mut command = rsnap(root, own);
            command.arg("run").arg(component).args(&run.arguments).arg("--json");
            self.limits(&mut command);
            let output = command.output().with_context(|| process::words(&command))?;
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            let words = run.arguments.join(" ");
            ensure!(output.status.code() == Some(run.code), "{words}: ended with {}: {complaint}", output.status);
            if let Some(expected) = &run.expect {
                let found: Value = serde_json::from_slice(&output.stdout).with_context(|| words.clone())?;
                ensure!(contains(&found, expected), "{words}: answers {found}, and {expected} is expected");
            }
        }
        Ok(())
    }
}

/// `rsnap plugin`, run in `folder`.
fn rsnap(root: &Path, folder: &Path) -> Command {
    let mut command = Command::new(build::binary(root, Profile::Dev, "rsnap"));
    command.arg("plugin").current_dir(folder);
    command
}

/// Whether all that is expected is in what was found.
fn contains(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| contains(found, value)))
        }
        _ => found == expected,
    }
}

/// Made of all files of a folder and their paths.
fn fingerprint(folder: &Path) -> Result<u64> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(folder)?.hash(&mut hasher);
        std::fs::read(&file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// Bytes that do not compress, the same each time.
fn stream() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..STREAM).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_have_more_than_is_expected() {
        let found = serde_json::json!({ "answer": { "a": 1, "b": [1, 2] }, "cost": 3 });
        assert!(contains(&found, &serde_json::json!({ "answer": { "b": [1, 2] } })));
        assert!(!contains(&found, &serde_json::json!({ "answer": { "b": [1] } })));
        assert!(!contains(&found, &serde_json::json!({ "other": 1 })));
    }

    #[test]
    fn a_change_changes_the_fingerprint() {
        let folder = std::env::temp_dir().join(format!("xtask-kit-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::write(folder.join("inner/a"), "1").unwrap();
        let first = fingerprint(&folder).unwrap();
        assert_eq!(fingerprint(&folder).unwrap(), first);
        std::fs::write(folder.join("inner/a"), "2").unwrap();
        let changed = fingerprint(&folder).unwrap();
        std::fs::rename(folder.join("inner/a"), folder.join("inner/b")).unwrap();
        let renamed = fingerprint(&folder).unwrap();
        assert!(first != changed && changed != renamed);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
