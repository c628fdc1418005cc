//! A long line on this machine: a network namespace whose loopback is as slow, and loses as much, as the way between
//! two sites.
//!
//! Everything that takes part runs in the namespace, so that nothing of it knows. Two namespaces with a cable were
//! refused: they would measure the same, with more to set up.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::process;

/// Each way; a round trip takes twice as long.
const DELAY: &str = "75ms";
const LOSS: &str = "0.1%";
const RATE: &str = "1gbit";
/// Packets on their way at once: more than a round trip of them.
const LIMIT: &str = "100000";
/// As on a line, and not as on loopback.
const PACKET: &str = "1500";

/// The line; removed when dropped.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) namespace: String,
}

impl Line {
    pub(super) fn new() -> Result<Self> {
        if !packages::is_root()? {
            bail!("namespaces need root: run this as root");
        }
        let line = Self { namespace: format!("rsnap-wan-{}", std::process::id()) };
        ip(&["netns", "add", &line.namespace])?;
        ip(&["-n", &line.namespace, "link", "set", "lo", "mtu", PACKET, "up"])?;
        let shape = ["qdisc", "add", "dev", "lo", "root", "netem", "delay", DELAY];
        let mut command = packages::tool("tc")?;
        command.args(["-n", &line.namespace]).args(shape).args(["loss", LOSS, "rate", RATE, "limit", LIMIT]);
        process::quiet(&mut command).context(
            "this kernel cannot make a line slow: it was built without netem (CONFIG_NET_SCH_NETEM), so this row needs \
             another kernel",
        )?;
        Ok(line)
    }

    /// A program at the line.
    pub(super) fn program(&self, name: &str) -> Result<Command> {
        let mut command = packages::tool("ip")?;
        command
            .args(["netns", "exec", &self.namespace])
            .arg(packages::find(name).with_context(|| format!("{name} is missing"))?);
        Ok(command)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.namespace]) {
            eprintln!("{error:#}");
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    process::quiet(packages::tool("ip")?.args(arguments))
}
