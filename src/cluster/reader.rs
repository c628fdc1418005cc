//! Single keys of etcd, for others than the registry.
//!
//! Each question opens a connection of its own, to one member after the other until one answers. A user asks for a copy
//! now and then, and what he waits for takes minutes: to keep a connection, and to know when it is broken, was refused,
//! because the one that the registry keeps is for the registry's own time limits.

use async_trait::async_trait;

use super::config::Config;
use super::etcd::{Connection, Fault};
use crate::keys::{KeyError, KeySource};

/// Reads keys in the etcd of the `[etcd]` table.
#[derive(Debug, Clone)]
pub struct Reader(Config);

impl Reader {
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(config)
    }
}

#[async_trait]
impl KeySource for Reader {
    async fn read(&self, key: &str, largest: usize) -> Result<Option<Vec<u8>>, KeyError> {
        let mut last = String::new();
        for endpoint in &self.0.endpoints {
            let answer = match Connection::open(&self.0, endpoint).await {
                Ok(connection) => connection.value(key, largest).await,
                Err(fault) => Err(fault),
            };
            match answer {
                Ok(value) => return Ok(value),
                Err(Fault::TooLarge) => return Err(KeyError::TooLarge(largest)),
                Err(Fault::Permission(text)) => {
                    let text = format!("etcd does not let etcd.user read the key {key:?}: {text}");
                    return Err(KeyError::Unavailable(text));
                }
                Err(fault) => last = fault.to_string(),
            }
        }
        Err(KeyError::Unavailable(last))
    }
}
