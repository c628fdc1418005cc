//! What the errors of an object store mean.

use std::error::Error as _;
use std::io;

use object_store::Error;

use crate::image::ImageError;

/// What an object store says when a quota or its own storage is used up.
const FULL: [&str; 3] = ["QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull"];

pub(super) fn failed(action: impl Into<String>) -> impl FnOnce(Error) -> ImageError {
    let action = action.into();
    move |error| {
        let text = error.to_string();
        if is_full(&error) || FULL.iter().any(|code| text.contains(code)) {
            return ImageError::Full { detail: format!("could not {action}: {text}") };
        }
        let kind = match &error {
            Error::NotFound { .. } => io::ErrorKind::NotFound,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
            Error::NotImplemented { .. } | Error::NotSupported { .. } => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        ImageError::Io { action, source: io::Error::new(kind, error) }
    }
}

/// Whether a file system below says that it is full.
fn is_full(error: &Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        next = cause.source();
    }
    false
}
