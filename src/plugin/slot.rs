//! The place of a plugin in the gateway. Who needs the plugin takes the version that is loaded now and keeps it for as
//! long as what he does with it must not change: one plan, one transfer.

use std::sync::{Arc, PoisonError, RwLock};

/// The place of a plugin; `T` is its trait. Cheap to clone.
#[derive(Debug)]
pub struct Slot<T: ?Sized>(Arc<RwLock<Arc<T>>>);

impl<T: ?Sized> Slot<T> {
    #[must_use]
    pub fn new(plugin: Arc<T>) -> Self {
        Self(Arc::new(RwLock::new(plugin)))
    }

    /// The version that is loaded now.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is another one; who holds the one before goes on with it.
    pub(super) fn put(&self, plugin: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = plugin;
    }
}

impl<T: ?Sized> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
