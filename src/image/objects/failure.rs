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
        let text = in_words(&error);
        if is_full(&error) || FULL.iter().any(|code| text.contains(code)) {
            return ImageError::Full { detail: format!("could not {action}: {text}") };
        }
        let kind = match &error {
            Error::NotFound { .. } => io::ErrorKind::NotFound,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
            Error::NotImplemented { .. } | Error::NotSupported { .. } => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        ImageError::Io { action, source: io::Error::new(kind, text) }
    }
}

/// With what lies behind it, which its own text leaves out: whether a server was not there, or is not who it should be.
fn in_words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let refused = io::Error::other("no certificate");
        let outer = io::Error::other(Box::new(Error::Generic { store: "inner", source: refused.into() }));
        let error = Error::Generic { store: "S3", source: outer.into() };
        let text = in_words(&error);
        assert_eq!(text.matches("no certificate").count(), 1, "{text}");
        assert!(failed("look")(error).to_string().contains("no certificate"));
    }
}
