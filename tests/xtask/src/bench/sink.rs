//! The physical limit as a peer: a process that receives TLS and throws away what it receives.

use anyhow::{Context, Result};

use super::rig::Rig;
use crate::process::{self, Server};

#[derive(Debug)]
pub(super) struct Sink {
    port: u16,
    _server: Server,
}

impl Sink {
    pub(super) fn start(rig: &Rig) -> Result<Self> {
        let port = rsnap_test_ceph::free_port()?;
        let mut command = rig.maker();
        command.args(["sink", "--listen", &format!("127.0.0.1:{port}"), "--certificate"]).arg(rig.certificate());
        command.arg("--key").arg(rig.key());
        let mut server = Server::start(&mut command, &rig.directory("sink")?.join("sink.log"))?;
        server.wait(|| process::listens(port)).context("cannot start the sink")?;
        Ok(Self { port, _server: server })
    }

    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }
}
