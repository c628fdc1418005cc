//! A long line on this machine: two network namespaces, and between them a program that carries packets as late, and loses
//! as many, as the way between two sites.
//!
//! The gateway is at the far end and its callers are at the near one, so that nothing of it knows. The kernel's own netem
//! was refused: many kernels are built without it, those of virtual machines above all.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bench::rig::Rig;
use crate::gateway::Ends;
use crate::packages::{self, IP};
use crate::process::{self, Server};
use crate::steps::Steps;

/// Milliseconds each way; a round trip takes twice as long.
const DELAY: &str = "75";
/// One packet of so many.
const LOST: &str = "1000";
/// Bytes a second: 1 Gbit/s.
const RATE: &str = "125000000";
/// Milliseconds of packets before the line: a round trip of them, the size that routers' queues are commonly given.
const QUEUE: &str = "150";
/// Addresses for measurements of networks, RFC 2544.
const NEAR: &str = "198.18.0.1";
const FAR: &str = "198.18.0.2";

/// The line; removed when dropped.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) ends: Ends,
    _carrier: Server,
}

impl Line {
    pub(super) fn new(rig: &Rig) -> Result<Self> {
        if !packages::is_root()? {
            bail!("namespaces need root: run this as root");
        }
        packages::ensure(&Steps::new("Bench", 0), &[IP])?;
        let number = std::process::id();
        let names = ["near", "far"].map(|end| format!("rsnap-{end}-{number}"));
        let devices = ["n", "f"].map(|end| format!("rsnap-{end}{number}"));
        let mut carrier = rig.maker();
        carrier.arg("line").args(&devices).args(["--delay", DELAY, "--lost", LOST, "--rate", RATE, "--queue", QUEUE]);
        let mut carrier = Server::start(&mut carrier, &rig.directory("line")?.join("line.log"))?;
        carrier.wait(|| devices.iter().all(|device| ip(&["link", "show", device]).is_ok()))?;
        let [near, far] = names;
        let line = Self { ends: Ends { near, far, address: FAR.to_owned() }, _carrier: carrier };
        let [near_device, far_device] = &devices;
        attach(&line.ends.near, near_device, NEAR, FAR)?;
        attach(&line.ends.far, far_device, FAR, NEAR)?;
        Ok(line)
    }

    /// A program of a caller.
    pub(super) fn near(&self, name: &str) -> Result<Command> {
        at(&self.ends.near, name)
    }

    /// A program beside the gateway.
    pub(super) fn far(&self, name: &str) -> Result<Command> {
        at(&self.ends.far, name)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for namespace in [&self.ends.near, &self.ends.far] {
            if let Err(error) = ip(&["netns", "del", namespace]) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Makes a namespace, and puts an end of the line there.
fn attach(namespace: &str, device: &str, address: &str, peer: &str) -> Result<()> {
    ip(&["netns", "add", namespace])?;
    ip(&["link", "set", device, "netns", namespace])?;
    ip(&["-n", namespace, "link", "set", "lo", "up"])?;
    ip(&["-n", namespace, "address", "add", address, "peer", peer, "dev", device])?;
    ip(&["-n", namespace, "link", "set", device, "up"])
}

fn at(namespace: &str, name: &str) -> Result<Command> {
    let mut command = packages::tool("ip")?;
    let program = packages::find(name).with_context(|| format!("{name} is missing"))?;
    command.args(["netns", "exec", namespace]).arg(program);
    Ok(command)
}

fn ip(arguments: &[&str]) -> Result<()> {
    process::quiet(packages::tool("ip")?.args(arguments))
}
