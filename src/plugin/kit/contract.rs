//! The contract between gateway and plugins as the tools read it: the files of `wit/`, which are in the program.

use std::path::Path;

use wit_parser::{Resolve, SourceMap, WorldId};

use crate::plugin::Kind;
use crate::plugin::surface::{PACKAGE, VERSION};

/// The files of the package.
pub(super) const FILES: [(&str, &str); 5] = [
    ("types.wit", include_str!("../../../wit/rsnap-plugin/types.wit")),
    ("host.wit", include_str!("../../../wit/rsnap-plugin/host.wit")),
    ("http.wit", include_str!("../../../wit/rsnap-plugin/http.wit")),
    ("keys.wit", include_str!("../../../wit/rsnap-plugin/keys.wit")),
    ("worlds.wit", include_str!("../../../wit/rsnap-plugin/worlds.wit")),
];

/// The full name of an interface.
pub(super) fn interface(name: &str) -> String {
    format!("{PACKAGE}/{name}@{VERSION}")
}

/// The world of this kind, as this gateway knows it.
pub(super) fn world(kind: Kind) -> Result<(Resolve, WorldId), String> {
    let mut sources = SourceMap::default();
    for (name, text) in FILES {
        sources.push_str(name, text);
    }
    select(sources, kind)
}

/// The world of this kind in the WIT files of a folder.
pub(super) fn world_in(folder: &Path, kind: Kind) -> Result<(Resolve, WorldId), String> {
    let mut sources = SourceMap::default();
    sources.push_dir(folder).map_err(|error| format!("{error:#}"))?;
    select(sources, kind)
}

fn select(sources: SourceMap, kind: Kind) -> Result<(Resolve, WorldId), String> {
    let package = sources.parse().map_err(|(_, error)| error.to_string())?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(package).map_err(|error| error.to_string())?;
    let world = resolve.select_world(&[package], Some(kind.world())).map_err(|error| format!("{error:#}"))?;
    Ok((resolve, world))
}
