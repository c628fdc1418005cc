//! What each language needs to make a component.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::job::RUST_TARGET;
use crate::build;
use crate::guests;
use crate::packages::{self, C_GUESTS, NODE, PYTHON_GUESTS};
use crate::process;
use crate::steps::Steps;

/// The tools of one language, installed.
#[derive(Debug)]
pub(super) enum Tools {
    Rust {
        root: PathBuf,
    },
    C,
    /// The program, and where components are kept.
    Python {
        program: PathBuf,
        kept: PathBuf,
    },
    /// The folder with the packages, and where components are kept.
    JavaScript {
        modules: PathBuf,
        kept: PathBuf,
    },
}

impl Tools {
    pub(super) fn of(root: &Path, language: &str, steps: &Steps) -> Result<Self> {
        let templates = root.join("plugins/templates");
        match language {
            "rust" => Ok(Self::Rust { root: root.to_owned() }),
            "c" => packages::ensure(steps, &C_GUESTS).map(|()| Self::C),
            "python" => python(root, &templates.join("python/requirements.txt"), steps),
            _ => javascript(root, &templates.join("javascript/package.json"), steps),
        }
    }

    /// Where components are kept whose making takes long.
    pub(super) fn keeps(&self) -> Option<&Path> {
        match self {
            Self::Rust { .. } | Self::C => None,
            Self::Python { kept, .. } | Self::JavaScript { kept, .. } => Some(kept),
        }
    }

    /// Makes a build script use them.
    pub(super) fn apply(&self, script: &mut Command, plugin: &Path) -> Result<()> {
        match self {
            Self::Rust { root } => {
                // The versions that the shipped plugins are built with.
                std::fs::copy(root.join("plugins/Cargo.lock"), plugin.join("Cargo.lock"))?;
                guests::use_toolchain(script)?;
                script.env("CARGO_TARGET_DIR", build::target(root).join("kit").join(RUST_TARGET));
            }
            Self::C => {}
            Self::Python { program, .. } => drop(script.env("COMPONENTIZE_PY", program)),
            Self::JavaScript { modules, .. } => {
                std::os::unix::fs::symlink(modules, plugin.join("node_modules")).context("cannot link node_modules")?;
            }
        }
        Ok(())
    }
}

/// A folder for the tools that a file of the templates asks for, named after its content.
fn cache(root: &Path, language: &str, wish: &Path) -> Result<PathBuf> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let text = std::fs::read_to_string(wish).with_context(|| format!("cannot read {}", wish.display()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let folder = build::target(root).join("kit-tools").join(format!("{language}-{:016x}", hasher.finish()));
    std::fs::create_dir_all(folder.join("kept")).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn python(root: &Path, requirements: &Path, steps: &Steps) -> Result<Tools> {
    packages::ensure(steps, &PYTHON_GUESTS)?;
    let folder = cache(root, "python", requirements)?;
    let program = folder.join("venv/bin/componentize-py");
    if !program.is_file() {
        steps.timed("python3 -m venv, pip install componentize-py", || {
            process::quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")))?;
            let mut install = Command::new(folder.join("venv/bin/pip"));
            process::quiet(install.args(["install", "--quiet", "--requirement"]).arg(requirements))
        })?;
    }
    Ok(Tools::Python { program, kept: folder.join("kept") })
}

fn javascript(root: &Path, package: &Path, steps: &Steps) -> Result<Tools> {
    packages::ensure(steps, &NODE)?;
    let folder = cache(root, "javascript", package)?;
    let done = folder.join("complete");
    if !done.is_file() {
        std::fs::copy(package, folder.join("package.json"))?;
        steps.timed("npm install componentize-js", || {
            let mut install = Command::new("npm");
            install.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--loglevel=error"]);
            process::quiet(&mut install)
        })?;
        std::fs::write(done, "")?;
    }
    Ok(Tools::JavaScript { modules: folder.join("node_modules"), kept: folder.join("kept") })
}
