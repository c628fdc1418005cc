//! The rule about settings, which is the same for all kinds.

use std::path::Path;

use super::{Stop, broken};
use crate::plugin::kit::{Options, Trial};

pub(super) const NAME: &str = "settings";
pub(super) const ABOUT: &str = "refuses a key that it does not know, instead of ignoring a misspelt one";

/// A key that no plugin has.
const UNKNOWN: &str = "no-plugin-has-this-key";

/// Offers the settings once more, with an unknown key.
pub(super) async fn check(path: &Path, options: &Options) -> Result<(), Stop> {
    let mut options = options.clone();
    options.settings.insert(UNKNOWN.to_owned(), toml::Value::Boolean(true));
    match Trial::load(path, options).await {
        Ok(_) => broken(format!("it accepts the key {UNKNOWN:?}")),
        Err(problem) if problem.fault.starts_with("it rejects its settings") => Ok(()),
        Err(problem) => broken(format!("with the key {UNKNOWN:?}: {}", problem.fault)),
    }
}
