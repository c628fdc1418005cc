//! Components from OCI registries.
//!
//! A component is named by the digest of its manifest, which names the component by its digest: who pins the one has
//! pinned the other, whatever the registry says later. What was pulled is kept, so that a start needs no registry. A tag
//! in a configuration was refused: two gateways of a site would run different plugins after somebody pushed.

mod artifact;
mod blobs;
mod challenge;
mod credentials;
mod reference;
mod session;
mod upload;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::reference::Reference;

use self::artifact::{Artifact, Content};
use self::blobs::Blobs;
use self::reference::Digest;
use self::session::Session;
use super::fault::Fault;
use super::signature::SIGNATURE_MAX;
use super::source::FILE_MAX;
use crate::quantity::Seconds;

const MANIFEST_MAX: u64 = 1 << 20;

/// `[plugins.registry]`: how registries are reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// PEM: who vouches for registries; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// Logins, as `docker login` writes them.
    pub credentials: Option<PathBuf>,
    /// For each request, from its beginning to the end of its answer.
    pub timeout: Seconds,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self { ca: None, credentials: None, timeout: Seconds::new(60) }
    }
}

/// A component as it was pulled.
pub(super) struct Pulled {
    /// With the digest of the manifest.
    pub(super) reference: Reference,
    pub(super) bytes: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

/// What was pulled from registries before, and the way to them.
pub(super) struct Registries<'a> {
    config: &'a RegistryConfig,
    blobs: Blobs,
}

impl<'a> Registries<'a> {
    /// Keeps in `folder` what it pulls; `None`: nowhere.
    pub(super) fn new(config: &'a RegistryConfig, folder: Option<&Path>) -> Self {
        Self { config, blobs: Blobs::new(folder) }
    }

    /// The component, if it was pulled before; only one with a digest is looked for.
    pub(super) fn kept(&self, reference: &Reference) -> Option<Pulled> {
        let digest = reference.digest.clone()?;
        let artifact = Artifact::read(&self.blobs.get(&digest, MANIFEST_MAX)?).ok()?;
        let bytes = self.blobs.get(&artifact.component.digest, FILE_MAX)?;
        let signature = match &artifact.signature {
            Some(signature) => Some(self.blobs.get(&signature.digest, SIGNATURE_MAX)?),
            None => None,
        };
        Some(Pulled { reference: reference.pinned(digest), bytes, signature })
    }

    /// Pulls the component and keeps it. The manifest is kept last: where it is, all of it is.
    pub(super) async fn pull(&self, reference: &Reference) -> Result<Pulled, Fault> {
        let mut session = Session::new(self.config, reference)?;
        let manifest = session.manifest(MANIFEST_MAX).await?;
        let found = Digest::of(&manifest);
        if reference.digest.as_ref().is_some_and(|digest| *digest != found) {
            return Err(session.changed(format!("a manifest with the digest {found} came")));
        }
        let artifact = Artifact::read(&manifest).map_err(|text| not_ours(reference, &text))?;
        let bytes = self.fetch(&mut session, &artifact.component, FILE_MAX).await?;
        let signature = match &artifact.signature {
            Some(signature) => Some(self.fetch(&mut session, signature, SIGNATURE_MAX).await?),
            None => None,
        };
        self.keep(&found, &manifest)?;
        Ok(Pulled { reference: reference.pinned(found), bytes, signature })
    }

    /// Pushes a component with its signature; the reference with its digest. The tag means it when all of it is there.
    pub(super) async fn push(
        &self,
        reference: &Reference,
        component: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<Reference, Fault> {
        let mut session = Session::new(self.config, reference)?;
        let made = artifact::make(component, signature);
        for content in [Some(made.configuration.as_slice()), Some(component), signature].into_iter().flatten() {
            session.send_content(content).await?;
        }
        Ok(reference.pinned(session.send_manifest(made.manifest).await?))
    }

    async fn fetch(&self, session: &mut Session<'_>, content: &Content, most: u64) -> Result<Vec<u8>, Fault> {
        if content.bytes > most {
            return Err(session.changed(format!("{} is larger than {most} bytes", content.digest)));
        }
        let bytes = session.content(content).await?;
        let found = Digest::of(&bytes);
        if found != content.digest {
            return Err(session.changed(format!("what came for {} has the digest {found}", content.digest)));
        }
        self.keep(&found, &bytes)?;
        Ok(bytes)
    }

    fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Fault> {
        self.blobs.put(digest, bytes).map_err(|error| {
            let text = format!("what was pulled cannot be kept: {error}");
            Fault::new(text, "check the room and the rights in the folder `plugins` of the data directory")
        })
    }
}

fn not_ours(reference: &Reference, text: &str) -> Fault {
    let remedy = "push it as an OCI artifact of a component: configuration application/vnd.wasm.config.v0+json, one layer \
                  application/wasm";
    Fault::new(format!("{reference}: {text}"), remedy)
}
