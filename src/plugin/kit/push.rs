//! A component into a registry, as `pull` and a gateway find it there.

use std::path::PathBuf;

use serde::Serialize;

use super::Problem;
use crate::plugin::fault::Fault;
use crate::plugin::registry::{Reference, Registries};
use crate::plugin::source::{self, Source};
use crate::plugin::surface::Surface;
use crate::plugin::{Kind, RegistryConfig};

/// What is pushed, and where to.
#[derive(Debug)]
pub struct Push {
    pub file: PathBuf,
    /// `oci://registry/repository`, perhaps with a tag.
    pub reference: String,
    pub registry: RegistryConfig,
}

/// What is in the registry now.
#[derive(Debug, Serialize)]
pub struct Stored {
    /// With the digest, as it goes into a configuration.
    pub reference: String,
    /// As it was pushed.
    pub tagged: String,
    pub kind: Kind,
    pub bytes: usize,
    pub sha256: String,
    /// Whether a signature was pushed with it.
    pub signed: bool,
}

impl Push {
    /// Pushes it, with the signature that lies beside it, if there is one. What no gateway would load is refused.
    pub async fn run(&self) -> Result<Stored, Problem> {
        let remedy = "write oci://registry/repository:tag";
        let named = |text: String| Fault::new(format!("{:?} is no place for a plugin: {text}", self.reference), remedy);
        let reference: Reference = self.reference.parse().map_err(named)?;
        if reference.digest.is_some() {
            return Err(named("a digest is what comes of pushing it".to_owned()).into());
        }
        let source = Source::read(&self.file)?;
        let (kind, _) = Surface::read(&source.bytes)?.kind()?;
        let signature = source::signature(&self.file)?;
        let registries = Registries::new(&self.registry, None);
        let pinned = registries.push(&reference, &source.bytes, signature.as_deref()).await?;
        Ok(Stored {
            reference: pinned.to_string(),
            tagged: reference.to_string(),
            kind,
            bytes: source.bytes.len(),
            sha256: source.sha256,
            signed: signature.is_some(),
        })
    }
}
