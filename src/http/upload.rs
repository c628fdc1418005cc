//! What is known about an upload before its first byte.

use axum::http::HeaderMap;

use super::auth::Permission;
use super::coding::{PlainClaims, plain_claims, refuse_codings};
use super::headers;
use super::problem::{Kind, Problem};
use crate::api;
use crate::content::SIZE_MAX;
use crate::id::{SnapshotId, VolumeId};
use crate::image::Identity;
use crate::transfer::{BaseClaim, Format, TransferError, Upload};

/// Reads the headers of a PUT of one snapshot.
pub(super) fn single(
    headers: &HeaderMap,
    volume: VolumeId,
    snapshot: SnapshotId,
    permission: Permission,
) -> Result<Upload, Problem> {
    headers::refuse_parts(headers)?;
    let format = single_format(headers)?;
    let length = plain_claims(headers)?.length;
    let size = match format {
        Format::Raw => Some(raw_size(length, permission.size)?),
        Format::RbdDiff => permission.size,
    };
    let upload = upload(headers, volume, snapshot, permission)?;
    if format == Format::Raw && upload.base != BaseClaim::default() {
        return Err(Problem::new(Kind::BadRequest, "a raw image is complete: send it without a base"));
    }
    Ok(Upload { format, size, ..upload })
}

/// Reads the headers of the first request of an upload; `declared` is the length of the representation.
pub(super) fn resumable(
    headers: &HeaderMap,
    volume: VolumeId,
    snapshot: SnapshotId,
    permission: Permission,
    declared: Option<u64>,
) -> Result<Upload, Problem> {
    headers::refuse_parts(headers)?;
    refuse_codings(headers)?;
    let format = match headers::media_type(headers)?.as_deref() {
        Some(api::TUS_BYTES) => Format::Raw,
        _ => single_format(headers)?,
    };
    let size = raw_size(declared, permission.size).map_err(|problem| match problem.kind() {
        Kind::LengthRequired => Problem::new(Kind::LengthRequired, "declare Upload-Length"),
        _ => problem,
    })?;
    let upload = upload(headers, volume, snapshot, permission)?;
    if format == Format::Raw && upload.base != BaseClaim::default() {
        return Err(Problem::new(Kind::BadRequest, "a raw image is complete: send it without a base"));
    }
    Ok(Upload { format, size: Some(size), length: None, ..upload })
}

/// Reads the headers of a PUT of a whole chain, of which `last` is the newest snapshot.
pub(super) fn chain(
    headers: &HeaderMap,
    volume: VolumeId,
    last: SnapshotId,
    permission: Permission,
) -> Result<Upload, Problem> {
    headers::refuse_parts(headers)?;
    refuse_codings(headers)?;
    match headers::media_type(headers)?.as_deref() {
        Some(api::RBD_IMAGE) => {}
        _ => return Err(media_type(&[api::RBD_IMAGE])),
    }
    let size = permission.size;
    let upload = upload(headers, volume, last, permission)?;
    Ok(Upload { size, ..upload })
}

fn upload(
    headers: &HeaderMap,
    volume: VolumeId,
    snapshot: SnapshotId,
    permission: Permission,
) -> Result<Upload, Problem> {
    let source = headers::source(headers)?;
    let marked_by = permission.sender.clone().filter(|_| source.source_mark.is_some());
    let PlainClaims { length, digests, digest_trailers } = plain_claims(headers)?;
    Ok(Upload {
        volume,
        snapshot,
        format: Format::RbdDiff,
        length,
        size: None,
        base: headers::base(headers)?,
        root: headers::root(headers)?,
        source: Identity { marked_by, ..source },
        issued: permission.issued,
        principal: permission.principal,
        sender: permission.sender,
        digests,
        digest_trailers,
        metadata: None,
    })
}

fn single_format(headers: &HeaderMap) -> Result<Format, Problem> {
    match headers::media_type(headers)?.as_deref() {
        None | Some(api::RAW) => Ok(Format::Raw),
        Some(api::RBD_DIFF) => Ok(Format::RbdDiff),
        Some(_) => Err(media_type(&[api::RAW, api::RBD_DIFF])),
    }
}

