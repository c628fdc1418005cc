//! Digests of the body, computed while it passes.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256, SHA512};

use super::{Digest, DigestTrailers, Trailers, TransferError, Upload};

/// Hashes what passes, where somebody will compare.
pub(crate) struct Hashes {
    sha256: Option<Context>,
    sha512: Option<Context>,
    blake3: Option<blake3::Hasher>,
}

impl Hashes {
    /// For digests that were announced in the header, and those that will come as trailers.
    pub(crate) fn new(announced: &[Digest], trailers: DigestTrailers) -> Self {
        let wants = |kind: fn(&Digest) -> bool| announced.iter().any(kind);
        let sha256 = trailers.sha256 || wants(|digest| matches!(digest, Digest::Sha256(_)));
        let sha512 = wants(|digest| matches!(digest, Digest::Sha512(_)));
        Self {
            sha256: sha256.then(|| Context::new(&SHA256)),
            sha512: sha512.then(|| Context::new(&SHA512)),
            blake3: trailers.blake3.then(blake3::Hasher::new),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for context in [&mut self.sha256, &mut self.sha512].into_iter().flatten() {
            context.update(bytes);
        }
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(bytes);
        }
    }

    pub(crate) fn verify<'a>(self, digests: impl Iterator<Item = &'a Digest>) -> Result<(), TransferError> {
        let sha256 = self.sha256.map(|context| hexadecimal(context.finish().as_ref()));
        let sha512 = self.sha512.map(|context| hexadecimal(context.finish().as_ref()));
        let blake3 = self.blake3.map(|hasher| hasher.finalize().to_string());
        for digest in digests {
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

/// Counts the body and hashes it where the sender gave something to compare with.
pub(super) struct BodyCheck {
    received: u64,
    declared: Option<u64>,
    announced: Vec<Digest>,
    hashes: Hashes,
}

impl BodyCheck {
    pub(super) fn new(upload: &Upload) -> Self {
        let (declared, announced) = (upload.length, upload.digests.clone());
        let hashes = Hashes::new(&announced, upload.digest_trailers);
        Self { received: 0, declared, announced, hashes }
    }

    /// Bytes of the body so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        self.hashes.update(bytes);
    }

    /// Compares with everything that the sender declared.
    pub(super) fn verify(self, trailers: &Trailers) -> Result<(), TransferError> {
        if let Some(declared) = self.declared.filter(|declared| *declared != self.received) {
            return Err(TransferError::Length { declared, received: self.received });
        }
        self.hashes.verify(self.announced.iter().chain(&trailers.digests))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
