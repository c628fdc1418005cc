//! tus 1.0 on the same uploads: core protocol, creation, creation-with-upload, expiration and termination.
//!
//! tus has no word for the end: an upload whose offset is its length is finished. So the commit comes with the last byte,
//! and an offset that is the length is told of a committed upload only: whoever asks in between waits for the commit, or is
//! told why there is none. The known client of the draft's version 6, tus-js-client, takes the same for the end, and
//! once it has been cut it never says `Upload-Complete: ?1`; so with that version the last byte brings the commit as well.
//!
//! What a client says of itself in `Upload-Metadata` means nothing here; it is kept, because tus wants it given back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{append, cancel};
use crate::api;
use crate::content::SIZE_MAX;
use crate::http::Gateway;
use crate::http::caller::Caller;
use crate::http::headers::one;
use crate::http::names::Upload;
use crate::http::problem::{Kind, Problem};

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const VERSION: HeaderName = HeaderName::from_static("tus-version");
const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
/// tus puts an upload together of others with it; no version of the draft knows it.
const CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const DEFERRED: HeaderName = HeaderName::from_static("upload-defer-length");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// The one version there is.
const SPOKEN: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,expiration,termination";
/// Longest `Upload-Metadata` that is kept: it lies in the storage's record of the upload.
const METADATA_MAX: usize = 1024;

/// Whether a request is one of tus.
pub(super) fn is_spoken(headers: &HeaderMap) -> Result<bool, Problem> {
    match one(headers, &RESUMABLE)? {
        None => Ok(false),
        Some(SPOKEN) => Ok(true),
        Some(other) => {
            let detail = format!("speak version {SPOKEN} of tus (Tus-Resumable), not {other:?}");
            Err(Problem::new(Kind::TusVersion, detail))
        }
    }
}

/// What tus wants in each answer to a request of its own.
pub(in crate::http) async fn answer(request: Request, next: Next) -> Response {
    let is_asked = request.headers().contains_key(RESUMABLE);
    let mut response = next.run(request).await;
    if is_asked {
        response.headers_mut().insert(RESUMABLE, HeaderValue::from_static(SPOKEN));
    }
    if response.status() == StatusCode::PRECONDITION_FAILED {
        response.headers_mut().insert(VERSION, HeaderValue::from_static(SPOKEN));
    }
    response
}

/// What `OPTIONS` says of tus.
pub(super) fn offer() -> [(HeaderName, HeaderValue); 4] {
    [
        (RESUMABLE, HeaderValue::from_static(SPOKEN)),
        (VERSION, HeaderValue::from_static(SPOKEN)),
        (EXTENSION, HeaderValue::from_static(EXTENSIONS)),
        (MAX_SIZE, HeaderValue::from(SIZE_MAX)),
    ]
}

/// When an upload is given up that nobody works on for `rest` from now on.
pub(super) fn expiry(rest: Duration) -> Option<(HeaderName, HeaderValue)> {
    let moment = SystemTime::now().checked_add(rest)?;
    HeaderValue::try_from(httpdate::fmt_http_date(moment)).ok().map(|value| (EXPIRES, value))
}

/// `Upload-Metadata` for an answer.
pub(super) fn told(metadata: Option<&str>) -> Option<(HeaderName, HeaderValue)> {
    metadata.and_then(|text| HeaderValue::try_from(text).ok()).map(|value| (METADATA, value))
}

