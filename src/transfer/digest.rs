//! Digests of the body, computed while it passes.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256, SHA512};

use super::{Digest, Trailers, TransferError, Upload};

/// Counts the body and hashes it where the sender gave something to compare with.
pub(super) struct BodyCheck {
    received: u64,
    declared: Option<u64>,
    announced: Vec<Digest>,
    sha256: Option<Context>,
    sha512: Option<Context>,
    blake3: Option<blake3::Hasher>,
}

impl BodyCheck {
    pub(super) fn new(upload: &Upload) -> Self {
        let wants = |kind: fn(&Digest) -> bool| upload.digests.iter().any(kind);
        let sha256 = upload.digest_trailers.sha256 || wants(|digest| matches!(digest, Digest::Sha256(_)));
        let sha512 = wants(|digest| matches!(digest, Digest::Sha512(_)));
        Self {
            received: 0,
            declared: upload.length,
            announced: upload.digests.clone(),
            sha256: sha256.then(|| Context::new(&SHA256)),
            sha512: sha512.then(|| Context::new(&SHA512)),
            blake3: upload.digest_trailers.blake3.then(blake3::Hasher::new),
        }
    }

    /// Bytes of the body so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        for context in [&mut self.sha256, &mut self.sha512].into_iter().flatten() {
            context.update(bytes);
        }
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(bytes);
        }
    }

    /// Compares with everything that the sender declared.
    pub(super) fn verify(self, trailers: &Trailers) -> Result<(), TransferError> {
        if let Some(declared) = self.declared.filter(|declared| *declared != self.received) {
            return Err(TransferError::Length { declared, received: self.received });
        }
        let sha256 = self.sha256.map(|context| hexadecimal(context.finish().as_ref()));
        let sha512 = self.sha512.map(|context| hexadecimal(context.finish().as_ref()));
        let blake3 = self.blake3.map(|hasher| hasher.finalize().to_string());
        for digest in self.announced.iter().chain(&trailers.digests) {
            let (what, expected, actual) = match digest {
                Digest::Sha256(expected) => ("the SHA-256 digest", hexadecimal(expected), &sha256),
                Digest::Sha512(expected) => ("the SHA-512 digest", hexadecimal(expected), &sha512),
                Digest::Blake3(expected) => ("the BLAKE3 digest", expected.to_string(), &blake3),
            };
            let actual = actual.clone().unwrap_or_else(|| {
                "none, because it was not announced: give sha-512 in the header or sha-256 in the trailer".to_owned()
            });
            if actual != expected {
                return Err(TransferError::Digest { what, expected, actual });
            }
        }
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
