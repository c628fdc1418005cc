//! The end of a cluster whose owner was killed.
//!
//! A shell waits on a pipe whose other end only the owner has. When the owner dies in whatever way, the shell reads the
//! end of the pipe, kills the daemons and removes the directory. It stands in a process group of its own, so that an
//! interrupt on a terminal does not end it first.
//!
//! The daemons are found by the configuration in their environment, whose path is this cluster's alone. A list of
//! process ids was refused: between a daemon's start and its entry nobody would end it, and an id that was given to
//! another process meanwhile would end that one.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// Twice: a daemon that is just being started may still look like its owner in the first round.
const SCRIPT: &str = r#"
read -r line
for round in 1 2; do
    for process in /proc/[0-9]*; do
        case $(cat "$process/comm" 2>/dev/null) in ceph-mon | ceph-osd | radosgw) ;; *) continue ;; esac
        if grep -qszxF "CEPH_CONF=$1/ceph.conf" "$process/environ"; then kill -9 "${process#/proc/}"; fi
    done
    sleep 0.2
done
rm -rf "$1"
"#;

#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    _pipe: ChildStdin,
}

impl Watchdog {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "rsnap-test-ceph"]).arg(directory).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().context("cannot run sh")?;
        let pipe = shell.stdin.take().context("the watchdog has no input")?;
        Ok(Self { shell, _pipe: pipe })
    }

    /// Ends it without its work: the owner does that itself.
    pub(crate) fn dismiss(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Something that is called as a daemon is, of the cluster in `directory`.
    fn daemon(program: &Path, directory: &Path) -> Child {
        let mut command = Command::new(program);
        command.arg("600").env("CEPH_CONF", directory.join("ceph.conf")).spawn().unwrap()
    }

    #[test]
    fn the_end_of_the_pipe_kills_the_daemons_of_this_cluster_and_clears() {
        let (programs, directory, other) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = programs.path().join("ceph-osd");
        std::fs::copy("/bin/sleep", &program).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(directory.path().join("file"), "x").unwrap();
        let (mut mine, mut theirs) = (daemon(&program, directory.path()), daemon(&program, other.path()));
        let Watchdog { mut shell, _pipe } = Watchdog::start(directory.path()).unwrap();
        drop(_pipe);
        shell.wait().unwrap();
        assert!(!mine.wait().unwrap().success());
        assert!(!directory.path().exists());
        assert!(theirs.try_wait().unwrap().is_none(), "another cluster's daemon was killed");
        theirs.kill().unwrap();
        theirs.wait().unwrap();
    }
}
