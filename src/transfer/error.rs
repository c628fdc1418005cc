//! Why a transfer, a read or a plan did not succeed.

use super::{BodyError, IllegalStep};
use crate::id::{SiteName, SnapshotId};
use crate::image::ImageError;
use crate::metrics::Outcome;
use crate::plugin::PluginError;

/// Why a transfer, a read or a plan did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The stream breaks its format; the text names the offset and what was expected.
    #[error("malformed stream: {0}")]
    Malformed(String),
    /// The body was not as long as declared.
    #[error("{declared} bytes were declared, {received} came")]
    Length { declared: u64, received: u64 },
    /// A digest or content root does not fit what was received.
    #[error("{what} does not fit what was received: expected {expected}, got {actual}")]
    Digest { what: &'static str, expected: String, actual: String },
    /// The size in the stream is not what the permission allows.
    #[error("the image has {size} bytes, the permission is for {allowed}")]
    Size { size: u64, allowed: u64 },
    /// The chain policy refuses, or asks for something else.
    #[error("the chain policy {policy} does not agree: {reason}")]
    Policy { policy: String, reason: String },
    /// A stream starts from a base whose content is not the sender's.
    #[error("{0}")]
    BaseMismatch(String),
    /// The base of a stream is not on this side.
    #[error("{0}")]
    BaseMissing(String),
    /// Bytes were sent from another place than where they are wanted.
    #[error("the bytes begin at {given}, and the upload goes on at {expected}")]
    UploadOffset { given: u64, expected: u64 },
    /// A range that is there already, or a part of it.
    #[error("the range {}-{} is there already, or a part of it; ask for what is missing", .0.start, .0.end)]
    UploadRange(std::ops::Range<u64>),
    /// The commit was asked for too early.
    #[error("{missing} of {size} bytes are missing; ask for what is missing, and send it")]
    UploadIncomplete { missing: u64, size: u64 },
    #[error("the upload is complete already; its snapshot is there")]
    UploadCompleted,
    /// Lengths that contradict each other.
    #[error("the image has {size} bytes, and the request speaks of {length}")]
    UploadLength { length: u64, size: u64 },
    /// The storage or the writer cannot do it.
    #[error("{0}")]
    NotResumable(String),
    /// The request contradicts itself or leaves out what is needed.
    #[error("{0}")]
    Request(String),
    /// The permission is older than the deletion of the snapshot.
    #[error("snapshot {0} was deleted after this permission was issued")]
    Deleted(SnapshotId),
    #[error("there is no site called {0}")]
    NoSite(SiteName),
    /// No room now: as many transfers run as the memory allows.
    #[error("{running} transfers run, which is as many as the configuration allows")]
    Saturated { running: usize },
    /// As [`TransferError::Saturated`], for reading.
    #[error("{reads} snapshots are being read, which is as many as the configuration allows")]
    TooManyReads { reads: usize },
    /// As [`TransferError::Saturated`], for inspections.
    #[error("this gateway inspects another snapshot now, and only one at a time")]
    Inspecting,
    /// The gateway is stopping.
    #[error("this gateway is stopping")]
    Stopping,
    /// A fault of this program or its configuration.
    #[error("{0}")]
    Internal(String),
    #[error(transparent)]
    State(#[from] IllegalStep),
}

impl TransferError {
    /// Whose side the fault is on.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Body(BodyError::Coding(_) | BodyError::Digest(_)) => Outcome::Refused,
            Self::Body(_) => Outcome::Cut,
            Self::Image(ImageError::Io { .. } | ImageError::Full { .. } | ImageError::Damaged { .. })
            | Self::Image(ImageError::Unsure { .. })
            | Self::Plugin(PluginError::Failed { .. } | PluginError::Unavailable { .. })
            | Self::Internal(_)
            | Self::State(_) => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }

    pub(super) fn malformed(fault: rsnap_wire::Error) -> Self {
        Self::Malformed(fault.to_string())
    }
}