/// What a creation says besides what the draft has a word for.
pub(super) fn metadata(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if headers.contains_key(CONCAT) {
        let detail = "an image is not put together of other uploads: send it as one, or its ranges as changes";
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    if headers.contains_key(DEFERRED) {
        return Err(Problem::new(Kind::BadRequest, "the size of an image is known: say it with Upload-Length"));
    }
    let Some(text) = one(headers, &METADATA)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > METADATA_MAX {
        return Err(Problem::new(Kind::BadRequest, format!("Upload-Metadata has at most {METADATA_MAX} bytes")));
    }
    match is_metadata(text) {
        true => Ok(Some(text.to_owned())),
        false => {
            let detail = "Upload-Metadata is a list with commas between: each a key, a space and a value in Base64";
            Err(Problem::new(Kind::BadRequest, detail))
        }
    }
}

/// Pairs with commas between; a key is there once, and its value may be left out.
fn is_metadata(text: &str) -> bool {
    let mut keys = HashSet::new();
    text.split(',').all(|pair| {
        let (key, value) = pair.trim_matches(' ').split_once(' ').unwrap_or((pair.trim_matches(' '), ""));
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        is_key && keys.insert(key) && STANDARD.decode(value).is_ok()
    })
}

/// Add to an upload or give it up, with POST
///
/// For clients of tus that cannot send PATCH or DELETE: `X-HTTP-Method-Override` says which they mean.
#[utoipa::path(
    post,
    path = "/v1/volumes/{volume}/snapshots/{snapshot}/uploads/{upload}",
    params(
        ("volume" = String, Path, description = "The target's volume id"),
        ("snapshot" = String, Path, description = "The target's snapshot id"),
        ("upload" = String, Path, description = "The upload, as `Location` named it"),
        ("x-http-method-override" = String, Header, description = "`PATCH` or `DELETE`"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "Taken, and durable; or gone"),
        (status = "default", description = "A problem", body = api::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []), ("keystone" = []), ("certificate" = []))
)]
pub(in crate::http) async fn overridden(
    state: State<Arc<Gateway>>,
    caller: Caller,
    upload: Upload,
    request: Request,
) -> Result<Response, Problem> {
    let meant = one(request.headers(), &OVERRIDE)?.map(str::to_owned);
    match meant.as_deref() {
        Some(method) if method == Method::PATCH => append(state, caller, upload, request).await,
        Some(method) if method == Method::DELETE => Ok(cancel(state, caller, upload).await?.into_response()),
        _ => Err(Problem::new(Kind::Method, "add to an upload with PATCH, or X-HTTP-Method-Override: PATCH")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::headers;

    #[test]
    fn one_version_is_spoken() {
        let spoken = |text| is_spoken(&headers(&[("tus-resumable", text)])).map_err(|problem| problem.kind());
        assert_eq!((is_spoken(&HeaderMap::new()).unwrap(), spoken("1.0.0")), (false, Ok(true)));
        for other in ["0.2.2", "1.0.1", "2.0.0", "", "1"] {
            assert_eq!(spoken(other), Err(Kind::TusVersion), "{other:?}");
        }
    }

    #[test]
    fn metadata_is_pairs() {
        let read = |text: &str| metadata(&headers(&[("upload-metadata", text)])).map_err(|problem| problem.kind());
        assert_eq!(metadata(&HeaderMap::new()).unwrap(), None);
        assert_eq!(read(""), Ok(None));
        for right in ["filename d29ybGQ=", "a,b", "a ,b YQ==", "a YQ==, b YQ==", "is_confidential"] {
            assert_eq!(read(right), Ok(Some(right.to_owned())), "{right:?}");
        }
        for wrong in ["a YQ==,a YQ==", "a b c", ",", "a,", " ", "a YQ=", "a YQ==;b", "key !!!!"] {
            assert_eq!(
                read(wrong).map(|kept| kept.filter(|text| !text.is_empty())),
                match wrong {
                    " " => Ok(None),
                    _ => Err(Kind::BadRequest),
                },
                "{wrong:?}"
            );
        }
        assert_eq!(read(&format!("a {}", "AAAA".repeat(256))), Err(Kind::BadRequest));
        assert!(metadata(&headers(&[("upload-defer-length", "1")])).is_err());
    }

    #[test]
    fn an_expiry_is_a_date_of_http() {
        let (_, value) = expiry(Duration::from_secs(3600)).unwrap();
        let moment = httpdate::parse_http_date(value.to_str().unwrap()).unwrap();
        let left = moment.duration_since(SystemTime::now()).unwrap();
        assert!((3000..=3600).contains(&left.as_secs()), "{left:?}");
        assert!(expiry(Duration::MAX).is_none());
    }
}
