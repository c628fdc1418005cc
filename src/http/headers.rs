//! Request headers as values: each at most once, each in its grammar.

use std::str::FromStr;

use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, TRAILER};
use axum::http::{HeaderMap, HeaderName};
use rsnap_wire::digest;

use super::problem::{Kind, Problem};
use crate::api;
use crate::content::Root;
use crate::id::SnapshotId;
use crate::image::Identity;
use crate::transfer::{BaseClaim, Digest, DigestTrailers};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const BODY_DIGEST: HeaderName = HeaderName::from_static(api::BODY_DIGEST);
const BASE: HeaderName = HeaderName::from_static(api::BASE);
const BASE_ROOT: HeaderName = HeaderName::from_static(api::BASE_ROOT);
const CONTENT_ROOT: HeaderName = HeaderName::from_static(api::CONTENT_ROOT);
const SOURCE_VOLUME: HeaderName = HeaderName::from_static(api::SOURCE_VOLUME);
const SOURCE_SNAPSHOT: HeaderName = HeaderName::from_static(api::SOURCE_SNAPSHOT);
const SOURCE_MARK: HeaderName = HeaderName::from_static(api::SOURCE_MARK);
const BASE_MARK: HeaderName = HeaderName::from_static(api::BASE_MARK);
/// Longest name from the source that is kept, in bytes.
const SOURCE_NAME_MAX: usize = 256;

/// The one value of a header: a second one is a fault, because the one that was checked need not be the one that counts.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::new(Kind::BadRequest, format!("the header {name} is there twice")));
    }
    let text = value.to_str().map_err(|_| Problem::new(Kind::BadRequest, format!("the header {name} is not ASCII")))?;
    Ok(Some(text.trim()))
}

fn parsed<T: FromStr>(headers: &HeaderMap, name: &HeaderName, kind: Kind) -> Result<Option<T>, Problem>
where
    T::Err: ToString,
{
    let fault = |error: T::Err| Problem::new(kind, format!("{name}: {}", error.to_string()));
    one(headers, name)?.map(|text| text.parse().map_err(fault)).transpose()
}

/// The content root that a sender announces, from the headers or the trailer.
pub(super) fn root(headers: &HeaderMap) -> Result<Option<Root>, Problem> {
    parsed(headers, &CONTENT_ROOT, Kind::BadDigest)
}

/// The digests in `Content-Digest` and `Repr-Digest`. They mean the same here: a PUT sends the whole representation,
/// and both are about the bytes as they come, packed or not.
pub(super) fn digests(headers: &HeaderMap) -> Result<Vec<Digest>, Problem> {
    let mut all = Vec::new();
    for name in [CONTENT_DIGEST, REPR_DIGEST] {
        let lines = headers.get_all(&name).iter().map(|value| value.as_bytes());
        let found = digest::parse(lines).map_err(|fault| Problem::new(Kind::BadDigest, format!("{name}: {fault}")))?;
        all.extend(found.into_iter().map(|digest| match digest {
            digest::Digest::Sha256(bytes) => Digest::Sha256(bytes),
            digest::Digest::Sha512(bytes) => Digest::Sha512(bytes),
        }));
    }
    Ok(all)
}

/// The digest in `Rsnap-Body-Digest`.
pub(super) fn body_digest(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let Some(text) = one(headers, &BODY_DIGEST)? else { return Ok(None) };
    let malformed = |fault| Problem::new(Kind::BadDigest, format!("{BODY_DIGEST}: {fault}"));
    blake3::Hash::from_hex(text).map(|hash| Some(Digest::Blake3(hash))).map_err(malformed)
}

/// One request of an upload is a part of the representation: a digest of the whole of it could not be computed over
/// several gateways, so it is refused and not ignored.
pub(super) fn refuse_whole_digests(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(REPR_DIGEST) {
        let detail =
            "an upload is verified by Rsnap-Content-Root, and each request by Content-Digest; leave out Repr-Digest";
        return Err(Problem::new(Kind::BadDigest, detail));
    }
    Ok(())
}

/// What the sender says will come after the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) digests: DigestTrailers,
    pub(super) root: bool,
}

/// Reads the `Trailer` field.
pub(super) fn announced(headers: &HeaderMap) -> Announced {
    let lines = headers.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names: Vec<_> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let has = |name: &HeaderName| names.iter().any(|found| found.eq_ignore_ascii_case(name.as_str()));
    let digests = DigestTrailers { sha256: has(&CONTENT_DIGEST) || has(&REPR_DIGEST), blake3: has(&BODY_DIGEST) };
    Announced { digests, root: has(&CONTENT_ROOT) }
}

/// What the sender claims of the base.
pub(super) fn base(headers: &HeaderMap) -> Result<BaseClaim, Problem> {
    let snapshot: Option<SnapshotId> = parsed(headers, &BASE, Kind::BadName)?;
    let (root, mark) = (parsed(headers, &BASE_ROOT, Kind::BadDigest)?, parsed(headers, &BASE_MARK, Kind::BadName)?);
    Ok(BaseClaim { snapshot, root, mark })
}

/// What the source is there: names of volume and snapshot, and the mark of its content.
pub(super) fn source(headers: &HeaderMap) -> Result<Identity, Problem> {
    Ok(Identity {
        source_volume: source_name(headers, &SOURCE_VOLUME)?,
        source_snapshot: source_name(headers, &SOURCE_SNAPSHOT)?,
        source_mark: parsed(headers, &SOURCE_MARK, Kind::BadName)?,
        marked_by: None,
    })
}

