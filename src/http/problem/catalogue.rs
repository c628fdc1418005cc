//! The kinds of problems. Their names and statuses are part of the interface: they stay.

use axum::http::StatusCode;

use crate::api;

macro_rules! catalogue {
    ($($kind:ident $name:literal $status:ident $title:literal;)*) => {
        /// What kind of problem it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $title] $kind,)*
        }

        impl Kind {
            /// All kinds, in the order of their statuses.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The last part of the URN.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }

            /// The same sentence every time; what happened this time is in the detail.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)*
                }
            }
        }
    };
}

catalogue! {
    BadRequest "bad-request" BAD_REQUEST "The request is malformed";
    BadName "bad-name" BAD_REQUEST "A name in the request is not a name";
    BadDigest "bad-digest" BAD_REQUEST "A digest or content root in the request is malformed";
    ContentRange "content-range" BAD_REQUEST "A PUT sends the whole snapshot, not a range of it";
    MalformedStream "malformed-stream" BAD_REQUEST "The stream breaks its format";
    Length "length-mismatch" BAD_REQUEST "The body was not as long as declared";
    Cut "body-cut" BAD_REQUEST "The body ended before its end";
    UploadLength "inconsistent-upload-length" BAD_REQUEST "The lengths in the requests contradict each other";
    MalformedCoding "malformed-coding" BAD_REQUEST "The packed body cannot be unpacked";
    Trailer "bad-trailer" BAD_REQUEST "What came after the body is malformed or missing";
    Unauthorized "unauthorized" UNAUTHORIZED "The request needs a token, a ticket or a client certificate";
    BadToken "bad-token" UNAUTHORIZED "The bearer token is not known here";
    BadCertificate "bad-certificate" UNAUTHORIZED "The client certificate does not count here";
    BadTicket "bad-ticket" UNAUTHORIZED "The ticket is not valid";
    ExpiredTicket "expired-ticket" UNAUTHORIZED "The ticket has expired";
    Forbidden "forbidden" FORBIDDEN "The caller may not do that";
    TicketScope "ticket-scope" FORBIDDEN "The ticket is for something else";
    NoPath "no-path" NOT_FOUND "There is nothing at this path";
    NoSnapshot "no-snapshot" NOT_FOUND "There is no such snapshot";
    NoUpload "no-upload" NOT_FOUND "There is no such unfinished transfer";
    NoSite "no-site" NOT_FOUND "There is no such site";
    Method "method-not-allowed" METHOD_NOT_ALLOWED "The path does not have this method";
    Idle "body-idle" REQUEST_TIMEOUT "The sender fell silent";
    Exists "exists" CONFLICT "The snapshot is there with other content";
    BaseMissing "base-missing" CONFLICT "The base is not on the target";
    BaseChanged "base-changed" CONFLICT "The base on the target is not what was committed";
    BaseMismatch "base-mismatch" CONFLICT "The base on the target is not the sender's";
    Policy "policy" CONFLICT "The chain policy does not agree";
    Deleted "deleted" CONFLICT "The snapshot was deleted after the permission was issued";
    NotOwned "not-owned" CONFLICT "The image belongs to another volume";
    Foreign "foreign" CONFLICT "The image holds what rsnap did not make";
    UploadOffset "mismatching-upload-offset" CONFLICT "The upload goes on at another offset";
    UploadRange "upload-range" CONFLICT "The range is there already, or a part of it";
    UploadIncomplete "upload-incomplete" CONFLICT "A part of the image is missing";
    Overtaken "overtaken" CONFLICT "Another transfer has taken over";
    Unmendable "unmendable" CONFLICT "The storage cannot write into a committed snapshot";
    PluginRefused "plugin-refused" CONFLICT "A plugin refused";
    UploadCompleted "completed-upload" GONE "The upload is complete already";
    TusVersion "tus-version" PRECONDITION_FAILED "This version of tus is not spoken here";
    LengthRequired "length-required" LENGTH_REQUIRED "The size of the image must be known";
    TooLarge "too-large" PAYLOAD_TOO_LARGE "The body of the request is too large";
    MediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "The body's format is not one that is spoken here";
    Coding "unsupported-coding" UNSUPPORTED_MEDIA_TYPE "The body's coding is not one that is spoken here";
    Range "range-not-satisfiable" RANGE_NOT_SATISFIABLE "The range lies outside the snapshot";
    Digest "digest-mismatch" UNPROCESSABLE_ENTITY "What was received does not fit its digest or content root";
    Size "size-not-allowed" UNPROCESSABLE_ENTITY "The image's size is not what the permission is for";
    ImageSize "image-size" UNPROCESSABLE_ENTITY "The storage cannot hold an image of this size";
    Internal "internal" INTERNAL_SERVER_ERROR "The gateway failed";
    Storage "storage" INTERNAL_SERVER_ERROR "The storage failed";
    Damaged "damaged" INTERNAL_SERVER_ERROR "Stored data is damaged";
    PluginFailed "plugin-failed" INTERNAL_SERVER_ERROR "A plugin failed";
    NotResumable "not-resumable" NOT_IMPLEMENTED "This transfer cannot be interrupted";
    Busy "busy" SERVICE_UNAVAILABLE "Another transfer writes to this volume";
    Saturated "saturated" SERVICE_UNAVAILABLE "The gateway has no room for another transfer now";
    Stopping "stopping" SERVICE_UNAVAILABLE "The gateway is stopping";
    Keystone "keystone-unavailable" SERVICE_UNAVAILABLE "Keystone cannot be asked";
    PluginUnavailable "plugin-unavailable" SERVICE_UNAVAILABLE "A plugin may work later";
    Unsure "unsure" SERVICE_UNAVAILABLE "It is not known whether the commit took effect";
    Full "storage-full" INSUFFICIENT_STORAGE "The storage is full";
}

impl Kind {
    /// The whole `type`, stable: that of the draft where it has one.
    #[must_use]
    pub fn urn(self) -> String {
        let space = match self {
            Self::UploadOffset | Self::UploadCompleted | Self::UploadLength => api::PROBLEMS_OF_IANA,
            _ => api::PROBLEMS,
        };
        format!("{space}{}", self.name())
    }

    /// Seconds after which the same request may succeed; `None` where waiting does not help.
    #[must_use]
    pub const fn retry_after(self) -> Option<u64> {
        match self {
            Self::Unsure => Some(1),
            Self::Busy | Self::Keystone | Self::Stopping => Some(5),
            Self::Saturated | Self::PluginUnavailable => Some(15),
            _ => None,
        }
    }
}

/// The catalogue as a table in Markdown, for the OpenAPI document.
#[must_use]
pub(in crate::http) fn table() -> String {
    let row = |kind: &Kind| format!("| `{}` | {} | {} |\n", kind.urn(), kind.status().as_u16(), kind.title());
    let rows: String = Kind::ALL.iter().map(row).collect();
    format!("| type | status | title |\n|---|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.status().is_client_error() || kind.status().is_server_error()));
    }

    #[test]
    fn every_503_says_when_to_come_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.retry_after().is_some(), kind.status() == StatusCode::SERVICE_UNAVAILABLE, "{kind:?}");
        }
    }
}
