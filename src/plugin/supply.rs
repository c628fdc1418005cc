//! Where components come from: a folder, a file, or a registry, and what is asked of each before it is looked at.

use std::path::{Path, PathBuf};

use super::config::{Config, PluginConfig};
use super::fault::Fault;
use super::registry::{Pulled, Reference, Registries, RegistryConfig};
use super::signature::SignaturesConfig;
use super::source::{self, Source};

/// The way to components.
#[derive(Debug, Clone, Default)]
pub(super) struct Supply {
    /// Folders in which names are looked up.
    path: Vec<PathBuf>,
    /// Where pulled components are kept; `None`: none can be.
    kept: Option<PathBuf>,
    registry: RegistryConfig,
    signatures: SignaturesConfig,
}

impl Supply {
    pub(super) fn of(config: &Config, path: &[PathBuf], kept: Option<&Path>) -> Self {
        let (registry, signatures) = (config.registry.clone(), config.signatures.clone());
        Self { path: path.to_vec(), kept: kept.map(Path::to_owned), registry, signatures }
    }

    /// Files and folders alone, signed or not.
    pub(super) fn local(path: &[PathBuf]) -> Self {
        Self { path: path.to_vec(), ..Self::default() }
    }

    /// The component that `config` names, pulled if it was not pulled before.
    pub(super) async fn fetch(&self, config: &PluginConfig) -> Result<Source, Fault> {
        if let Some(reference) = reference(config)? {
            let registries = self.registries()?;
            if registries.kept(&reference).is_none() {
                tracing::info!(%reference, "pull a plugin");
                registries.pull(&reference).await?;
            }
        }
        let found = self.find(config)?;
        found.ok_or_else(|| Fault::new("what was pulled is gone again", "check the disk of the data directory"))
    }

    /// The component that `config` names, if it is on this machine.
    pub(super) fn find(&self, config: &PluginConfig) -> Result<Option<Source>, Fault> {
        let (source, signature) = match reference(config)? {
            Some(reference) => match self.registries()?.kept(&reference) {
                None => return Ok(None),
                Some(Pulled { reference, bytes, signature }) => {
                    (Source::new(Path::new(&reference.to_string()), bytes), signature)
                }
            },
            None => {
                let path = source::locate(&config.component, &self.path)?;
                let signature = if self.signatures.matter() { source::signature(&path)? } else { None };
                (Source::read(&path)?, signature)
            }
        };
        source.check_pin(config.sha256.as_deref())?;
        self.signatures.check(&source.path.display().to_string(), &source.bytes, signature.as_deref())?;
        Ok(Some(source))
    }

    fn registries(&self) -> Result<Registries<'_>, Fault> {
        let folder = self.kept.as_deref().ok_or_else(|| {
            Fault::new("there is no folder for components from registries", "pull it with `rsnap plugin pull` before")
        })?;
        Ok(Registries::new(&self.registry, Some(folder)))
    }
}

/// The reference that is meant, which must be pinned.
fn reference(config: &PluginConfig) -> Result<Option<Reference>, Fault> {
    if !Reference::is_meant(&config.component) {
        return Ok(None);
    }
    let reference: Reference = config.component.parse().map_err(|text| {
        let remedy = "write oci://registry/repository@sha256:…";
        Fault::new(format!("{:?} is no reference: {text}", config.component), remedy)
    })?;
    if reference.digest.is_none() {
        let remedy = format!("pin it: `rsnap plugin pull {reference}` tells its digest");
        return Err(Fault::new("a tag may mean another component tomorrow", remedy));
    }
    Ok(Some(reference))
}
