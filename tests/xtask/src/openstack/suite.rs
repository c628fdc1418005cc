//! `cargo xtask openstack test`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{environment, sites};
use crate::process;
use crate::steps::Steps;

/// The unit tests on both releases, then everything on both sites.
pub(super) fn chore(root: &Path, filter: Option<&str>) -> Result<()> {
    let mut steps = Steps::new("OpenStack", 4);
    let started = sites::provide(root, &mut steps)?;
    let result = run(root, &mut steps, filter);
    if started {
        sites::end(root)?;
    }
    result?;
    steps.finish("all tests pass");
    Ok(())
}

fn run(root: &Path, steps: &mut Steps, filter: Option<&str>) -> Result<()> {
    steps.step("Test the package by itself, on both releases");
    if filter.is_none() {
        for python in [environment::folder(root).join("bin/python"), "/usr/bin/python3".into()] {
            steps.timed(&python.display().to_string(), || process::quiet(&mut units(root, &python)))?;
        }
    }
    steps.step("Copy snapshots between both sites");
    let mut pytest = environment::program(root, "python");
    pytest.current_dir(root.join("tests/openstack")).args(["-B", "-m", "pytest", "-p", "no:cacheprovider", "suite"]);
    if let Some(filter) = filter {
        pytest.args(["-k", filter]);
    }
    pytest.env("PYTHONPATH", environment::package(root));
    process::run(pytest.env("RSNAP_SITES", sites::description(root)).env("PYTHONWARNINGS", "ignore"))
}

fn units(root: &Path, python: &Path) -> Command {
    let mut command = Command::new(python);
    command.current_dir(root.join("deploy/cinder")).env("PYTHONWARNINGS", "ignore");
    command.args(["-B", "-m", "unittest", "discover", "--start-directory", "tests", "--top-level-directory", "."]);
    command
}
