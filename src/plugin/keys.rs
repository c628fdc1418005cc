//! Keys of the gateway's etcd that guests read.
//!
//! A prefix that is granted ends with a slash, so that `/rsnap/sites/` does not grant `/rsnap/sites-of-others`. The whole
//! etcd, with its address and password, was refused: a guest would hold what the gateways themselves stand on.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::bindings::resolver::rsnap::plugin::key_value;
use super::bindings::writer::rsnap::plugin::types::Error;
use super::state::State;
use super::text::clean;
use crate::keys::{KeyError, KeySource};

/// Longest key, in bytes.
const KEY_MAX: usize = 512;
/// Longest value, in bytes.
const VALUE_MAX: usize = 64 << 10;

/// Pushes a text for each prefix that cannot be granted; `key` is theirs in the file.
pub(super) fn validate(prefixes: &[String], key: &str, faults: &mut Vec<String>) {
    for prefix in prefixes {
        if !prefix.ends_with('/') || prefix.len() >= KEY_MAX || prefix.contains(char::is_control) {
            faults
                .push(format!("{key}: {prefix:?} must be the beginning of keys, up to a slash, as \"/rsnap/sites/\""));
        }
    }
}

/// The keys that one plugin may read, and where.
#[derive(Debug)]
pub(super) struct Keys {
    prefixes: Vec<String>,
    source: Option<Arc<dyn KeySource>>,
}

impl Keys {
    pub(super) fn new(prefixes: &[String], source: Option<Arc<dyn KeySource>>) -> Self {
        Self { prefixes: prefixes.to_vec(), source }
    }

    /// Whether a key may be read. The error continues the sentence "the key …".
    fn admit(&self, key: &str) -> Result<(), String> {
        if key.len() > KEY_MAX {
            return Err(format!("has {} bytes; at most {KEY_MAX} are asked for", key.len()));
        }
        match self.prefixes.iter().any(|prefix| key.starts_with(prefix)) {
            true => Ok(()),
            false => Err(format!("{key:?} begins with nothing that is granted (plugins.resolver.keys)")),
        }
    }
}

impl key_value::Host for State {
    fn check(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        self.shared.account.handed(key.len());
        Ok(self.shared.keys.admit(&key).map_err(refused))
    }

    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        self.count_request()?;
        self.shared.account.handed(key.len());
        if let Err(fault) = self.shared.keys.admit(&key) {
            return Ok(Err(refused(fault)));
        }
        let Some(source) = self.shared.keys.source.clone() else {
            return Ok(Err(Error::Unavailable("the gateway was started without [etcd]".to_owned())));
        };
        let reading = async move { source.read(&key, VALUE_MAX).await };
        let _in_host = self.watch.enter_host();
        // Not on the guests' threads, which do no input and output. Ends with the guest that waits for it.
        let answer = AbortOnDropHandle::new(self.shared.host.spawn(reading)).await?;
        Ok(answer.map_err(Into::into))
    }
}

fn refused(fault: String) -> Error {
    Error::Refused(clean(&format!("the key {fault}")))
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        let text = clean(&error.to_string());
        match error {
            KeyError::TooLarge(_) => Self::Other(text),
            KeyError::Unavailable(_) => Self::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_with_a_slash() {
        let faults = |prefix: &str| {
            let mut faults = Vec::new();
            validate(&[prefix.to_owned()], "keys", &mut faults);
            faults.len()
        };
        assert_eq!((faults("/rsnap/sites/"), faults("sites/")), (0, 0));
        for bad in ["", "/rsnap/sites", "a\nb/", &format!("{}/", "x".repeat(KEY_MAX))] {
            assert_eq!(faults(bad), 1, "{bad:?}");
        }
    }

    #[test]
    fn only_what_is_granted_is_read() {
        let keys = Keys::new(&["/rsnap/sites/".to_owned()], None);
        assert_eq!(keys.admit("/rsnap/sites/dc1"), Ok(()));
        for key in ["", "/", "/rsnap/sites", "/rsnap/group", "rsnap/sites/dc1", "/rsnap/SITES/dc1"] {
            assert!(keys.admit(key).unwrap_err().contains("plugins.resolver.keys"), "{key}");
        }
        assert!(keys.admit(&format!("/rsnap/sites/{}", "x".repeat(KEY_MAX))).unwrap_err().starts_with("has 525 bytes"));
        assert!(Keys::new(&[], None).admit("").is_err(), "nothing is granted, so nothing is read");
    }
}
