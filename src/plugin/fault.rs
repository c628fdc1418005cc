//! Why a plugin cannot be loaded: the plugin, the fault, the remedy.

use super::Kind;

/// A fault with its remedy, before it is known whose it is.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) text: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { text: text.into(), remedy: remedy.into() }
    }

    pub(super) fn of(self, plugin: &str, kind: Kind) -> LoadError {
        LoadError { plugin: plugin.to_owned(), kind, fault: self.text, remedy: self.remedy }
    }
}

/// A plugin that cannot be loaded. Stops the start-up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} plugin {plugin} cannot be loaded: {fault}; {remedy}")]
pub struct LoadError {
    pub plugin: String,
    pub kind: Kind,
    pub fault: String,
    pub remedy: String,
}
