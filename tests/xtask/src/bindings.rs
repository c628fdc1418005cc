//! `cargo xtask bindings`: the declarations of `src/rbd`, made again from Ceph's headers.
//!
//! The crate is built without them, so nothing else would notice that what is committed is not what the headers say.
//! Headers of another release may differ in what nobody here uses: the check is made with the release that the
//! committed file names, and elsewhere it is said that there was none.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build;
use crate::packages::{self, Need};
use crate::process;
use crate::steps::Steps;

const FILE: &str = "src/rbd/src/bindings.rs";
const HEADER: &str = "/usr/include/rbd/librbd.h";
const HEADERS: Need = Need { command: HEADER, package: "librbd-dev", why: "declares what librbd has" };
/// Reads C; no command of its own proves it.
const CLANG: &str = "libclang-dev";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail if the committed file is not what the headers say
    #[arg(long)]
    check: bool,
}

/// `cargo xtask bindings`.
pub(crate) fn chore(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut steps = Steps::new("Bindings", 1);
    steps.step("Declarations of librbd and librados");
    if arguments.check {
        check(root, &steps)?;
        steps.finish(&format!("{FILE} is what the headers say"));
        return Ok(());
    }
    let text = generate(root, &steps)?;
    std::fs::write(root.join(FILE), text).with_context(|| format!("cannot write {FILE}"))?;
    steps.finish(&format!("{FILE} is made"));
    Ok(())
}

/// Compares what is committed with what the headers say.
pub(crate) fn check(root: &Path, steps: &Steps) -> Result<()> {
    let committed = std::fs::read_to_string(root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    packages::ensure(steps, &[HEADERS])?;
    let header = std::fs::read_to_string(HEADER).with_context(|| format!("cannot read {HEADER}"))?;
    let (ours, theirs) = (version(&committed), version(&header));
    if ours != theirs {
        steps.line(format!("not checked: the headers are of librbd {theirs:?}, {FILE} of {ours:?}"));
        return Ok(());
    }
    if generate(root, steps)? != committed {
        bail!("{FILE} is not what the headers say: cargo xtask bindings");
    }
    Ok(())
}

/// The numbers of the version, in the header as in what is made from it.
fn version(text: &str) -> Vec<u32> {
    let part = |name: &str| {
        let line = text.lines().find(|line| line.contains(&format!("LIBRBD_VER_{name}")))?;
        line.split([' ', ';']).rfind(|word| !word.is_empty())?.parse().ok()
    };
    ["MAJOR", "MINOR", "EXTRA"].into_iter().filter_map(part).collect()
}

fn generate(root: &Path, steps: &Steps) -> Result<String> {
    packages::ensure(steps, &[HEADERS])?;
    let label = "bindgen reads the headers";
    steps.timed(label, || match process::capture(&mut generator(root)) {
        Err(error) if format!("{error:#}").contains("libclang") => {
            steps.line(format!("installing {CLANG}: it reads C"));
            packages::install(&[CLANG])?;
            process::capture(&mut generator(root))
        }
        other => other,
    })
}

fn generator(root: &Path) -> Command {
    let manifest: PathBuf = root.join("tests/bindings/Cargo.toml");
    let mut command = build::cargo(root);
    command.env("CARGO_TARGET_DIR", build::target(root).join("bindings"));
    command.args(["run", "--quiet", "--manifest-path"]).arg(manifest);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_headers_and_in_what_is_made_of_them() {
        let header = "#define LIBRBD_VER_MAJOR 1\n#define LIBRBD_VER_MINOR 16\n#define LIBRBD_VER_EXTRA 0\n";
        let made = "pub const LIBRBD_VER_MAJOR: u32 = 1;\npub const LIBRBD_VER_MINOR: u32 = 16;\n\
                    pub const LIBRBD_VER_EXTRA: u32 = 0;\n";
        assert_eq!((version(header), version(made)), (vec![1, 16, 0], vec![1, 16, 0]));
    }
}
