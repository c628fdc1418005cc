//! A Keystone to test against, from PyPI, in a virtual environment below `target/`.
//!
//! Every package is pinned with all that it needs, so that nothing is resolved and the environment of today is the one
//! of tomorrow. Made once; made anew when the list of packages has changed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::packages::{self, PYTHON};
use crate::process;
use crate::steps::Steps;

const PACKAGES: &str = "tests/openstack/requirements.txt";

/// Makes the environment unless it is there.
pub(crate) fn prepare(root: &Path, steps: &Steps) -> Result<()> {
    let environment = build::target(root).join("openstack/keystone");
    let stamp = environment.join("packages");
    let wanted = std::fs::read_to_string(root.join(PACKAGES)).with_context(|| format!("cannot read {PACKAGES}"))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    packages::ensure_unless(steps, PYTHON, || python().is_ok())?;
    if environment.exists() {
        std::fs::remove_dir_all(&environment).with_context(|| format!("cannot remove {}", environment.display()))?;
    }
    steps.timed("pip install keystone", || {
        process::quiet(python()?.args(["-m", "venv"]).arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]);
        process::quiet(pip.arg(root.join(PACKAGES)))
    })?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// A Python that can make environments: Debian's cannot without the package python3-venv.
fn python() -> Result<Command> {
    let able = |program: &str| {
        let mut ask = Command::new(program);
        process::quiet(ask.args(["-c", "import ensurepip, venv"])).map(|()| Command::new(program))
    };
    able("/usr/bin/python3").or_else(|_| able("python3"))
}
