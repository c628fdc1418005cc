//! The newest OpenStack from PyPI, in a virtual environment below `target/`.
//!
//! Every package is pinned with all that it needs, so that nothing is resolved and the environment of today is the one
//! of tomorrow. Made once; made anew when the list of packages has changed. uv installs it, because pip takes minutes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::packages::{self, PYTHON};
use crate::process;
use crate::steps::Steps;

const PACKAGES: &str = "tests/openstack/requirements.txt";
/// What installs the others.
const INSTALLER: &str = "uv==0.13.9";
/// Bindings of Ceph, which PyPI does not have: Debian's fit the Python of Debian.
const BINDINGS: [&str; 2] = ["rados", "rbd"];
const DEBIAN: &str = "/usr/lib/python3/dist-packages";

/// Where the environment is.
pub(super) fn folder(root: &Path) -> PathBuf {
    build::target(root).join("openstack/newest")
}

/// A program of the environment.
pub(crate) fn program(root: &Path, name: &str) -> Command {
    Command::new(folder(root).join("bin").join(name))
}

/// Makes the environment unless it is there.
pub(crate) fn prepare(root: &Path, steps: &Steps) -> Result<()> {
    let environment = folder(root);
    let stamp = environment.join("packages");
    let wanted = std::fs::read_to_string(root.join(PACKAGES)).with_context(|| format!("cannot read {PACKAGES}"))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        // Ceph may have been installed after it was made.
        return link_bindings(&environment);
    }
    if environment.exists() {
        std::fs::remove_dir_all(&environment).with_context(|| format!("cannot remove {}", environment.display()))?;
    }
    steps.timed("uv pip install keystone cinder …", || {
        install_list(root, steps, &environment, &root.join(PACKAGES))
    })?;
    link_bindings(&environment)?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Makes an environment with all packages of a list, which names all that they need.
pub(crate) fn install_list(root: &Path, steps: &Steps, environment: &Path, list: &Path) -> Result<()> {
    packages::ensure_unless(steps, PYTHON, || python().is_ok())?;
    let installer = installer(root)?;
    process::quiet(python()?.args(["-m", "venv", "--without-pip"]).arg(environment))?;
    let mut install = Command::new(installer);
    install.args(["pip", "install", "--quiet", "--no-deps", "--compile-bytecode", "--python"]);
    process::quiet(install.arg(environment.join("bin/python")).arg("--requirement").arg(list))
}

/// uv, in an environment of its own.
fn installer(root: &Path) -> Result<PathBuf> {
    let own = build::target(root).join("openstack/uv");
    let installer = own.join("bin/uv");
    if !installer.exists() {
        process::quiet(python()?.args(["-m", "venv"]).arg(&own))?;
        let mut pip = Command::new(own.join("bin/pip"));
        process::quiet(pip.args(["install", "--quiet", "--disable-pip-version-check", INSTALLER]))?;
    }
    Ok(installer)
}

/// Installs our own package into a folder, as it is now: built, with its programs and entry points. Both Pythons find it
/// there by their path.
pub(super) fn install_package(root: &Path, steps: &Steps) -> Result<()> {
    let (copy, package) = (build::target(root).join("openstack/source"), package(root));
    for old in [&copy, &package] {
        if old.exists() {
            std::fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    steps.timed("uv pip install deploy/cinder", || {
        // What is built is a copy: a build leaves files beside its source.
        process::quiet(Command::new("cp").arg("-r").arg(root.join("deploy/cinder")).arg(&copy))?;
        let mut install = Command::new(installer(root)?);
        install.args(["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--python"]);
        process::quiet(install.arg(folder(root).join("bin/python")).arg("--target").arg(&package).arg(&copy))
    })
}

/// Where our own package is installed.
pub(super) fn package(root: &Path) -> PathBuf {
    build::target(root).join("openstack/package")
}

/// Makes Ceph's bindings known to the environment, where they are installed.
fn link_bindings(environment: &Path) -> Result<()> {
    let Ok(there) = std::fs::read_dir(DEBIAN) else { return Ok(()) };
    let libraries = environment.join("lib").read_dir()?.next().context("the environment has no library")??.path();
    for file in there.map_while(Result::ok).map(|entry| entry.path()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_binding = BINDINGS.iter().any(|binding| name.starts_with(&format!("{binding}.cpython-")));
        if is_binding {
            let link = libraries.join("site-packages").join(&name);
            if !link.exists() {
                std::os::unix::fs::symlink(&file, &link).with_context(|| format!("cannot make {}", link.display()))?;
            }
        }
    }
    Ok(())
}

/// A Python that can make environments: Debian's cannot without the package python3-venv.
fn python() -> Result<Command> {
    let able = |program: &str| {
        let mut ask = Command::new(program);
        process::quiet(ask.args(["-c", "import ensurepip, venv"])).map(|()| Command::new(program))
    };
    able("/usr/bin/python3").or_else(|_| able("python3"))
}
