//! A component from a registry, into a file and into the folder that a gateway starts from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Problem;
use crate::plugin::fault::Fault;
use crate::plugin::registry::{Pulled, Reference, Registries};
use crate::plugin::source::Source;
use crate::plugin::surface::Surface;
use crate::plugin::{Kind, RegistryConfig, SignaturesConfig};

/// What is pulled, and how.
#[derive(Debug)]
pub struct Pull {
    /// `oci://registry/repository`, with a tag or a digest.
    pub reference: String,
    /// The file to write; `None`: one named after the repository, here.
    pub output: Option<PathBuf>,
    /// Folder of pulled components of a gateway on this machine.
    pub keep: Option<PathBuf>,
    pub registry: RegistryConfig,
    pub signatures: SignaturesConfig,
}

/// What was pulled.
#[derive(Debug, Serialize)]
pub struct Fetched {
    /// With its digest, as it goes into a configuration.
    pub reference: String,
    pub file: PathBuf,
    pub kind: Kind,
    pub bytes: usize,
    pub sha256: String,
    /// Whether the artifact has a signature.
    pub signed: bool,
    /// Whether it is of a trusted key.
    pub trusted: bool,
}

impl Pull {
    /// Pulls it. Nothing is written unless all of it is right.
    pub async fn run(&self) -> Result<Fetched, Problem> {
        let reference: Reference = self.reference.parse().map_err(|text| {
            Fault::new(
                format!("{:?} is no reference: {text}", self.reference),
                "write oci://registry/repository:tag, or @sha256:… instead of the tag",
            )
        })?;
        let mut faults = Vec::new();
        self.signatures.validate(&mut faults);
        if let Some(fault) = faults.into_iter().next() {
            return Err(Fault::new(fault, "correct --public-key").into());
        }
        let registries = Registries::new(&self.registry, self.keep.as_deref());
        let Pulled { reference, bytes, signature } = registries.pull(&reference).await?;
        self.signatures.check(&reference.to_string(), &bytes, signature.as_deref())?;
        let file = self.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.wasm", reference.stem())));
        let source = Source::new(&file, bytes);
        let (kind, _) = Surface::read(&source.bytes)?.kind()?;
        if let Some(signature) = &signature {
            let mut beside = file.clone().into_os_string();
            beside.push(".minisig");
            write(Path::new(&beside), signature)?;
        }
        write(&file, &source.bytes)?;
        Ok(Fetched {
            reference: reference.to_string(),
            kind,
            bytes: source.bytes.len(),
            sha256: source.sha256,
            signed: signature.is_some(),
            trusted: signature.is_some() && self.signatures.matter(),
            file,
        })
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let fresh = path.with_extension("new");
    let written = fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, path));
    written.map_err(|error: io::Error| {
        Fault::new(format!("{} cannot be written: {error}", path.display()), "choose another file with --output")
    })
}
