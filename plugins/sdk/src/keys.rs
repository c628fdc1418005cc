//! Keys in the gateway's etcd, those that the operator granted to the plugin: for resolvers.
//!
//! ```ignore
//! let value = keys::get("/rsnap/sites/dc1")?;
//! ```

use crate::bindings::resolver::rsnap::plugin::key_value;
use crate::writer::Error;

/// Whether [`get`] would ask for this key: it is granted.
pub fn check(key: &str) -> Result<(), Error> {
    key_value::check(key)
}

/// The value of a key as it is now; `None` when there is no such key.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    key_value::get(key)
}
