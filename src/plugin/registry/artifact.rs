//! What a manifest says: where the component is, and its signature.
//!
//! The artifact is that of the Wasm working group of the CNCF: a manifest with the configuration of a component and one
//! layer, the component. A signature lies in a second layer of a type of its own, because not every registry knows
//! referrers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::reference::Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIGURATION: &str = "application/vnd.wasm.config.v0+json";
const COMPONENT: &str = "application/wasm";
const SIGNATURE: &str = "application/vnd.rsnap.minisig";

/// The type of manifests that are asked for.
pub(super) const ACCEPT: &str = MANIFEST;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    media_type: Option<String>,
    config: Written,
    layers: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: String,
    digest: String,
    size: u64,
}

/// A content in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

/// A component, and its signature if it has one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Artifact {
    pub(super) component: Content,
    pub(super) signature: Option<Content>,
}

impl Artifact {
    /// Reads a manifest; the error says what is wrong with it.
    pub(super) fn read(manifest: &[u8]) -> Result<Self, String> {
        let Manifest { media_type, config, layers } =
            serde_json::from_slice(manifest).map_err(|error| format!("its manifest cannot be read: {error}"))?;
        if media_type.as_deref().is_some_and(|found| found != MANIFEST) {
            return Err(format!("it is no artifact: its manifest is of the type {}", media_type.unwrap_or_default()));
        }
        if config.media_type != CONFIGURATION {
            return Err(format!("it is no component: its configuration is of the type {}", config.media_type));
        }
        let only = |wanted: &str| {
            let mut found = layers.iter().filter(|layer| layer.media_type == wanted);
            match (found.next(), found.next()) {
                (Some(_), Some(_)) => Err(format!("it has several layers of the type {wanted}")),
                (found, _) => found.map(content).transpose(),
            }
        };
        let component = only(COMPONENT)?.ok_or_else(|| format!("it has no layer of the type {COMPONENT}"))?;
        Ok(Self { component, signature: only(SIGNATURE)? })
    }
}

/// An artifact that is made.
pub(super) struct Made {
    pub(super) configuration: Vec<u8>,
    pub(super) manifest: Vec<u8>,
}

/// The manifest and the configuration of a component. The same for the same content, so that a second push changes
/// nothing: there is no time in it.
pub(super) fn make(component: &[u8], signature: Option<&[u8]>) -> Made {
    let layers: Vec<_> = [Some((COMPONENT, component)), signature.map(|signature| (SIGNATURE, signature))]
        .into_iter()
        .flatten()
        .map(|(kind, bytes)| described(kind, bytes))
        .collect();
    let digests: Vec<_> = layers.iter().filter_map(|layer| layer.get("digest")).collect();
    // The system that the working group has for components; ours import nothing of it.
    let configuration = json!({ "architecture": "wasm", "os": "wasip2", "layerDigests": digests }).to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(CONFIGURATION, configuration.as_bytes()),
        "layers": layers,
    });
    Made { configuration: configuration.into_bytes(), manifest: manifest.to_string().into_bytes() }
}

fn described(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}

fn content(written: &Written) -> Result<Content, String> {
    Ok(Content { digest: written.digest.parse()?, bytes: written.size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: &str, layers: &[(&str, char)]) -> String {
        let layer = |(kind, digit): &(&str, char)| {
            let digest = format!("sha256:{}", digit.to_string().repeat(64));
            serde_json::json!({ "mediaType": kind, "digest": digest, "size": 7 })
        };
        let layers: Vec<_> = layers.iter().map(layer).collect();
        let config = serde_json::json!({ "mediaType": config, "digest": "sha256:-", "size": 2 });
        serde_json::json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers }).to_string()
    }

    fn fault(manifest: &str) -> String {
        Artifact::read(manifest.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_component_may_come_with_its_signature() {
        let read = |layers| Artifact::read(manifest(CONFIGURATION, layers).as_bytes()).unwrap();
        let alone = read(&[(COMPONENT, 'a')]);
        assert_eq!((alone.component.digest.hex(), alone.component.bytes), ("a".repeat(64).as_str(), 7));
        assert_eq!(alone.signature, None);
        let signed = read(&[(SIGNATURE, 'b'), ("text/plain", 'c'), (COMPONENT, 'a')]);
        assert_eq!(signed.signature.unwrap().digest.hex(), "b".repeat(64));
    }

    #[test]
    fn what_is_made_is_read_and_the_same_each_time() {
        for signature in [None, Some(b"signed".as_slice())] {
            let made = make(b"component", signature);
            let read = Artifact::read(&made.manifest).unwrap();
            assert_eq!((read.component.digest, read.component.bytes), (Digest::of(b"component"), 9));
            let found = read.signature.map(|found| found.digest);
            assert_eq!(found, signature.map(Digest::of));
            assert_eq!(make(b"component", signature).manifest, made.manifest);
        }
    }

    #[test]
    fn other_artifacts_are_refused() {
        let image = "application/vnd.oci.image.config.v1+json";
        assert!(fault(&manifest(image, &[(COMPONENT, 'a')])).contains("no component"));
        assert!(fault(&manifest(CONFIGURATION, &[(image, 'a')])).contains("no layer of the type application/wasm"));
        assert!(fault(&manifest(CONFIGURATION, &[(COMPONENT, 'a'), (COMPONENT, 'b')])).contains("several layers"));
        assert!(fault(&manifest(CONFIGURATION, &[(COMPONENT, 'x')])).contains("a digest is"));
        let index = manifest(CONFIGURATION, &[]).replace(MANIFEST, "application/vnd.oci.image.index.v1+json");
        assert!(fault(&index).contains("no artifact"));
        assert!(fault("{").contains("cannot be read"));
    }
}