fn source_name(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    match one(headers, name)? {
        Some(text) if text.is_empty() || text.len() > SOURCE_NAME_MAX => {
            Err(Problem::new(Kind::BadName, format!("{name} has 1 to {SOURCE_NAME_MAX} characters")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// The media type of the body, without parameters; `None` when nothing is said.
pub(super) fn media_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok(one(headers, &CONTENT_TYPE)?.map(essence))
}

/// The length of the body, when declared.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(text) = one(headers, &CONTENT_LENGTH)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.map(Some).ok_or_else(|| Problem::new(Kind::BadRequest, "Content-Length is not a number"))
}

/// Refuses what would be stored as something else than it is: a range of the snapshot.
pub(super) fn refuse_parts(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.contains_key(CONTENT_RANGE) {
        false => Ok(()),
        true => {
            let detail = "send the whole snapshot without Content-Range (curl: without -C)";
            Err(Problem::new(Kind::ContentRange, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::headers;

    #[test]
    fn a_header_that_is_there_twice_is_refused() {
        let twice = headers(&[("rsnap-base", "a"), ("rsnap-base", "b")]);
        assert_eq!(base(&twice).unwrap_err().kind(), Kind::BadRequest);
        assert_eq!(base(&headers(&[("rsnap-base", "a")])).unwrap().snapshot.unwrap().as_str(), "a");
        assert_eq!(base(&headers(&[("rsnap-base", "../a")])).unwrap_err().kind(), Kind::BadName);
        assert_eq!(base(&headers(&[("rsnap-base-root", "abc")])).unwrap_err().kind(), Kind::BadDigest);
    }

    #[test]
    fn both_digest_fields_count() {
        let sha256 = format!("sha-256=:{}=:", "A".repeat(43));
        let sha512 = format!("sha-512=:{}==:", "A".repeat(86));
        let both = headers(&[("content-digest", &sha256), ("repr-digest", &sha512)]);
        assert_eq!(digests(&both).unwrap(), [Digest::Sha256([0; 32]), Digest::Sha512([0; 64])]);
        assert!(digests(&headers(&[("content-digest", "md5=:AAAA:")])).unwrap().is_empty());
        assert_eq!(digests(&headers(&[("repr-digest", "sha-256=:AAAA:")])).unwrap_err().kind(), Kind::BadDigest);
    }

    #[test]
    fn trailers_are_announced_in_one_line_or_several() {
        let digests = DigestTrailers { sha256: true, blake3: false };
        let both = Announced { digests, root: true };
        assert_eq!(announced(&headers(&[("trailer", "Content-Digest, rsnap-content-root")])), both);
        assert_eq!(announced(&headers(&[("trailer", "rsnap-content-root"), ("trailer", "repr-digest")])), both);
        assert_eq!(announced(&headers(&[("trailer", "expires")])), Announced::default());
        let own = announced(&headers(&[("trailer", "Rsnap-Body-Digest")]));
        assert_eq!(own.digests, DigestTrailers { sha256: false, blake3: true });
    }

    #[test]
    fn parts_are_refused() {
        let kind = |lines| refuse_parts(&headers(lines)).map_err(|problem| problem.kind());
        assert_eq!(kind(&[("content-range", "bytes 1-2/3")]), Err(Kind::ContentRange));
        assert_eq!(kind(&[]), Ok(()));
    }

    #[test]
    fn lengths_and_types_are_read_strictly() {
        assert_eq!(content_length(&headers(&[("content-length", "12")])).unwrap(), Some(12));
        for wrong in ["+1", "", "1 2", "99999999999999999999", "0x1"] {
            assert!(content_length(&headers(&[("content-length", wrong)])).is_err(), "{wrong:?}");
        }
        let typed = headers(&[("content-type", "Application/Octet-Stream; charset=binary")]);
        assert_eq!(media_type(&typed).unwrap().as_deref(), Some(api::RAW));
    }

    #[test]
    fn marks_are_bounded() {
        let given = headers(&[("rsnap-source-mark", "rbd:f/1/i@2"), ("rsnap-base-mark", "rbd:f/1/i@1")]);
        assert_eq!(source(&given).unwrap().source_mark.unwrap().as_str(), "rbd:f/1/i@2");
        assert_eq!(base(&given).unwrap().mark.unwrap().as_str(), "rbd:f/1/i@1");
        for wrong in ["", "a b", &"x".repeat(513)] {
            let given = headers(&[("rsnap-source-mark", wrong), ("rsnap-base-mark", wrong)]);
            assert_eq!(source(&given).unwrap_err().kind(), Kind::BadName);
            assert_eq!(base(&given).unwrap_err().kind(), Kind::BadName);
        }
    }

    #[test]
    fn names_of_the_source_are_bounded() {
        let long = "x".repeat(SOURCE_NAME_MAX + 1);
        assert!(source(&headers(&[("rsnap-source-volume", &long)])).is_err());
        let given = headers(&[("rsnap-source-volume", "volume/with:odd name"), ("rsnap-source-snapshot", "s")]);
        assert_eq!(source(&given).unwrap().source_volume.as_deref(), Some("volume/with:odd name"));
    }
}
