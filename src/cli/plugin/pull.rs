//! `rsnap plugin pull`: a component from a registry.

use super::fault::Fault;
use crate::cli::args::PluginPull;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::plugin::kit::{Fetched, Pull};
use crate::plugin::{RegistryConfig, SignaturesConfig};

pub(super) async fn pull(args: PluginPull, output: &Output) -> Result<Exit, Fault> {
    let PluginPull { reference, output: file, data, ca, credentials, public_key: keys, timeout } = args;
    let registry = RegistryConfig { ca, credentials, timeout };
    let signatures = SignaturesConfig { required: !keys.is_empty(), keys };
    let keep = data.map(|data| data.join("plugins"));
    let fetched = Pull { reference, output: file, keep, registry, signatures }.run().await?;
    output.answer(&fetched, words)?;
    Ok(Exit::Success)
}

fn words(fetched: &Fetched) -> String {
    let Fetched { reference, file, kind, bytes, sha256, signed, trusted } = fetched;
    let signature = match (signed, trusted) {
        (_, true) => "signed by a trusted key",
        (true, false) => "signed, which --public-key would check",
        (false, false) => "not signed",
    };
    format!(
        "pulled {} ({bytes} bytes, sha256 {sha256}), {signature}\n\n[plugins.{}]\ncomponent = \"{reference}\"",
        file.display(),
        kind.table()
    )
}
