//! `cargo xtask asan`: the crate with the unsafe code, under the address sanitiser, and proof that it would ring.
//!
//! The compiler is the stable one; what it calls unstable is switched on for this build alone, because a second tool
//! chain would have to be installed. Ceph's own libraries are not compiled for it: their reads and writes are seen
//! where they copy (the memory functions are the sanitiser's), which is where they touch our buffers, and so are leaks.
//! A run that finds nothing says nothing unless a fault is found, so one is made on purpose.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build;
use crate::packages::{self, CEPH};
use crate::process;
use crate::steps::Steps;

const ALARM: &str = "alarm::a_buffer_that_is_freed_too_early";
const RINGING: &str = "AddressSanitizer: heap-use-after-free";

/// `cargo xtask asan`.
pub(crate) fn chore(root: &Path) -> Result<()> {
    let mut steps = Steps::new("Address sanitiser", 2);
    steps.step("Build");
    packages::ensure(&steps, &CEPH)?;
    steps.timed("cargo test --no-run, sanitised", || process::run(tests(root).arg("--no-run")))?;
    steps.step("Test the crate that binds Ceph");
    steps.timed("cargo test, sanitised", || process::run(&mut tests(root)))?;
    alarm(root, &steps)?;
    steps.finish("nothing found, and the alarm rings");
    Ok(())
}

/// The tests of the crate, sanitised.
pub(crate) fn tests(root: &Path) -> Command {
    let mut command = build::cargo(root);
    command.env("CARGO_TARGET_DIR", build::target(root).join("asan"));
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // With a target named, build scripts are not sanitised.
    command.args(["test", "--quiet", "--package", "rsnap-rbd", "--target", "host-tuple"]);
    command
}

/// Runs the fault that is made on purpose, which must be caught.
pub(crate) fn alarm(root: &Path, steps: &Steps) -> Result<()> {
    let mut command = tests(root);
    command.args(["--test", "it", "--", "--ignored", "--exact", ALARM]);
    let output = steps.timed("a fault on purpose", || command.output().context("cannot run cargo"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains(RINGING),
        "a buffer that is freed too early was not noticed, so that the sanitiser proves nothing:\n{}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}
