//! A daemon of the cluster: started, asked, signalled, ended.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon may take to start: an OSD replays its log, and other work may have the processors.
const START: Duration = Duration::from_secs(180);
/// How long a daemon may take to stop in order.
const STOP: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts `name`, such as `osd.0`, of the cluster in `directory`.
    pub(crate) fn start(command: &mut Command, name: &str, directory: &Path) -> Result<Self> {
        let log = directory.join("log").join(format!("{name}.out"));
        let file = File::options().create(true).append(true).open(&log)?;
        command.arg("--foreground").stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let socket = directory.join("run").join(format!("{name}.asok"));
        Ok(Self { child, socket, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` likes what the daemon says of itself.
    pub(crate) fn wait(&mut self, question: &str, ready: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status}; {}", self.tail());
            }
            if self.ask(&serde_json::json!({ "prefix": question })).is_ok_and(|answer| ready(&answer)) {
                return Ok(());
            }
            ensure!(started.elapsed() < START, "the daemon is not ready after {START:?}; {}", self.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn ask(&self, request: &serde_json::Value) -> Result<serde_json::Value> {
        ask(&self.socket, request)
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(15)).copied().collect::<Vec<_>>();
        format!("its log {} says:\n{}", self.log.display(), last.join("\n"))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).context("the daemon has no process id")?;
        kill_process(id, signal).with_context(|| format!("cannot signal process {}", self.child.id()))
    }

    /// Ends it in order; by force when that takes too long.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            if started.elapsed() > STOP {
                self.kill();
                bail!("the daemon ignored SIGTERM for {STOP:?} and was killed");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// SIGKILL: as a machine that lost its power, but for what the kernel still writes.
    pub(crate) fn kill(&mut self) {
        // Both fail when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a socket for administrators, which daemons have and clients if they are configured so. `ceph --admin-daemon`
/// does the same in half a second of Python.
pub fn ask(socket: &Path, request: &serde_json::Value) -> Result<serde_json::Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "{request}\0")?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
