//! Clients that nobody here wrote, for the tests of uploads: tuspy and tus-js-client, below `target/`.
//!
//! Pinned with all that they need, installed once, and again when a list of theirs has changed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::openstack;
use crate::packages::{self, NODE};
use crate::process;
use crate::steps::Steps;

const LISTS: &str = "tests/foreign";

/// `cargo xtask clients`.
pub(crate) fn chore(root: &Path) -> Result<()> {
    let mut steps = Steps::new("Clients", 1);
    steps.step("Install tuspy and tus-js-client");
    prepare(root, &steps)?;
    steps.finish("they are in target/foreign");
    Ok(())
}

/// Installs them unless they are there.
pub(crate) fn prepare(root: &Path, steps: &Steps) -> Result<()> {
    let (lists, folder) = (root.join(LISTS), build::target(root).join("foreign"));
    let read = |name: &str| std::fs::read_to_string(lists.join(name)).with_context(|| format!("cannot read {name}"));
    let wanted = read("requirements.txt")? + &read("package-lock.json")?;
    let stamp = folder.join("packages");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    packages::ensure(steps, &NODE)?;
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    steps.timed("uv pip install tuspy", || {
        openstack::install_list(root, steps, &folder.join("python"), &lists.join("requirements.txt"))
    })?;
    steps.timed("npm ci tus-js-client", || {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(lists.join(name), folder.join(name))?;
        }
        let mut install = Command::new("npm");
        install.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
        process::quiet(&mut install)
    })?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
