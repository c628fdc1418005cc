//! From what a compiler writes to a component, as `wasm-tools component new` does it, so that plugins need no other tool.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::{Problem, contract};
use crate::plugin::Kind;
use crate::plugin::fault::Fault;
use crate::plugin::source::Source;
use crate::plugin::surface::Surface;

/// How the type of a module's world is called in the module.
const TYPE_SECTION: &str = "component-type";

/// What is to become of a module.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// The kind of plugin, for modules that do not say it themselves (those from C).
    pub kind: Option<Kind>,
    /// The folder with the contract that the module was compiled for; default: this gateway's.
    pub wit: Option<PathBuf>,
    pub name: Option<String>,
    pub version: Option<String>,
    pub description: Option<String>,
}

impl Package {
    /// Makes a component of the module at `path`, and writes it to `output`. What is a component already only gets its
    /// name, version and description.
    pub fn pack(&self, path: &Path, output: &Path) -> Result<(), Problem> {
        let mut bytes = Source::read(path)?.bytes;
        if Parser::is_core_wasm(&bytes) {
            self.add_type(&mut bytes)?;
            bytes = encode(&bytes)?;
        }
        Surface::read(&bytes)?.kind()?;
        self.describe(&mut bytes);
        Ok(write(output, &bytes)?)
    }

    fn add_type(&self, module: &mut Vec<u8>) -> Result<(), Fault> {
        if has_type(module) {
            return Ok(());
        }
        let kind = self.kind.ok_or_else(|| {
            Fault::new(
                "the module does not say which kind of plugin it is",
                "say it with --kind, such as --kind policy",
            )
        })?;
        let world = match &self.wit {
            Some(folder) => contract::world_in(folder, kind),
            None => contract::world(kind),
        };
        let no_contract = |error| {
            Fault::new(format!("the contract cannot be read: {error}"), "give the folder of the WIT files with --wit")
        };
        let (resolve, world) = world.map_err(no_contract)?;
        embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| no_contract(format!("{error:#}")))
    }

    /// The sections that `rsnap plugin inspect` shows, and other tools too.
    fn describe(&self, component: &mut Vec<u8>) {
        if let Some(name) = &self.name {
            let name = sized(name.as_bytes());
            // The subsection of the component's own name has the number 0.
            add_section(component, "component-name", &[&[0][..], &sized(&name)].concat());
        }
        for (section, text) in [("version", &self.version), ("description", &self.description)] {
            if let Some(text) = text {
                add_section(component, section, text.as_bytes());
            }
        }
    }
}

fn has_type(module: &[u8]) -> bool {
    let payloads = Parser::new(0).parse_all(module).filter_map(Result::ok);
    let mut sections = payloads.filter_map(|payload| match payload {
        Payload::CustomSection(section) => Some(section.name().to_owned()),
        _ => None,
    });
    sections.any(|name| name.starts_with(TYPE_SECTION))
}

fn encode(module: &[u8]) -> Result<Vec<u8>, Fault> {
    let unfit = |text: String| {
        let remedy = if text.contains("wasi") {
            "build it without WASI: no standard input and output, no files, no clock but the gateway's"
        } else {
            "export all functions of its world, and import nothing else (see the WIT files)"
        };
        Fault::new(format!("the module does not become a component: {text}"), remedy)
    };
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let encoded = encoder.and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| unfit(format!("{error:#}")))
}

/// Adds a custom section at the end.
fn add_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let content = [sized(name.as_bytes()), data.to_vec()].concat();
    component.push(0);
    component.extend(sized(&content));
}

/// The bytes with their number before them, as WebAssembly writes it (LEB128).
fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut sized = Vec::with_capacity(bytes.len() + 5);
    let mut rest = bytes.len();
    while rest >= 0x80 {
        sized.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    sized.push(rest as u8);
    sized.extend_from_slice(bytes);
    sized
}

/// Never leaves half a component under its name.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let unwritable = |error: std::io::Error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound => "make its folder first",
            _ => "check the path, its permissions and the free space",
        };
        Fault::new(format!("could not write {}: {error}", path.display()), remedy)
    };
    let fresh = path.with_extension("wasm.new");
    fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, path)).map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::kit::inspect;

    /// The smallest policy that fits its world.
    const POLICY: &str = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 8)
        (func (export "rsnap:plugin/policy@0.1.2#configure") (result i32) i32.const 0)
        (func (export "rsnap:plugin/policy@0.1.2#decide") (param i32) (result i32) i32.const 0))"#;

    fn module(folder: &Path, wat: &str) -> PathBuf {
        let path = folder.join("core.wasm");
        fs::write(&path, wat::parse_str(wat).unwrap()).unwrap();
        path
    }

    fn policy() -> Package {
        let text = |text: &str| Some(text.to_owned());
        let (name, version) = (text("mine"), text("1.2.3"));
        Package { kind: Some(Kind::Policy), name, version, description: text(&"x".repeat(300)), wit: None }
    }

    #[test]
    fn a_module_becomes_a_component_with_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let (core, output) = (module(folder.path(), POLICY), folder.path().join("mine.wasm"));
        policy().pack(&core, &output).unwrap();
        let found = inspect::inspect(&output).unwrap();
        assert_eq!((found.kind, found.metadata.name.as_deref()), (Some(Kind::Policy), Some("mine")));
        assert_eq!(
            (found.metadata.texts["version"].as_str(), found.metadata.texts["description"].len()),
            ("1.2.3", 300)
        );
        let again = folder.path().join("again.wasm");
        Package { version: Some("2.0.0".to_owned()), ..Package::default() }.pack(&output, &again).unwrap();
        assert_eq!(inspect::inspect(&again).unwrap().metadata.texts["version"], "2.0.0");
    }

    #[test]
    fn the_contract_can_be_that_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let core = module(folder.path(), POLICY);
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit/rsnap-plugin");
        let output = folder.path().join("mine.wasm");
        Package { wit: Some(wit), ..policy() }.pack(&core, &output).unwrap();
        assert!(output.is_file());
        let fault = Package { wit: Some(folder.path().join("nothing")), ..policy() }.pack(&core, &output).unwrap_err();
        assert!(fault.remedy.contains("--wit"), "{fault}");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("mine.wasm");
        let refused = |wat: &str, package: Package| package.pack(&module(folder.path(), wat), &output).unwrap_err();
        assert!(refused(POLICY, Package::default()).remedy.contains("--kind policy"));
        assert!(refused("(module)", policy()).remedy.contains("export all functions"));
        let wasi = POLICY.replacen(
            "(module",
            "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32)))",
            1,
        );
        assert!(refused(&wasi, policy()).remedy.contains("without WASI"));
        assert!(!output.exists());
    }

    #[test]
    fn lengths_are_written_as_webassembly_reads_them() {
        assert_eq!(sized(&[0; 127])[0], 127);
        assert_eq!(sized(&[0; 128])[..2], [0x80, 0x01]);
        assert_eq!(sized(&[0; 624])[..2], [0xf0, 0x04]);
    }
}
