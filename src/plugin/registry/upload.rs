//! Sending to a registry: each content in one piece, then the manifest that names them.
//!
//! Whoever is cut in between leaves contents that nothing names, which registries remove by themselves; a tag never means
//! half an artifact.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{Method, StatusCode};
use reqwest::Url;

use super::artifact;
use super::reference::Digest;
use super::session::{CHANGED, Session, UNREACHABLE};
use crate::plugin::fault::Fault;

impl Session<'_> {
    /// Sends a content.
    pub(super) async fn send_content(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let digest = Digest::of(bytes);
        let begun = self.ask(self.request(Method::POST, self.url("blobs/uploads/")?)).await?;
        let begun = self.expect(begun, StatusCode::ACCEPTED).await?;
        let place = begun.headers().get(LOCATION).and_then(|place| begun.url().join(place.to_str().ok()?).ok());
        let nowhere = || Fault::new(self.says("the registry names no place for what is sent"), UNREACHABLE);
        let mut place = place.ok_or_else(nowhere)?;
        place.query_pairs_mut().append_pair("digest", &digest.to_string());
        let put = self.request(Method::PUT, place).header(CONTENT_TYPE, "application/octet-stream");
        let answer = self.ask(put.body(bytes.to_vec())).await?;
        self.expect(answer, StatusCode::CREATED).await.map(drop)
    }

    /// Sends the manifest under the reference's tag. From here on the artifact is there.
    pub(super) async fn send_manifest(&mut self, manifest: Vec<u8>) -> Result<Digest, Fault> {
        let digest = Digest::of(&manifest);
        let url = self.url(&format!("manifests/{}", self.reference().name()))?;
        let put = self.request(Method::PUT, url).header(CONTENT_TYPE, artifact::ACCEPT);
        let answer = self.ask(put.body(manifest)).await?;
        let answer = self.expect(answer, StatusCode::CREATED).await?;
        let told = answer.headers().get("docker-content-digest").and_then(|told| told.to_str().ok());
        match told {
            Some(told) if told != digest.to_string() => {
                Err(Fault::new(self.says(format!("the registry has made {told} of the manifest {digest}")), CHANGED))
            }
            _ => Ok(digest),
        }
    }

    fn url(&self, path: &str) -> Result<Url, Fault> {
        let reference = self.reference();
        let text = format!("https://{}/v2/{}/{path}", reference.registry, reference.repository);
        text.parse().map_err(|error| Fault::new(self.says(format!("it makes no address: {error}")), UNREACHABLE))
    }
}
