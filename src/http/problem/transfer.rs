//! From the errors of transfers, stores and plugins to problems.

use super::{Kind, Problem};
use crate::image::ImageError;
use crate::plugin::PluginError;
use crate::transfer::{BodyError, TransferError};

impl From<TransferError> for Problem {
    fn from(error: TransferError) -> Self {
        let kind = match error {
            TransferError::Image(error) => return error.into(),
            TransferError::Plugin(error) => return error.into(),
            TransferError::Body(error) => return error.into(),
            TransferError::Malformed(_) => Kind::MalformedStream,
            TransferError::Length { .. } => Kind::Length,
            TransferError::Digest { .. } => Kind::Digest,
            TransferError::Size { .. } => Kind::Size,
            TransferError::Policy { .. } => Kind::Policy,
            TransferError::BaseMismatch(_) => Kind::BaseMismatch,
            TransferError::BaseMissing(_) => Kind::BaseMissing,
            TransferError::UploadOffset { given, expected } => return Self::offset(given, expected),
            TransferError::UploadRange(_) => Kind::UploadRange,
            TransferError::UploadIncomplete { .. } => Kind::UploadIncomplete,
            TransferError::UploadCompleted => Kind::UploadCompleted,
            TransferError::UploadLength { .. } => Kind::UploadLength,
            TransferError::NotResumable(_) => Kind::NotResumable,
            TransferError::Request(_) => Kind::BadRequest,
            TransferError::Deleted(_) => Kind::Deleted,
            TransferError::NoSite(_) => Kind::NoSite,
            TransferError::Saturated { .. } | TransferError::TooManyReads { .. } | TransferError::Inspecting => {
                Kind::Saturated
            }
            TransferError::Stopping => Kind::Stopping,
            TransferError::Internal(_) | TransferError::State(_) => return Self::hidden(Kind::Internal, error),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ImageError> for Problem {
    fn from(error: ImageError) -> Self {
        let kind = match &error {
            ImageError::NotFound { .. } => Kind::NoSnapshot,
            ImageError::NoUpload { .. } => Kind::NoUpload,
            ImageError::UploadDamaged { .. } => Kind::Damaged,
            ImageError::Busy { .. } => Kind::Busy,
            ImageError::InUse { .. } => return Self::in_use(&error),
            ImageError::NotOwned { .. } => return Self::not_owned(&error),
            ImageError::Foreign { .. } => Kind::Foreign,
            ImageError::BaseMissing { .. } => Kind::BaseMissing,
            ImageError::BaseChanged { .. } => Kind::BaseChanged,
            ImageError::Deleted { .. } => Kind::Deleted,
            ImageError::Exists { .. } => Kind::Exists,
            ImageError::Full { .. } => Kind::Full,
            ImageError::Damaged { .. } => Kind::Damaged,
            ImageError::Unproven { .. } => Kind::Digest,
            ImageError::Unmendable { .. } => Kind::Unmendable,
            ImageError::Fenced => Kind::Overtaken,
            ImageError::Extent { .. } => Kind::MalformedStream,
            ImageError::Size { .. } => Kind::ImageSize,
            ImageError::Unsure { .. } => Kind::Unsure,
            ImageError::Io { .. } => return Self::hidden(Kind::Storage, error),
        };
        Self::new(kind, error.to_string())
    }
}

impl Problem {
    /// Addresses in the cluster are not the caller's business.
    fn in_use(error: &ImageError) -> Self {
        let told = "the image for this volume is in use by something that is not rsnap; the gateway's log says by what: \
                    detach it there and repeat the request";
        Self { internal: Some(error.to_string()), ..Self::new(Kind::Busy, told) }
    }

    /// Whose image it is, is not the caller's business.
    fn not_owned(error: &ImageError) -> Self {
        let told = Self::new(Kind::NotOwned, "the image for this volume belongs to another volume: rename either one");
        Self { internal: Some(error.to_string()), ..told }
    }
}

impl From<PluginError> for Problem {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::Refused { .. } => Self::new(Kind::PluginRefused, error.to_string()),
            PluginError::Unavailable { .. } => Self::new(Kind::PluginUnavailable, error.to_string()),
            PluginError::Failed { ref plugin, .. } => {
                let told = format!("plugin {plugin} failed; the gateway's log has the cause");
                Self { internal: Some(error.to_string()), ..Self::new(Kind::PluginFailed, told) }
            }
            PluginError::Image(error) => error.into(),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::Cut(_) => Kind::Cut,
            BodyError::Idle(_) => Kind::Idle,
            BodyError::Trailer(_) => Kind::Trailer,
            BodyError::Coding(_) => Kind::MalformedCoding,
            BodyError::Digest(_) => Kind::Digest,
            BodyError::Stopping => Kind::Stopping,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_kind_through_all_layers() {
        let busy = || ImageError::Busy { image: "image-1".parse().unwrap() };
        let wrapped = [TransferError::Image(busy()), TransferError::Plugin(PluginError::Image(busy()))];
        for error in wrapped {
            assert_eq!(Problem::from(error).kind(), Kind::Busy);
        }
        let length = TransferError::Length { declared: 5, received: 3 };
        let problem = Problem::from(length);
        assert_eq!((problem.kind(), problem.text()), (Kind::Length, "5 bytes were declared, 3 came"));
    }

    #[test]
    fn inner_matters_are_for_the_log() {
        let source = std::io::Error::other("disk sda");
        let io = ImageError::Io { action: "open /srv/store".to_owned(), source };
        let failed = PluginError::Failed { plugin: "image".to_owned(), detail: "trap at 0x1234".to_owned() };
        let owner = ImageError::NotOwned { image: "i".parse().unwrap(), owner: "secret-volume".parse().unwrap() };
        let in_use = ImageError::InUse { image: "i".parse().unwrap(), by: "10.0.0.7:0/1".to_owned() };
        let problems = [Problem::from(io), Problem::from(failed), Problem::from(owner), Problem::from(in_use)];
        for (problem, secret) in problems.iter().zip(["/srv/store", "0x1234", "secret-volume", "10.0.0.7"]) {
            assert!(problem.text().contains(secret), "{problem:?}");
            assert!(!problem.detail.contains(secret), "{problem:?}");
        }
    }
}
