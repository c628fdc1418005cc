//! Bodies that come packed, with `Content-Encoding: zstd`.
//!
//! What HTTP says of a body is about it as it comes: `Content-Length`, `Content-Digest` and `Repr-Digest`, so those are
//! compared here, before anything is unpacked. What rsnap says is about the plain bytes: offsets, ranges, sizes,
//! `Rsnap-Body-Digest` and the content root. Durable is thus always a place in the image, and an upload may go on with
//! another coding, or none.
//!
//! A coded POST that begins an upload is refused: to HTTP its offsets would count packed bytes.

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::headers::{self, one};
use super::problem::{Kind, Problem};
use crate::coding::{UnpackError, Unpacker, ZSTD};
use crate::content::SIZE_MAX;
use crate::transfer::{BodyError, Digest, DigestTrailers, Format, Hashes};

/// What a stream of changes may have beyond twice its data: names, records, and signs of life over days.
const RECORDS: u64 = 16 << 20;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Zstd,
}

/// Reads `Content-Encoding`.
pub(super) fn coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    match one(headers, &CONTENT_ENCODING)? {
        None => Ok(Coding::Plain),
        Some(name) if name.eq_ignore_ascii_case("identity") => Ok(Coding::Plain),
        Some(name) if name.eq_ignore_ascii_case(ZSTD) => Ok(Coding::Zstd),
        Some(name) => {
            let detail =
                format!("send the body with `Content-Encoding: {ZSTD}` or without, not with the coding {name}");
            Err(Problem::coding(ZSTD, detail))
        }
    }
}

/// Refuses a coded body where only a plain one has a meaning.
pub(super) fn refuse_codings(headers: &HeaderMap) -> Result<(), Problem> {
    match coding(headers)? {
        Coding::Plain => Ok(()),
        Coding::Zstd => Err(Problem::coding("identity", format!("send this body without the coding {ZSTD}"))),
    }
}

/// Says in an answer which coding the next request may have (RFC 9110, 12.5.3).
pub(super) fn accepted() -> (HeaderName, HeaderValue) {
    (ACCEPT_ENCODING, HeaderValue::from_static(ZSTD))
}

/// What the headers of a request say of its plain bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct PlainClaims {
    pub(super) length: Option<u64>,
    pub(super) digests: Vec<Digest>,
    pub(super) digest_trailers: DigestTrailers,
}

pub(super) fn plain_claims(headers: &HeaderMap) -> Result<PlainClaims, Problem> {
    let (length, digests) = (headers::content_length(headers)?, headers::digests(headers)?);
    let digest_trailers = headers::announced(headers).digests;
    Ok(match coding(headers)? {
        Coding::Plain => PlainClaims { length, digests, digest_trailers },
        Coding::Zstd => {
            let digest_trailers = DigestTrailers { sha256: false, ..digest_trailers };
            PlainClaims { digest_trailers, ..PlainClaims::default() }
        }
    })
}

/// The most plain bytes that can be meant by a body about `size` bytes of an image.
pub(super) fn most(format: Format, size: Option<u64>) -> u64 {
    let size = size.unwrap_or(SIZE_MAX);
    match format {
        Format::Raw => size,
        Format::RbdDiff => size.saturating_mul(2).saturating_add(RECORDS),
    }
}

/// Unpacks one body, and compares it with what was said of its packed bytes.
pub(super) struct Unpacking {
    unpacker: Unpacker,
    hashes: Hashes,
    announced: Vec<Digest>,
}

impl std::fmt::Debug for Unpacking {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Unpacking").field("unpacker", &self.unpacker).finish_non_exhaustive()
    }
}

impl Unpacking {
    /// For a body of at most `most` plain bytes; `None` for one that is not packed.
    pub(super) fn of(headers: &HeaderMap, most: u64) -> Result<Option<Self>, Problem> {
        if coding(headers)? == Coding::Plain {
            return Ok(None);
        }
        let announced = headers::digests(headers)?;
        let trailers = DigestTrailers { blake3: false, ..headers::announced(headers).digests };
        let hashes = Hashes::new(&announced, trailers);
        let unpacker = Unpacker::new(most).map_err(|fault| Problem::hidden(Kind::Internal, fault))?;
        Ok(Some(Self { unpacker, hashes, announced }))
    }

    pub(super) fn push(&mut self, packed: Bytes) -> Result<(), BodyError> {
        self.hashes.update(&packed);
        self.unpacker.push(packed).map_err(broken)
    }

    /// The next plain bytes; `None` when more packed ones are needed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.unpacker.next().map_err(broken)
    }

    /// The body has ended.
    pub(super) fn finish(&self) -> Result<(), BodyError> {
        self.unpacker.finish().map_err(broken)
    }

    /// Compares the packed bytes with the header's digests and those of the trailer.
    pub(super) fn verify(&mut self, trailers: &[Digest]) -> Result<(), BodyError> {
        let hashes = std::mem::replace(&mut self.hashes, Hashes::new(&[], DigestTrailers::default()));
        let expected = self.announced.iter().chain(trailers);
        hashes.verify(expected).map_err(|fault| BodyError::Digest(fault.to_string()))
    }
}

/// A frame that was cut is a body that was cut; all else says that the sender does not pack as he should.
fn broken(error: UnpackError) -> BodyError {
    match error {
        UnpackError::Cut => BodyError::Cut(error.to_string()),
        _ => BodyError::Coding(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::headers;

    #[test]
    fn one_coding_is_spoken() {
        let read = |text| coding(&headers(&[("content-encoding", text)])).map_err(|problem| problem.kind());
        assert_eq!(coding(&HeaderMap::new()).unwrap(), Coding::Plain);
        assert_eq!(
            (read("identity"), read("zstd"), read("ZSTD")),
            (Ok(Coding::Plain), Ok(Coding::Zstd), Ok(Coding::Zstd))
        );
        for other in ["gzip", "zstd, zstd", "", "zstd;q=1"] {
            assert_eq!(read(other), Err(Kind::Coding), "{other:?}");
        }
        assert!(refuse_codings(&headers(&[("content-encoding", "zstd")])).is_err());
    }

    #[test]
    fn what_is_said_of_packed_bytes_is_not_said_of_plain_ones() {
        let digest = format!("sha-256=:{}=:", "A".repeat(43));
        let lines =
            [("content-length", "9"), ("content-digest", &*digest), ("trailer", "repr-digest, rsnap-body-digest")];
        let plain = plain_claims(&headers(&lines)).unwrap();
        assert_eq!((plain.length, plain.digests.len()), (Some(9), 1));
        assert_eq!(plain.digest_trailers, DigestTrailers { sha256: true, blake3: true });
        let packed = plain_claims(&headers(&[&lines[..], &[("content-encoding", "zstd")]].concat())).unwrap();
        assert_eq!((packed.length, packed.digests.len()), (None, 0));
        assert_eq!(packed.digest_trailers, DigestTrailers { sha256: false, blake3: true });
    }

    #[test]
    fn a_body_is_as_long_as_what_it_is_about() {
        assert_eq!(most(Format::Raw, Some(10)), 10);
        assert_eq!(most(Format::RbdDiff, Some(10)), 20 + RECORDS);
        assert_eq!(most(Format::Raw, None), SIZE_MAX);
    }
}
