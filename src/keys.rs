//! Reading single keys by name: what plugins may ask for, and what the gateway's etcd answers.
//!
//! Neither the plugins nor the registry of gateways need to know of each other for it; so what they have in common lies
//! below both.

use std::fmt;

use async_trait::async_trait;

/// Where keys are read.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync {
    /// The value of `key` as it is now, of at most `largest` bytes; `None` when there is no such key.
    async fn read(&self, key: &str, largest: usize) -> Result<Option<Vec<u8>>, KeyError>;
}

/// Why a key could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the value is longer than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Unavailable(String),
}
