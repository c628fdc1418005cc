//! Builds the guests: every crate of `plugins/` and of `tests/fixtures/` that makes a `cdylib` becomes a component.
//!
//! Guests have another target, so they are workspaces of their own with target directories of their own: another
//! compiler in the gateway's directory would throw away all that is built there. The components are compared before
//! they are written, so that a file's time tells when its content changed. Committed binaries were refused: nobody
//! can review them.

mod component;
mod sysroot;
mod toolchain;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use toolchain::Toolchain;

/// The target of all guests: no operating system, so no ambient authority.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Why the guests could not be built; the text names the remedy.
#[derive(Debug)]
pub(crate) struct Error(String);

impl Error {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn io(action: impl fmt::Display, source: &std::io::Error) -> Self {
        Self(format!("could not {action}: {source}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// The folders with the components.
#[derive(Debug)]
pub(crate) struct Built {
    /// `plugins` in the target directory: what is shipped.
    pub(crate) plugins: PathBuf,
    /// `fixtures` in the target directory: guests of the tests, good and hostile.
    pub(crate) fixtures: PathBuf,
}

/// Builds all guests of the project in `root`. Takes well under a second when nothing changed; the first time on a
/// machine it may install packages and build the standard library (both are announced on standard error).
pub(crate) fn build(root: &Path) -> Result<Built, Error> {
    let toolchain = toolchain::find()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    let plugins = workspace(&toolchain, &root.join("plugins"), &target, "plugins")?;
    let fixtures = workspace(&toolchain, &root.join("tests/fixtures"), &target, "fixtures")?;
    Ok(Built { plugins, fixtures })
}

/// Makes a command that runs cargo for the guests' target find a compiler, a library and a linker for it.
pub(crate) fn use_toolchain(command: &mut Command) -> Result<(), Error> {
    toolchain::find()?.apply(command);
    Ok(())
}

fn workspace(toolchain: &Toolchain, source: &Path, target: &Path, name: &str) -> Result<PathBuf, Error> {
    let modules = compile(toolchain, source, &target.join("guests").join(name))?;
    let folder = target.join(name);
    component::write_all(&modules, &folder)?;
    Ok(folder)
}

/// A compiled core module and the name that its component gets.
struct Module {
    name: String,
    path: PathBuf,
}

fn compile(toolchain: &Toolchain, source: &Path, target: &Path) -> Result<Vec<Module>, Error> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(source).args(["build", "--quiet", "--release", "--workspace", "--target", TARGET]);
    cargo.arg("--message-format=json-render-diagnostics").env("CARGO_TARGET_DIR", target);
    toolchain.apply(&mut cargo);
    let output = cargo.stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|error| Error::io("run cargo", &error))?;
    if !output.status.success() {
        return Err(Error::new(format!("the guests in {} do not compile; see above", source.display())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(module).collect())
}

/// The component is named after its crate's folder.
fn module(line: &str) -> Option<Module> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let path = message.get("filenames")?.as_array()?.iter().filter_map(|file| file.as_str());
    let path = path.map(PathBuf::from).find(|file| file.extension().is_some_and(|end| end == "wasm"))?;
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    Some(Module { name: manifest.parent()?.file_name()?.to_str()?.to_owned(), path })
}