fn media_type(spoken: &[&str]) -> Problem {
    let detail = format!("send it with `Content-Type: {}`", spoken.join("` or `Content-Type: "));
    Problem::new(Kind::MediaType, detail)
}

/// A raw image says nothing of itself, so its size comes from outside, and a shorter one is a cut one.
fn raw_size(length: Option<u64>, allowed: Option<u64>) -> Result<u64, Problem> {
    match (length, allowed) {
        (Some(size), Some(allowed)) if size != allowed => Err(TransferError::Size { size, allowed }.into()),
        (Some(size), _) | (None, Some(size)) if size <= SIZE_MAX => Ok(size),
        (None, None) => {
            let detail = "declare Content-Length (of plain bytes), or use a ticket that was asked for with a size";
            Err(Problem::new(Kind::LengthRequired, detail))
        }
        _ => Err(Problem::new(Kind::ImageSize, format!("an image has at most {SIZE_MAX} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use axum::http::HeaderName;

    use super::*;

    fn read(lines: &[(&'static str, &str)], size: Option<u64>) -> Result<Upload, Kind> {
        let parse = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let headers: HeaderMap = lines.iter().map(parse).collect();
        let permission = Permission {
            principal: "ticket:x".to_owned(),
            sender: Some("token:x".to_owned()),
            issued: SystemTime::now(),
            size,
        };
        let read = single(&headers, "v1".parse().unwrap(), "s1".parse().unwrap(), permission);
        read.map_err(|problem| problem.kind())
    }

    const DIFF: (&str, &str) = ("content-type", api::RBD_DIFF);

    #[test]
    fn the_format_is_the_media_type() {
        assert_eq!(read(&[("content-length", "9")], None).unwrap().format, Format::Raw);
        assert_eq!(read(&[DIFF], None).unwrap().format, Format::RbdDiff);
        for other in ["application/json", api::RBD_IMAGE, "application/x-www-form-urlencoded"] {
            assert_eq!(read(&[("content-type", other)], Some(9)).unwrap_err(), Kind::MediaType, "{other}");
        }
    }

    #[test]
    fn the_size_of_a_raw_image_is_known_and_exact() {
        assert_eq!(read(&[("content-length", "9")], None).unwrap().size, Some(9));
        assert_eq!(read(&[("content-length", "9")], Some(9)).unwrap().size, Some(9));
        assert_eq!(read(&[], Some(9)).unwrap().size, Some(9));
        assert_eq!(read(&[], None).unwrap_err(), Kind::LengthRequired);
        for wrong in ["8", "10"] {
            assert_eq!(read(&[("content-length", wrong)], Some(9)).unwrap_err(), Kind::Size);
        }
        assert_eq!(read(&[], Some(u64::MAX)).unwrap_err(), Kind::ImageSize);
    }

    #[test]
    fn the_length_of_packed_bytes_is_not_that_of_the_image() {
        let packed = ("content-encoding", "zstd");
        let upload = read(&[packed, ("content-length", "5")], Some(9)).unwrap();
        assert_eq!((upload.size, upload.length), (Some(9), None));
        assert_eq!(read(&[packed, ("content-length", "5")], None).unwrap_err(), Kind::LengthRequired);
    }

    #[test]
    fn a_diff_is_bound_by_the_ticket_and_not_by_its_length() {
        let upload = read(&[DIFF, ("content-length", "100")], Some(9)).unwrap();
        assert_eq!((upload.size, upload.length), (Some(9), Some(100)));
        assert_eq!(read(&[DIFF], None).unwrap().size, None);
    }

    #[test]
    fn a_raw_image_has_no_base() {
        assert_eq!(read(&[("rsnap-base", "s0")], Some(9)).unwrap_err(), Kind::BadRequest);
        assert_eq!(read(&[DIFF, ("rsnap-base", "s0")], Some(9)).unwrap().base.snapshot.unwrap().as_str(), "s0");
    }
}
