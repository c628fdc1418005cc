//! What an error of Ceph means for the caller of a store.

use std::io;

use rsnap_rbd::{Error, Kind};

use crate::image::ImageError;

const EINVAL: i32 = 22;
const EFBIG: i32 = 27;

/// For a client that writes: to be blocklisted, or to have lost the lock, is to be overtaken.
pub(super) fn failed(error: Error) -> ImageError {
    match error.kind() {
        Kind::Blocklisted | Kind::ReadOnly => ImageError::Fenced,
        _ => unanswered(error),
    }
}

/// For making or resizing an image.
pub(super) fn sized(size: u64, error: Error) -> ImageError {
    match error.code() {
        EINVAL | EFBIG => ImageError::Size { size, detail: error.to_string() },
        _ => failed(error),
    }
}

/// For a client that only reads.
pub(super) fn unanswered(error: Error) -> ImageError {
    match error.kind() {
        Kind::Full => ImageError::Full { detail: error.to_string() },
        _ => ImageError::Io { action: error.action().to_owned(), source: as_io(error) },
    }
}

/// For the objects of a content tree.
pub(super) fn tree_failed(tree: &str, error: io::Error) -> ImageError {
    match error.kind() {
        io::ErrorKind::NotConnected => ImageError::Fenced,
        io::ErrorKind::StorageFull => ImageError::Full { detail: error.to_string() },
        _ => ImageError::Io { action: format!("write the content tree {tree}"), source: error },
    }
}

/// The reason alone, for a text that says elsewhere what was tried.
pub(super) fn as_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        Kind::NotFound => io::ErrorKind::NotFound,
        Kind::Exists => io::ErrorKind::AlreadyExists,
        Kind::Busy => io::ErrorKind::ResourceBusy,
        Kind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
        Kind::Blocklisted => io::ErrorKind::NotConnected,
        Kind::Permission => io::ErrorKind::PermissionDenied,
        Kind::Full => io::ErrorKind::StorageFull,
        Kind::TimedOut => io::ErrorKind::TimedOut,
        Kind::Other => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.reason())
}

/// An error that this store found out by itself.
pub(super) fn other(action: impl Into<String>, reason: impl Into<String>) -> ImageError {
    ImageError::Io { action: action.into(), source: io::Error::other(reason.into()) }
}
