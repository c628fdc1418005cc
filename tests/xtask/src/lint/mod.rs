//! `cargo xtask lint`: what can be checked without running the product.

mod dependencies;
mod deploy;
mod python;
mod shape;
mod words;

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::bindings;
use crate::build;
use crate::packages;
use crate::process;
use crate::source;
use crate::steps::Steps;

/// `cargo xtask lint`. Every check runs, so that one run shows all that is to do.
pub(crate) fn chore(root: &Path) -> Result<()> {
    let mut steps = Steps::new("Lint", 7);
    let mut failed = Vec::new();
    steps.step("Format");
    record(&steps, &mut failed, "format", cargo_everywhere(root, &steps, format));
    steps.step("The tree: its shape, its words");
    record(&steps, &mut failed, "tree", tree(root));
    steps.step("Dependencies: licences, sources, bans, advisories");
    record(&steps, &mut failed, "dependencies", dependencies::check(root, &steps));
    steps.step("Bindings: what is committed and what Ceph's headers say");
    record(&steps, &mut failed, "bindings", bindings::check(root, &steps));
    steps.step("What is shipped for other programs: the systemd units, the image's recipe");
    record(&steps, &mut failed, "deploy", deploy::check(root, &steps));
    steps.step("Python: what Cinder loads, and the bed of its tests");
    record(&steps, &mut failed, "python", python::check(root, &steps));
    steps.step("Clippy");
    packages::ensure(&steps, &packages::PROTOC)?;
    record(&steps, &mut failed, "clippy", cargo_everywhere(root, &steps, clippy));
    if !failed.is_empty() {
        bail!("to repair: {}", failed.join(", "));
    }
    steps.finish("nothing to complain about");
    Ok(())
}

fn record(steps: &Steps, failed: &mut Vec<&'static str>, name: &'static str, result: Result<()>) {
    match result {
        Ok(()) => steps.check(name),
        Err(error) => {
            steps.fault(name);
            steps.lines(&format!("{error:#}"));
            failed.push(name);
        }
    }
}

/// Runs a cargo command for every workspace.
fn cargo_everywhere(root: &Path, steps: &Steps, arguments: fn(&mut Command, &Path, &Path)) -> Result<()> {
    let mut failed = Vec::new();
    for manifest in source::workspaces(root) {
        let name = manifest.strip_prefix(root)?.display().to_string();
        let mut command = build::cargo(root);
        arguments(&mut command, root, &manifest);
        if steps.timed(&name, || process::run(&mut command)).is_err() {
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("see above: {}", failed.join(", ")) }
}

fn format(command: &mut Command, _root: &Path, manifest: &Path) {
    command.args(["fmt", "--all", "--check", "--manifest-path"]).arg(manifest);
}

/// Guests are checked for this machine's own processor: the target's standard library may belong to another compiler
/// than clippy's, and what clippy finds does not depend on it. Only the gateway's workspace uses its target folder.
fn clippy(command: &mut Command, root: &Path, manifest: &Path) {
    if manifest != root.join("Cargo.toml") {
        command.env("CARGO_TARGET_DIR", build::target(root).join("guests/host"));
    }
    command.args(["clippy", "--quiet", "--workspace", "--all-targets", "--manifest-path"]).arg(manifest);
    command.args(["--", "--deny", "warnings"]);
}

fn tree(root: &Path) -> Result<()> {
    let files = source::files(root)?;
    let mut faults = shape::top_level(root)?;
    faults.extend(shape::long_files(root, &files)?);
    faults.extend(words::check(root, &files)?);
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}
