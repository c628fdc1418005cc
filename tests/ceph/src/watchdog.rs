//! The end of a cluster whose owner was killed.
//!
//! A shell reads from a pipe whose other end only the owner has. Each line is the whole list of the daemons that run.
//! When the owner dies in whatever way, the shell reads the end of the pipe, kills the daemons and removes the
//! directory. It stands in a process group of its own, so that an interrupt on a terminal does not end it first.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

const SCRIPT: &str = r#"while read -r line; do all=$line; done; [ -z "$all" ] || kill -9 $all; rm -rf "$1""#;

#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    pipe: ChildStdin,
}

impl Watchdog {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "rsnap-test-ceph"]).arg(directory).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().context("cannot run sh")?;
        let pipe = shell.stdin.take().context("the watchdog has no input")?;
        Ok(Self { shell, pipe })
    }

    /// The daemons that run now, by process id.
    pub(crate) fn tell(&mut self, daemons: &[u32]) -> Result<()> {
        let line: Vec<String> = daemons.iter().map(u32::to_string).collect();
        writeln!(self.pipe, "{}", line.join(" ")).context("the watchdog is gone")
    }

    /// Ends it without its work: the owner does that itself.
    pub(crate) fn dismiss(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_pipe_kills_and_clears() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "x").unwrap();
        let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        let mut watchdog = Watchdog::start(directory.path()).unwrap();
        watchdog.tell(&[1_234_567_890]).unwrap();
        watchdog.tell(&[sleeper.id()]).unwrap();
        let Watchdog { mut shell, pipe } = watchdog;
        drop(pipe);
        shell.wait().unwrap();
        assert!(!sleeper.wait().unwrap().success());
        assert!(!directory.path().exists());
    }
}
