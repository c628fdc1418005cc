//! `rsnap plugin push`: a component into a registry.

use super::fault::Fault;
use crate::cli::args::PluginPush;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::plugin::RegistryConfig;
use crate::plugin::kit::{Push, Stored};

pub(super) async fn push(args: PluginPush, output: &Output) -> Result<Exit, Fault> {
    let PluginPush { component, reference, ca, credentials, timeout } = args;
    let registry = RegistryConfig { ca, credentials, timeout };
    let stored = Push { file: component, reference, registry }.run().await?;
    output.answer(&stored, words)?;
    Ok(Exit::Success)
}

fn words(stored: &Stored) -> String {
    let Stored { reference, tagged, kind, bytes, sha256, signed } = stored;
    let signature = if *signed { "with its signature" } else { "without a signature" };
    format!(
        "pushed {tagged} ({bytes} bytes, sha256 {sha256}), {signature}\n\n[plugins.{}]\ncomponent = \"{reference}\"",
        kind.table()
    )
}
