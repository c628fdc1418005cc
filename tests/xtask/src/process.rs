//! Child processes: ordinary commands, and servers that must be gone when their owner is.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a server may take to start: an unoptimised gateway compiles its plugins for many seconds on a busy machine.
const START: Duration = Duration::from_secs(120);
/// How long a server may take to stop in order.
const STOP: Duration = Duration::from_secs(30);

/// A command as a person would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Runs a command whose output is for the person.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", words(command)))?;
    ensure!(status.success(), "{} ended with {status}", words(command));
    Ok(())
}

/// Runs a command whose output matters only when it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    capture(command).map(drop)
}

/// Runs a command and gives its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", words(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    bail!("{} ended with {}:\n{}{}", words(command), output.status, text, complaint.trim_end())
}

/// A server process. Dropped, it is stopped: politely first.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a server in a process group of its own, so that an interrupted chore does not cut it before it is
    /// stopped in order, with its output in `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot run {}", words(command)))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so; fails with the end of the log when the server ends before or takes too long.
    pub(crate) fn wait(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}; its log {} says:\n{}", self.log.display(), self.tail());
            }
            ensure!(started.elapsed() < START, "the server is not ready after {START:?}:\n{}", self.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(15)).copied().collect::<Vec<_>>().join("\n")
    }

    /// Leaves it running after this program's end.
    pub(crate) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if terminate(self.child.id()) {
            let started = Instant::now();
            while started.elapsed() < STOP && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // Both fail when the process has ended in order, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends SIGTERM, by the shell: the standard library only knows SIGKILL.
pub(crate) fn terminate(id: u32) -> bool {
    let kill = format!("kill -TERM {id}");
    Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Whether something accepts connections there.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Whether a plain HTTP request for `path` is answered with 200.
pub(crate) fn answers(port: u16, path: &str) -> bool {
    fetch(port, path).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The answer to a plain HTTP request, with its head.
pub(crate) fn fetch(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_commands_say_what_they_printed() {
        let error = capture(Command::new("sh").args(["-c", "echo bad >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("bad") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let log = std::env::temp_dir().join(format!("xtask-server-{}", std::process::id()));
        let server = Server::start(Command::new("sleep").arg("60"), &log).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", server.id()));
        assert!(proc.exists());
        drop(server);
        assert!(!proc.exists());
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_server_that_ends_is_reported_with_its_log() {
        let log = std::env::temp_dir().join(format!("xtask-ended-{}", std::process::id()));
        let mut server = Server::start(Command::new("sh").args(["-c", "echo no port; exit 1"]), &log).unwrap();
        let error = server.wait(|| false).unwrap_err().to_string();
        assert!(error.contains("no port"), "{error}");
        std::fs::remove_file(log).unwrap();
    }
}
