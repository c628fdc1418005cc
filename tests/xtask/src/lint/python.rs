//! The Python of the repository: ruff's format and lints, with the settings beside the largest part of it.

use std::path::Path;

use anyhow::{Result, bail};

use crate::openstack;
use crate::process;
use crate::steps::Steps;

const SETTINGS: &str = "deploy/cinder/pyproject.toml";
const FOLDERS: [&str; 4] = ["deploy/cinder", "deploy/keystone", "tests/foreign", "tests/openstack"];

pub(super) fn check(root: &Path, steps: &Steps) -> Result<()> {
    openstack::prepare(root, steps)?;
    let mut faults = Vec::new();
    for arguments in [&["check", "--quiet"][..], &["format", "--check", "--quiet"]] {
        let mut ruff = openstack::program(root, "ruff");
        ruff.current_dir(root).args(arguments).args(["--no-cache", "--config", SETTINGS]).args(FOLDERS);
        if let Err(error) = process::quiet(&mut ruff) {
            faults.push(format!("{error:#}"));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}
