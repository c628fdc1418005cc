//! From the arguments to a loaded component.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::Fault;
use crate::cli::args::LoadArgs;
use crate::id::StoreName;
use crate::image::ImageStore;
use crate::plugin::HostGrant;
use crate::plugin::kit::{self, Options};

/// The component's file, and how it is to be loaded.
pub(super) fn options(
    args: &LoadArgs,
    stores: HashMap<StoreName, Arc<dyn ImageStore>>,
) -> Result<(PathBuf, Options), Fault> {
    let path = kit::find(&args.component)?;
    let settings = args.settings.as_deref().map(read_settings).transpose()?.unwrap_or_default();
    let http = args.grants.as_deref().map(read_grants).transpose()?.unwrap_or_default();
    let (memory, call_timeout) = (args.memory, args.call_timeout);
    Ok((path, Options { settings, memory, call_timeout, stores, http, cache: cache() }))
}

fn read_grants(path: &Path) -> Result<Vec<HostGrant>, Fault> {
    Ok(kit::grants::read(&read(path, "Give a TOML file with a table [[http]] for each host.")?)?)
}

fn read(path: &Path, remedy: &str) -> Result<String, Fault> {
    std::fs::read_to_string(path)
        .map_err(|fault| Fault::failed(format!("could not read {}: {fault}", path.display()), remedy))
}

fn read_settings(path: &Path) -> Result<toml::Table, Fault> {
    let remedy = "Give a TOML file with the plugin's own table.";
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
