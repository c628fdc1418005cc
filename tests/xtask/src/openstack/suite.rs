//! `cargo xtask openstack test`, and the part of it that `cargo xtask test` runs.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Releases, environment, sites};
use crate::build;
use crate::process;
use crate::steps::Steps;

/// The tests of the part: first and fourth snapshot copied, restored and checked; and the way back after a disaster.
const PART: &str = "(fourth or come_back) and dc1-dc2";
const PART_TESTS: u64 = 2;

/// The unit tests on both releases, then everything on both sites.
pub(super) fn chore(root: &Path, filter: Option<&str>) -> Result<()> {
    let mut steps = Steps::new("OpenStack", 4);
    let started = sites::provide(root, &mut steps, Releases::Both)?;
    let result = run(root, &mut steps, filter);
    if started {
        sites::end(root)?;
    }
    result?;
    steps.finish("all tests pass");
    Ok(())
}

/// The part by itself.
pub(super) fn part_alone(root: &Path) -> Result<()> {
    let mut steps = Steps::new("OpenStack", 2);
    steps.step("Build the gateway");
    build::guests(root, &steps)?;
    build::programs(root, &steps, build::Profile::Dev)?;
    steps.step("Copy snapshots between two sites");
    part(root, &steps)?;
    steps.finish("all tests of the part pass");
    Ok(())
}

/// What of it takes minutes and needs little of Debian: both sites with the newest release. Guests and programs are built.
/// Gives how many tests passed.
pub(crate) fn part(root: &Path, steps: &Steps) -> Result<u64> {
    sites::install(root, steps, Releases::Newest)?;
    let started = sites::bring_up(root, steps, Releases::Newest)?;
    let result = steps.timed("pytest, from a volume's first snapshot to its recovery", || copies(root));
    if started {
        sites::end(root)?;
    }
    result
}

fn copies(root: &Path) -> Result<u64> {
    let output = pytest(root, Some(PART)).arg("--quiet").output().context("cannot run pytest")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{PART_TESTS} passed");
    if !output.status.success() || !said.lines().any(|line| line.starts_with(&all)) {
        std::io::stderr().write_all(&output.stdout)?;
        std::io::stderr().write_all(&output.stderr)?;
        // A filter that finds nothing any more would otherwise pass.
        ensure!(!output.status.success(), "not {PART_TESTS} tests were run by: pytest -k \"{PART}\"");
        anyhow::bail!("snapshots are not copied between two sites as they should be; see above");
    }
    Ok(PART_TESTS)
}

fn run(root: &Path, steps: &mut Steps, filter: Option<&str>) -> Result<()> {
    steps.step("Test the package by itself, on both releases");
    if filter.is_none() {
        for python in [environment::folder(root).join("bin/python"), "/usr/bin/python3".into()] {
            steps.timed(&python.display().to_string(), || process::quiet(&mut units(root, &python)))?;
        }
    }
    steps.step("Copy snapshots between both sites");
    process::run(&mut pytest(root, filter))
}

fn pytest(root: &Path, filter: Option<&str>) -> Command {
    let mut pytest = environment::program(root, "python");
    pytest.current_dir(root.join("tests/openstack")).args(["-B", "-m", "pytest", "-p", "no:cacheprovider", "suite"]);
    if let Some(filter) = filter {
        pytest.args(["-k", filter]);
    }
    pytest.env("PYTHONPATH", environment::package(root));
    pytest.env("RSNAP_SITES", sites::description(root)).env("PYTHONWARNINGS", "ignore");
    pytest
}

fn units(root: &Path, python: &Path) -> Command {
    let mut command = Command::new(python);
    command.current_dir(root.join("deploy/cinder")).env("PYTHONWARNINGS", "ignore");
    command.args(["-B", "-m", "unittest", "discover", "--start-directory", "tests", "--top-level-directory", "."]);
    command
}
