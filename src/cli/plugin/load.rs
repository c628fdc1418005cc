//! From the arguments to a loaded component.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::Fault;
use crate::cli::args::LoadArgs;
use crate::cluster;
use crate::id::StoreName;
use crate::image::ImageStore;
use crate::keys::KeySource;
use crate::plugin::kit::grants::Grants;
use crate::plugin::kit::{self, Options};

/// The component's file, and how it is to be loaded.
pub(super) fn options(
    args: &LoadArgs,
    stores: HashMap<StoreName, Arc<dyn ImageStore>>,
) -> Result<(PathBuf, Options), Fault> {
    let path = kit::find(&args.component)?;
    let settings = args.settings.as_deref().map(read_settings).transpose()?.unwrap_or_default();
    let (Grants { http, keys }, key_source) = args.grants.as_deref().map(read_grants).transpose()?.unwrap_or_default();
    let (memory, call_timeout) = (args.memory, args.call_timeout);
    Ok((path, Options { settings, memory, call_timeout, stores, http, keys, key_source, cache: cache() }))
}

/// What is granted, and the etcd that granted keys are read in.
fn read_grants(path: &Path) -> Result<(Grants, Option<Arc<dyn KeySource>>), Fault> {
    let mut table =
        read_table(path, "Give a TOML file with a table [[http]] for each host, or with `keys` and [etcd].")?;
    let source = table.remove("etcd").map(etcd).transpose()?;
    Ok((kit::grants::read(table)?, source))
}

/// From a table like the gateway's.
fn etcd(table: toml::Value) -> Result<Arc<dyn KeySource>, Fault> {
    let fault = |text: String| Fault::failed(text, "Write the table [etcd] as in a gateway's configuration.");
    let config: cluster::Config = table.try_into().map_err(|error| fault(format!("etcd: {error}")))?;
    let mut faults = Vec::new();
    config.validate(&mut faults);
    match faults.is_empty() {
        true => Ok(Arc::new(cluster::Reader::new(config))),
        false => Err(fault(faults.join("; "))),
    }
}

fn read(path: &Path, remedy: &str) -> Result<String, Fault> {
    std::fs::read_to_string(path)
        .map_err(|fault| Fault::failed(format!("could not read {}: {fault}", path.display()), remedy))
}

fn read_settings(path: &Path) -> Result<toml::Table, Fault> {
    read_table(path, "Give a TOML file with the plugin's own table.")
}

fn read_table(path: &Path, remedy: &str) -> Result<toml::Table, Fault> {
    read(path, remedy)?
        .parse()
        .map_err(|fault| Fault::failed(format!("{} is not TOML: {fault}", path.display()), remedy))
}

/// Where compiled code is kept between commands: components of some languages take many seconds to compile.
fn cache() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    folder.map(|folder| folder.join("rsnap/compiled"))
}
