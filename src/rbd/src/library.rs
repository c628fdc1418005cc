//! Finding librbd, or saying what is missing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::bindings::Ceph;

/// The name under which every distribution has it. librados comes with it: the symbols are looked up in both.
const FILE: &str = "librbd.so.1";
/// The first release whose librbd has everything that is used here.
const RELEASE: &str = "16 (Pacific)";

/// librbd and librados, loaded. Never unloaded: threads of theirs may run until the process ends.
pub struct Library {
    pub(crate) ceph: Ceph,
}

/// Why Ceph's libraries cannot be used. The text names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It is not installed, or cannot be loaded.
    #[error("{FILE} is not installed; install Debian's librbd1 (Red Hat: librbd1), release {RELEASE} or later ({0})")]
    Missing(String),
    /// A function that is needed is not in it.
    #[error("{FILE} is too old: it lacks a function; install release {RELEASE} or later ({0})")]
    Outdated(String),
}

static LOADED: Mutex<Option<Arc<Library>>> = Mutex::new(None);

impl Library {
    /// Loads the libraries, once for the process. Every function that this crate uses is looked up here, so that a
    /// library that lacks one is an error now and not later. Blocks while files are read.
    pub fn load() -> Result<Arc<Self>, Unavailable> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = &*loaded {
            return Ok(Arc::clone(library));
        }
        let library = Arc::new(Self::open(FILE)?);
        *loaded = Some(Arc::clone(&library));
        Ok(library)
    }

    fn open(file: &str) -> Result<Self, Unavailable> {
        // SAFETY: initialisers of librbd and of what it depends on run; they are written to run in any process.
        let library = unsafe { libloading::Library::new(file) };
        let library = library.map_err(|error| Unavailable::Missing(error.to_string()))?;
        // SAFETY: the symbols have the types of the headers that the declarations were generated from; Ceph keeps the
        // types of these functions within `librbd.so.1` and `librados.so.2`.
        let ceph = unsafe { Ceph::from_library(library) };
        Ok(Self { ceph: ceph.map_err(|error| Unavailable::Outdated(error.to_string()))? })
    }

    /// The version of librbd's interface, such as `1.16.0`.
    #[must_use]
    pub fn version(&self) -> String {
        let (mut major, mut minor, mut extra) = (0, 0, 0);
        // SAFETY: the function writes one `int` through each pointer.
        unsafe { self.ceph.rbd_version(&mut major, &mut minor, &mut extra) };
        format!("{major}.{minor}.{extra}")
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Library({FILE})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named_with_its_package() {
        let error = Library::open("librbd-that-is-not-there.so.1").unwrap_err();
        assert!(matches!(error, Unavailable::Missing(_)));
        assert!(error.to_string().contains("install Debian's librbd1"), "{error}");
    }

    #[test]
    fn a_library_without_the_functions_is_outdated() {
        let error = Library::open("libc.so.6").unwrap_err();
        assert!(matches!(error, Unavailable::Outdated(_)));
        assert!(error.to_string().contains("rados_create2"), "the missing function is not named: {error}");
    }
}
