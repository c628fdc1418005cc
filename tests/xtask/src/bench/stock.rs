//! The peer on Ceph: `rbd export-diff | socat ~ TLS ~ socat | rbd import-diff`, one pipe at each site.
//!
//! Set up to win: the same certificate and TLS 1.3 as for us, blocks that were measured to be the best, the
//! receiving side already listens when the clock starts. socat and not ssh: it is faster, and does what we do.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::rig::Rig;
use super::sites::{Sites, at};
use crate::packages;
use crate::process;

const LISTENS: Duration = Duration::from_secs(30);

/// The receiving pipe of one transfer, listening.
#[derive(Debug)]
pub(super) struct Receiver {
    child: Child,
    port: u16,
}

impl Receiver {
    pub(super) fn start(rig: &Rig, sites: &Sites, image: &str) -> Result<Self> {
        let port = rsnap_test_ceph::free_port()?;
        let (certificate, key) = (rig.certificate(), rig.key());
        let listen = format!(
            "OPENSSL-LISTEN:{port},bind=127.0.0.1,verify=0,cert={},key={}",
            certificate.display(),
            key.display()
        );
        let script = format!("socat -u -b 65536 '{listen}' - | rbd import-diff --no-progress - '{image}'");
        let mut command = pipe(&script)?;
        at(&sites.target, &mut command);
        let child = command.stderr(Stdio::inherit()).spawn().context("cannot start the receiving pipe")?;
        let receiver = Self { child, port };
        receiver.wait()?;
        Ok(receiver)
    }

    /// By the kernel's table: a connection would be taken for the transfer.
    fn wait(&self) -> Result<()> {
        let (started, wanted) = (Instant::now(), format!(":{:04X} 00000000:0000 0A", self.port));
        while !std::fs::read_to_string("/proc/net/tcp").context("cannot read /proc/net/tcp")?.contains(&wanted) {
            ensure!(started.elapsed() < LISTENS, "socat does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends a snapshot, full or since another one, and waits until the target has it.
    pub(super) fn transfer(mut self, rig: &Rig, sites: &Sites, from: Option<&str>, snapshot: &str) -> Result<()> {
        let from = from.map(|from| format!("--from-snap '{from}'")).unwrap_or_default();
        let connect =
            format!("OPENSSL:127.0.0.1:{},cafile={},commonname=localhost", self.port, rig.certificate().display());
        let export = format!("rbd export-diff --no-progress {from} '{snapshot}' - | socat -u -b 65536 - '{connect}'");
        let mut command = pipe(&export)?;
        at(&sites.source, &mut command);
        process::quiet(&mut command)?;
        let status = self.child.wait().context("the receiving pipe is lost")?;
        ensure!(status.success(), "the receiving pipe ended with {status}");
        Ok(())
    }
}

/// Lines of shell in which a failure anywhere in a pipe is one.
fn pipe(script: &str) -> Result<Command> {
    let mut command = packages::tool("bash")?;
    command.args(["-c", &format!("set -o pipefail; {script}")]).stdin(Stdio::null());
    Ok(command)
}
