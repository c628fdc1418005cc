//! Building: the guests first (a step of the build, never committed), then the gateway.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages::{self, COMPILER, PROTOC};
use crate::process;
use crate::steps::Steps;

/// The profile of artefacts that a chore uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Of demo and tests, so that both share one set of artefacts.
    Dev,
    /// Of measurements.
    Release,
}

impl Profile {
    /// What cargo is asked to build. For development it is the whole workspace, as for the tests: what a dependency
    /// is compiled with follows from the packages that are chosen, and another choice compiles the WebAssembly engine
    /// a second time. A release build needs no tools.
    fn selection(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &["--workspace", "--bins"],
            Self::Release => &["--release", "--package", "rsnap", "--package", "rsnap-bench"],
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// The root of the repository: two folders above this crate's manifest.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(Path::to_owned).context("this crate has left its place in the repository")
}

/// Where everything is built: `target`, or the directory that the environment names.
pub(crate) fn target(root: &Path) -> PathBuf {
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// `cargo` in the root of the repository, the same that runs this program.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env("CARGO_TARGET_DIR", target(root));
    command
}

/// Where the components of the tests lie.
pub(crate) fn fixtures(root: &Path) -> PathBuf {
    target(root).join("fixtures")
}

/// Where the built components lie.
pub(crate) fn plugins(root: &Path) -> PathBuf {
    target(root).join("plugins")
}

/// Where the programs of the workspace lie.
pub(crate) fn binary(root: &Path, profile: Profile, name: &str) -> PathBuf {
    target(root).join(profile.directory()).join(name)
}

/// `cargo xtask build`.
pub(crate) fn chore(root: &Path, steps: &mut Steps) -> Result<()> {
    steps.step("Build the plugins");
    guests(root, steps)?;
    steps.step("Build the gateway");
    programs(root, steps, Profile::Dev)?;
    steps.line(format!("{} · {}", binary(root, Profile::Dev, "rsnap").display(), plugins(root).display()));
    steps.finish("plugins and gateway are built");
    Ok(())
}

/// Builds the plugins as components.
pub(crate) fn guests(root: &Path, steps: &Steps) -> Result<()> {
    packages::ensure(steps, &[COMPILER])?;
    let label = "WebAssembly components: the plugins, and guests for the tests";
    let built = steps.timed(label, || crate::guests::build(root).context("cannot build the plugins"))?;
    steps.line(format!("in {} and {}", built.plugins.display(), built.fixtures.display()));
    Ok(())
}

/// Builds the programs of the workspace.
pub(crate) fn programs(root: &Path, steps: &Steps, profile: Profile) -> Result<()> {
    packages::ensure(steps, &PROTOC)?;
    let mut command = cargo(root);
    command.arg("build").args(profile.selection());
    let label = process::words(&command);
    steps.timed(&label, || process::run(&mut command))
}
