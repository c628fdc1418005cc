//! From core modules to components, as `wasm-tools component new` does it.

use std::fs;
use std::path::Path;

use wit_component::ComponentEncoder;

use super::{Error, Module};

/// Writes a component for each module and removes those that have no module any more.
pub(super) fn write_all(modules: &[Module], folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::io(format!("make {}", folder.display()), &error))?;
    for module in modules {
        write(module, &folder.join(format!("{}.wasm", module.name)))?;
    }
    remove_others(modules, folder)
}

fn write(module: &Module, path: &Path) -> Result<(), Error> {
    let core = fs::read(&module.path).map_err(|error| Error::io(format!("read {}", module.path.display()), &error))?;
    let component = encode(&core)
        .map_err(|error| Error::new(format!("{} does not become a component: {error}", module.path.display())))?;
    if fs::read(path).is_ok_and(|present| present == component) {
        return Ok(());
    }
    fs::write(path, component).map_err(|error| Error::io(format!("write {}", path.display()), &error))
}

fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = ComponentEncoder::default().validate(true).module(core).map_err(|error| format!("{error:#}"))?;
    let mut encoder = encoder;
    encoder.encode().map_err(|error| format!("{error:#}"))
}

fn remove_others(modules: &[Module], folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|error| Error::io(format!("list {}", folder.display()), &error))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let known = |module: &Module| path.file_stem().is_some_and(|stem| stem == module.name.as_str());
        if path.extension().is_some_and(|end| end == "wasm") && !modules.iter().any(known) {
            fs::remove_file(&path).map_err(|error| Error::io(format!("remove {}", path.display()), &error))?;
        }
    }
    Ok(())
}
