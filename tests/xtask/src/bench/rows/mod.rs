//! The rows, one in a file.

pub(super) mod difference;
pub(super) mod memory;
pub(super) mod overhead;
pub(super) mod plugin;
pub(super) mod put_discard;
pub(super) mod put_file;
pub(super) mod rbd;
pub(super) mod server_balance;
pub(super) mod server_rate;
pub(super) mod slope;
pub(super) mod sparse;
pub(super) mod wan;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::rounds::seconds;
use crate::gateway::Gateway;

/// `curl -T` of a file with a ticket; the ticket is asked for before the clock runs. In seconds.
fn put(gateway: &Gateway, volume: &str, source: &Path) -> Result<f64> {
    let size = std::fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?.len();
    seconds(put_command(gateway, volume, size)?.arg("--upload-file").arg(source).arg(gateway.snapshot(volume, "s")))
}

/// `curl` with a ticket for snapshot `s` of `volume`.
fn put_command(gateway: &Gateway, volume: &str, size: u64) -> Result<Command> {
    let ticket = gateway.ticket(volume, "s", size)?;
    let mut command = gateway.curl()?;
    command.args(["--header", &format!("Authorization: Bearer {ticket}")]);
    command.args(["--header", "Content-Type: application/octet-stream"]);
    Ok(command)
}
