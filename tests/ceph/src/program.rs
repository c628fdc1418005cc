//! Ceph's programs: found, run with this cluster's configuration alone, and never waited for without an end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How long a command may take, in the words of timeout(1).
const LIMIT: &str = "180";

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/bin", "/usr/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The file of a program, or what to install.
pub(crate) fn file(program: &str) -> Result<PathBuf> {
    find(program).with_context(|| {
        format!(
            "{program} is not installed; `cargo xtask test` installs what the tests need, or do it yourself: \
             apt-get install --no-install-recommends ceph-mon ceph-osd ceph-common librbd1"
        )
    })
}

/// A program of Ceph with the cluster's configuration. What the caller's environment says of other clusters is
/// dropped.
pub(crate) fn command(program: &str, configuration: &Path) -> Result<Command> {
    let mut command = Command::new(file(program)?);
    clean(&mut command, configuration);
    Ok(command)
}

/// As [`command`], with an end by force: against a silent OSD Ceph's tools wait for ever.
pub(crate) fn bounded(program: &str, configuration: &Path) -> Result<Command> {
    let mut command = Command::new(file("timeout")?);
    command.args(["--kill-after=5", LIMIT]).arg(file(program)?);
    clean(&mut command, configuration);
    Ok(command)
}

fn clean(command: &mut Command, configuration: &Path) {
    command.env("CEPH_CONF", configuration).env_remove("CEPH_ARGS").env_remove("CEPH_KEYRING").stdin(Stdio::null());
}

/// Runs a command and gives what it printed; an error holds what it complained about.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", words(command)))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    bail!("{} ended with {}:\n{printed}{}", words(command), output.status, complaint.trim_end())
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
