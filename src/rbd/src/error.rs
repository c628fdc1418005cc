//! What Ceph answers when it does not do what it was asked for.

use std::ffi::c_int;
use std::fmt;

/// An error of librbd or librados: what was tried, and the error number that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    action: String,
    code: i32,
    remedy: Option<String>,
}

/// Errors that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such cluster configuration, pool, image, snapshot, key or object.
    NotFound,
    /// Something of that name is there.
    Exists,
    /// In use: a snapshot is protected, an image has watchers, a lock is held.
    Busy,
    /// Another client holds the image's exclusive lock, or the image was opened for reading only.
    ReadOnly,
    /// The cluster does not listen to this client any more: somebody has taken its place.
    Blocklisted,
    /// The user or its key is not accepted, or its capabilities do not cover this.
    Permission,
    /// The cluster or the pool is full, or a quota or the limit of snapshots is reached.
    Full,
    /// The cluster did not answer in time. Whether the operation will still take effect is not known.
    TimedOut,
    /// Anything else; [`Error::code`] tells.
    Other,
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
pub(crate) const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
pub(crate) const ERANGE: i32 = 34;
pub(crate) const EIO: i32 = 5;
pub(crate) const ESHUTDOWN: i32 = 108;
const ETIMEDOUT: i32 = 110;
const EDQUOT: i32 = 122;

impl Error {
    /// `action` completes the sentence "could not …"; `code` is the error number, of either sign.
    pub(crate) fn new(action: impl Into<String>, code: i32) -> Self {
        Self { action: action.into(), code: code.saturating_abs(), remedy: None }
    }

    /// With a sentence that says what helps.
    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The error number (`errno`), positive.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code
    }

    /// What was tried, to complete the sentence "could not …".
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }

    /// What callers tell apart of the error number.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.code {
            ENOENT => Kind::NotFound,
            EEXIST => Kind::Exists,
            EBUSY => Kind::Busy,
            EROFS => Kind::ReadOnly,
            ESHUTDOWN => Kind::Blocklisted,
            EPERM | EACCES => Kind::Permission,
            ENOSPC | EDQUOT => Kind::Full,
            ETIMEDOUT => Kind::TimedOut,
            _ => Kind::Other,
        }
    }

    /// Why it did not succeed, and what helps where that is known.
    #[must_use]
    pub fn reason(&self) -> String {
        let what = std::io::Error::from_raw_os_error(self.code);
        let reason = match self.kind() {
            Kind::ReadOnly => format!("another client holds the exclusive lock ({what})"),
            Kind::Blocklisted => format!("this client was blocklisted by its successor ({what})"),
            Kind::TimedOut => format!("the cluster did not answer in time ({what})"),
            _ => what.to_string(),
        };
        match &self.remedy {
            Some(remedy) => format!("{reason}; {remedy}"),
            None => reason,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "could not {}: {}", self.action, self.reason())
    }
}

impl std::error::Error for Error {}

/// The value of a call that answers with a negative error number.
pub(crate) fn checked(code: c_int, action: impl FnOnce() -> String) -> Result<c_int, Error> {
    if code < 0 { Err(Error::new(action(), code)) } else { Ok(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_action_reason_and_remedy() {
        let error = Error::new("open image v in pool p", -2);
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(error.to_string(), "could not open image v in pool p: No such file or directory (os error 2)");
        let error = Error::new("write", 30).with_remedy("stop the other one");
        assert_eq!(error.kind(), Kind::ReadOnly);
        assert!(error.to_string().contains("exclusive lock") && error.to_string().ends_with("; stop the other one"));
    }

    #[test]
    fn kinds_follow_the_error_number() {
        for (code, kind) in [
            (108, Kind::Blocklisted),
            (110, Kind::TimedOut),
            (28, Kind::Full),
            (122, Kind::Full),
            (1, Kind::Permission),
            (13, Kind::Permission),
            (16, Kind::Busy),
            (17, Kind::Exists),
            (5, Kind::Other),
        ] {
            assert_eq!(Error::new("x", -code).kind(), kind, "{code}");
        }
    }
}
