//! What can be known of a component without running or compiling a byte of it.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use wasmparser::Parser;
use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

use super::Problem;
use super::metadata::Metadata;
use crate::plugin::Kind;
use crate::plugin::fault::Fault;
use crate::plugin::source::Source;
use crate::plugin::surface::{PACKAGE, Surface};

/// What is in a file.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    pub file: String,
    /// Size of the file.
    pub bytes: u64,
    /// In hexadecimal, as `sha256sum` prints it and the configuration pins it.
    pub sha256: String,
    pub form: Form,
    /// What it was built to be; `None`: no plugin of this gateway.
    pub kind: Option<Kind>,
    /// The version of `rsnap:plugin` that it was built for.
    pub interface: Option<String>,
    /// What it can reach: nothing that is not here.
    pub imports: Vec<Interface>,
    pub exports: Vec<Interface>,
    #[serde(flatten)]
    pub metadata: Metadata,
}

/// A WebAssembly file is one of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    Component,
    /// What compilers write, before `rsnap plugin pack` makes a component of it.
    CoreModule,
}

/// An imported or exported interface with the functions that the component uses or has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    pub name: String,
    pub functions: Vec<String>,
}

/// Reads what is in the file at `path`.
pub fn inspect(path: &Path) -> Result<Inspection, Problem> {
    Ok(read(path)?)
}

/// The world of the component at `path`, as WIT text.
pub fn wit(path: &Path) -> Result<String, Problem> {
    let source = Source::read(path)?;
    Surface::read(&source.bytes)?;
    let (resolve, world) = decode(&source.bytes)?;
    let package = resolve.worlds.get(world).and_then(|world| world.package);
    let package = package.ok_or_else(|| broken(&"its world belongs to no package"))?;
    let others: Vec<_> = resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != package).collect();
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &others).map_err(|error| broken(&error))?;
    Ok(printer.output.to_string())
}

fn read(path: &Path) -> Result<Inspection, Fault> {
    let source = Source::read(path)?;
    let form = if Parser::is_core_wasm(&source.bytes) { Form::CoreModule } else { Form::Component };
    let mut inspection = Inspection {
        file: path.display().to_string(),
        bytes: source.bytes.len() as u64,
        sha256: source.sha256.clone(),
        form,
        kind: None,
        interface: None,
        imports: Vec::new(),
        exports: Vec::new(),
        metadata: Metadata::default(),
    };
    if form == Form::Component {
        // Says in words what is no WebAssembly at all.
        let surface = Surface::read(&source.bytes)?;
        let (resolve, world) = decode(&source.bytes)?;
        if let Some(world) = resolve.worlds.get(world) {
            inspection.imports = world.imports.iter().map(|item| interface(&resolve, item)).collect();
            inspection.exports = world.exports.iter().map(|item| interface(&resolve, item)).collect();
        }
        if let Ok((kind, version)) = surface.kind() {
            (inspection.kind, inspection.interface) = (Some(kind), Some(version.to_string()));
        }
    }
    inspection.metadata = Metadata::read(&source.bytes).map_err(|error| broken(&error))?;
    Ok(inspection)
}

fn decode(bytes: &[u8]) -> Result<(Resolve, WorldId), Fault> {
    match wit_component::decode(bytes) {
        Ok(DecodedWasm::Component(resolve, world)) => Ok((resolve, world)),
        Ok(DecodedWasm::WitPackage(..)) => {
            Err(Fault::new("the file is a WIT package, not a component", "give the path of a component (.wasm)"))
        }
        Err(error) => Err(broken(&format!("{error:#}"))),
    }
}

fn broken(error: &dyn fmt::Display) -> Fault {
    Fault::new(format!("the file is damaged: {error}"), "build or fetch it again")
}

fn interface(resolve: &Resolve, (key, item): (&WorldKey, &WorldItem)) -> Interface {
    let functions = match item {
        WorldItem::Interface { id, .. } => resolve.interfaces.get(*id).map(|interface| &interface.functions),
        WorldItem::Function(_) | WorldItem::Type { .. } => None,
    };
    let functions = functions.into_iter().flat_map(|functions| functions.keys().cloned()).collect();
    Interface { name: resolve.name_world_key(key), functions }
}

impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.functions.as_slice() {
            [] => formatter.write_str(&self.name),
            functions => write!(formatter, "{} ({})", self.name, functions.join(", ")),
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &str| writeln!(formatter, "{name:<12} {value}");
        line("file", &format!("{} ({} bytes)", self.file, self.bytes))?;
        line("sha256", &self.sha256)?;
        line(
            "form",
            match self.form {
                Form::Component => "component",
                Form::CoreModule => "core module; `rsnap plugin pack` makes a component of it",
            },
        )?;
        if let Some(kind) = self.kind {
            line("kind", &format!("{kind} (world {})", kind.world()))?;
        }
        if let Some(version) = &self.interface {
            line("interface", &format!("{PACKAGE}@{version}"))?;
        }
        for import in &self.imports {
            line("import", &import.to_string())?;
        }
        for export in &self.exports {
            line("export", &export.to_string())?;
        }
        if let Some(name) = &self.metadata.name {
            line("name", name)?;
        }
        for (name, text) in &self.metadata.texts {
            line(name, text)?;
        }
        for (name, tools) in &self.metadata.producers {
            line(name, &tools.join(", "))?;
        }
        write!(formatter, "{:<12} {}", "modules", self.metadata.modules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(wat: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.wasm");
        std::fs::write(&path, wat::parse_str(wat).unwrap()).unwrap();
        (folder, path)
    }

    #[test]
    fn a_component_shows_what_it_reaches_and_has() {
        let (_folder, path) = file(
            "(component
               (import \"rsnap:plugin/clock@0.1.0\" (instance (export \"now\" (func (result u64)))))
               (instance $i) (export \"rsnap:plugin/policy@0.1.0\" (instance $i)))",
        );
        let found = inspect(&path).unwrap();
        assert_eq!((found.kind, found.interface.as_deref()), (Some(Kind::Policy), Some("0.1.0")));
        assert_eq!(found.imports[0].to_string(), "rsnap:plugin/clock@0.1.0 (now)");
        assert_eq!(found.exports[0].to_string(), "rsnap:plugin/policy@0.1.0");
        assert!(found.to_string().contains("kind         policy (world chain-policy)"), "{found}");
        let text = wit(&path).unwrap();
        assert!(text.contains("import rsnap:plugin/clock@0.1.0;") && text.contains("now: func() -> u64;"), "{text}");
    }

    #[test]
    fn what_is_no_plugin_is_shown_for_what_it_is() {
        let (_folder, module) = file("(module $m)");
        let found = inspect(&module).unwrap();
        assert_eq!((found.form, found.kind, found.metadata.name.as_deref()), (Form::CoreModule, None, Some("m")));
        assert!(found.to_string().contains("rsnap plugin pack"), "{found}");
        let (_folder, other) = file("(component (import \"wasi:cli/run@0.2.0\" (instance)))");
        let found = inspect(&other).unwrap();
        assert_eq!((found.kind, found.imports[0].name.as_str()), (None, "wasi:cli/run@0.2.0"));
    }

    #[test]
    fn noise_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noise");
        std::fs::write(&path, "hello").unwrap();
        assert_eq!(inspect(&path).unwrap_err().fault, "the file is not WebAssembly");
        std::fs::write(&path, b"\0asm\x0d\0\x01\0\xff\xff\xff").unwrap();
        assert!(inspect(&path).unwrap_err().fault.starts_with("the file is damaged"));
        assert!(wit(&folder.path().join("missing")).unwrap_err().fault.contains("cannot be read"));
    }
}
