//! Tries a component as the gateway's start would, without a gateway: for whoever writes plugins.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::{Options, Problem};
use crate::buffer::BufferPool;
use crate::plugin::account::Account;
use crate::plugin::bindings::policy::ChainPolicy;
use crate::plugin::bindings::resolver::SiteResolver;
use crate::plugin::bindings::writer::BackendWriter;
use crate::plugin::fault::Fault;
use crate::plugin::load::{Context, Loader, name};
use crate::plugin::source::Source;
use crate::plugin::surface::Surface;
use crate::plugin::{Kind, LoadError};
use crate::quantity::Bytes;

/// Components above this size contain the runtime of their language.
const LARGE: u64 = 4 << 20;

/// What is known of a component.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub file: String,
    /// Size of the file.
    pub bytes: u64,
    /// In hexadecimal, as `sha256sum` prints it and the configuration pins it.
    pub sha256: Option<String>,
    pub kind: Option<Kind>,
    /// The version of `rsnap:plugin` that it was built for.
    pub interface: Option<String>,
    /// What it can reach.
    pub imports: Vec<String>,
    /// Bytes of an instance that has read its settings.
    pub memory: Option<u64>,
    /// What an operator has to know or to do before a gateway uses it.
    pub notes: Vec<String>,
    /// Why a gateway would not start with it; `None`: it would.
    pub problem: Option<Problem>,
}

impl Report {
    /// Whether a gateway would start with it, given the stores that it names.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problem.is_none()
    }
}

/// Checks the component in `path`: that it is of `kind` (default: what it says it is), fits its world, and accepts
/// the settings. Runs its `configure`, with the default limits; nothing is granted to it.
pub async fn check(path: &Path, kind: Option<Kind>, options: Options) -> Report {
    let mut report = Report { file: path.display().to_string(), ..Report::default() };
    if let Err(fault) = inspect(path, kind, options, &mut report).await {
        report.problem = Some(fault.into());
    }
    report
}

async fn inspect(path: &Path, kind: Option<Kind>, options: Options, report: &mut Report) -> Result<(), Fault> {
    let source = Source::read(path)?;
    report.bytes = source.bytes.len() as u64;
    report.sha256 = Some(source.sha256.clone());
    let surface = Surface::read(&source.bytes)?;
    report.imports = surface.imports.iter().map(ToString::to_string).collect();
    let (found, version) = surface.kind()?;
    report.kind = Some(found);
    report.interface = Some(version.to_string());
    let kind = kind.unwrap_or(found);
    surface.fits(kind)?;
    report.notes.extend(grants(kind, &surface));
    report.notes.extend(size(report.bytes));
    let limit = options.config(path).memory;
    let memory = try_out(kind, source, options).await?;
    report.memory = Some(memory);
    report.notes.extend(memory_note(kind, Bytes(memory), limit));
    Ok(())
}

/// What it imports against what it is granted.
fn grants(kind: Kind, surface: &Surface) -> Option<String> {
    match (kind, surface.wants_stores()) {
        (Kind::Writer, true) => {
            Some("it opens images: grant it stores under [plugins.writer], such as stores = [\"main\"]".to_owned())
        }
        (Kind::Writer, false) => {
            Some("it cannot open an image, so nothing can be stored with it: import image-store".to_owned())
        }
        (Kind::Policy | Kind::Resolver, _) => None,
    }
}

fn size(bytes: u64) -> Option<String> {
    let text = "it is large: the first start with it compiles it, which takes seconds; the result is kept";
    (bytes > LARGE).then(|| text.to_owned())
}

fn memory_note(kind: Kind, used: Bytes, limit: Bytes) -> Option<String> {
    let table = kind.table();
    let text = format!(
        "an instance takes {used} of at most {limit} before its first call: raise the key memory under [plugins.{table}]"
    );
    (used.0 > limit.0 / 2).then_some(text)
}

/// Gives the bytes that an instance takes.
async fn try_out(kind: Kind, source: Source, options: Options) -> Result<u64, Fault> {
    let account = Arc::<Account>::default();
    let config = options.config(&source.path);
    let (stores, cache) = (HashMap::new(), options.cache);
    let context =
        Context { stores, pool: BufferPool::new(0), depth: 0, cache, path: Vec::new(), pulled: None, keys: None };
    let unready = |error: LoadError| Fault::new(error.fault, error.remedy);
    let loader = Loader::start(context, config.memory.0).map_err(unready)?;
    let name = name(&config.component);
    match kind {
        Kind::Writer => loader.ready::<BackendWriter>(&name, &config, source, Arc::clone(&account)).await.map(drop),
        Kind::Policy => loader.ready::<ChainPolicy>(&name, &config, source, Arc::clone(&account)).await.map(drop),
        Kind::Resolver => loader.ready::<SiteResolver>(&name, &config, source, Arc::clone(&account)).await.map(drop),
    }?;
    Ok(account.usage().memory_peak_bytes)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "file       {} ({} bytes)", self.file, self.bytes)?;
        let line = |formatter: &mut fmt::Formatter<'_>, name: &str, value: Option<String>| match value {
            Some(value) => writeln!(formatter, "{name:<10} {value}"),
            None => Ok(()),
        };
        line(formatter, "sha256", self.sha256.clone())?;
        line(formatter, "kind", self.kind.map(|kind| format!("{kind} (world {})", kind.world())))?;
        line(formatter, "interface", self.interface.clone().map(|version| format!("rsnap:plugin@{version}")))?;
        line(formatter, "imports", (!self.imports.is_empty()).then(|| self.imports.join(", ")))?;
        line(formatter, "memory", self.memory.map(|memory| format!("{} in use before the first call", Bytes(memory))))?;
        for note in &self.notes {
            line(formatter, "note", Some(note.clone()))?;
        }
        match &self.problem {
            None => write!(formatter, "result     good"),
            Some(problem) => write!(formatter, "result     {problem}"),
        }
    }
}
