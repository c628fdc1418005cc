//! One of the two crates of rsnap with `unsafe` (the other binds Ceph): loading machine code that was compiled ahead of
//! time, and giving memory back to the system.
//!
//! A plugin's machine code is kept on disk, because compiling can take seconds. Whatever is loaded as machine code runs
//! with the gateway's rights, so a changed file must never be loaded. The runtime's own header is no protection, it
//! only tells versions apart. Hence [`Seal`]: what it closed it can open, and nothing else can be opened, which makes
//! the unsafe call sound. Mapping the file into memory was refused: it can change after it was checked.

mod memory;

pub use memory::{give_back, limit_arenas};

use wasmtime::Engine;
use wasmtime::component::Component;

/// A secret that authenticates compiled components.
pub struct Seal {
    key: [u8; 32],
}

/// Length of the tag in front of the code, in bytes.
const TAG: usize = blake3::OUT_LEN;

/// Why a sealed component does not open. The remedy for each is to compile again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the file was cut, changed, or made with another key")]
    Tampered,
    #[error("the file is of another version or configuration of the runtime: {0}")]
    Outdated(wasmtime::Error),
}

impl Seal {
    /// `key` must stay secret: whoever knows it can run machine code in this process.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The component's machine code, to be opened under the same `name` only.
    pub fn close(&self, name: &str, component: &Component) -> Result<Vec<u8>, wasmtime::Error> {
        let code = component.serialize()?;
        let mut sealed = Vec::with_capacity(TAG + code.len());
        sealed.extend_from_slice(self.tag(name, &code).as_bytes());
        sealed.extend_from_slice(&code);
        Ok(sealed)
    }

    /// The component that was closed under `name`.
    pub fn open(&self, name: &str, engine: &Engine, sealed: &[u8]) -> Result<Component, OpenError> {
        let (tag, code) = sealed.split_first_chunk::<TAG>().ok_or(OpenError::Tampered)?;
        if self.tag(name, code) != *tag {
            return Err(OpenError::Tampered);
        }
        deserialize(engine, code).map_err(OpenError::Outdated)
    }

    /// Compared in constant time by its type.
    fn tag(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(code);
        hasher.finalize()
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Seal")
    }
}

#[allow(unsafe_code, reason = "the runtime cannot check machine code; the caller's tag proves where it comes from")]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, wasmtime::Error> {
    // SAFETY: `code` must come from `Component::serialize`. The only caller has just verified its tag, and tags are
    // made in `Seal::close` alone, over the output of `Component::serialize`, with a key that is not known outside.
    // `code` is borrowed memory of this process and does not change meanwhile.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (Engine, Seal, Vec<u8>) {
        let engine = Engine::default();
        let component = Component::new(&engine, wat::parse_str("(component)").unwrap()).unwrap();
        let seal = Seal::new([7; 32]);
        let bytes = seal.close("name", &component).unwrap();
        (engine, seal, bytes)
    }

    #[test]
    fn what_was_closed_opens() {
        let (engine, seal, bytes) = sealed();
        assert!(seal.open("name", &engine, &bytes).is_ok());
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let (engine, seal, bytes) = sealed();
        for position in [0, TAG - 1, TAG, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(matches!(seal.open("name", &engine, &changed), Err(OpenError::Tampered)), "byte {position}");
        }
        for length in [0, TAG - 1, TAG, bytes.len() - 1] {
            assert!(
                matches!(seal.open("name", &engine, &bytes[..length]), Err(OpenError::Tampered)),
                "cut at {length}"
            );
        }
        assert!(matches!(seal.open("other", &engine, &bytes), Err(OpenError::Tampered)));
        assert!(matches!(Seal::new([8; 32]).open("name", &engine, &bytes), Err(OpenError::Tampered)));
    }
}
