//! `Content-Digest` and `Repr-Digest`, RFC 9530 sections 2 and 3: a dictionary of structured fields (RFC 9651 section
//! 3.2) with the algorithm's name as the key and a byte sequence as the value.
//!
//! sha-256 and sha-512 are taken, other names are ignored as the RFC asks, and a field that breaks its grammar is an
//! error: a sender who gave a digest means it to be verified; ignoring a broken one would promise more than was done.

use std::fmt;

use sfv::{BareItem, DictSerializer, Dictionary, Item, ListEntry, Parser, key_ref};

const SHA_256: &str = "sha-256";
const SHA_512: &str = "sha-512";

/// A digest that we can verify. Displayed, it is a field value with this one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// Why a digest field is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("the field is not a dictionary of RFC 9651, expected such as sha-256=:base64=: ({detail})")]
    Syntax { detail: String },
    #[error("the value of {algorithm} is not a byte sequence, expected base64 between colons")]
    NotBytes { algorithm: String },
    #[error("the value of {algorithm} has {found} bytes, expected {expected}")]
    Length { algorithm: &'static str, found: usize, expected: usize },
}

impl Digest {
    /// The algorithm's name in the field.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => SHA_256,
            Self::Sha512(_) => SHA_512,
        }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    fn member(algorithm: &str, bytes: &[u8]) -> Result<Option<Self>, DigestError> {
        match algorithm {
            SHA_256 => sized(SHA_256, bytes).map(|bytes| Some(Self::Sha256(bytes))),
            SHA_512 => sized(SHA_512, bytes).map(|bytes| Some(Self::Sha512(bytes))),
            _ => Ok(None),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut serializer = DictSerializer::new();
        let _ = serializer.bare_item(key_ref(self.algorithm()), self.bytes());
        formatter.write_str(&serializer.finish().unwrap_or_default())
    }
}

/// The digests of a field, given as its lines in the order of the message; several lines are one list (RFC 9110 section
/// 5.3). An algorithm that is named twice counts as it was named last (RFC 9651 section 3.2).
pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Digest>, DigestError> {
    let value = lines.into_iter().collect::<Vec<_>>().join(b", ".as_slice());
    let members: Dictionary = Parser::new(&value).parse().map_err(|error| syntax(&error))?;
    members.iter().filter_map(|(key, value)| digest(key.as_str(), value).transpose()).collect()
}

/// A field value with these digests; `None` when there are none, as an empty dictionary is a field that is not sent.
#[must_use]
pub fn format(digests: &[Digest]) -> Option<String> {
    let members: Vec<_> = digests.iter().map(Digest::to_string).collect();
    (!members.is_empty()).then(|| members.join(", "))
}

fn digest(algorithm: &str, value: &ListEntry) -> Result<Option<Digest>, DigestError> {
    match value {
        ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), .. }) => Digest::member(algorithm, bytes),
        _ => Err(DigestError::NotBytes { algorithm: algorithm.to_owned() }),
    }
}

fn sized<const N: usize>(algorithm: &'static str, bytes: &[u8]) -> Result<[u8; N], DigestError> {
    bytes.try_into().map_err(|_| DigestError::Length { algorithm, found: bytes.len(), expected: N })
}

fn syntax(error: &sfv::Error) -> DigestError {
    DigestError::Syntax { detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9530, section 2: `{"hello": "world"}` and a line feed.
    const RFC_SHA_256: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    const RFC_SHA_512: &str =
        "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:";

    fn one(value: &str) -> Result<Vec<Digest>, DigestError> {
        parse([value.as_bytes()])
    }

    #[test]
    fn the_examples_of_the_rfc() {
        let both = one(&format!("{RFC_SHA_256}, {RFC_SHA_512}")).unwrap();
        let [Digest::Sha256(short), Digest::Sha512(long)] = both[..] else { panic!("{both:?}") };
        assert_eq!((short[0], short[31], long[0], long[63]), (0x44, 0x38, 0x60, 0xaa));
        assert_eq!(format(&both), Some(format!("{RFC_SHA_256}, {RFC_SHA_512}")));
    }

    #[test]
    fn lines_are_one_list() {
        let lines = [RFC_SHA_512.as_bytes(), RFC_SHA_256.as_bytes()];
        let algorithms: Vec<_> = parse(lines).unwrap().iter().map(Digest::algorithm).collect();
        assert_eq!(algorithms, ["sha-512", "sha-256"]);
        assert!(parse([RFC_SHA_256.as_bytes(), b""]).is_err());
    }

    #[test]
    fn the_last_of_a_name_counts() {
        let zero = Digest::Sha256([0; 32]);
        assert_eq!(one(&format!("{RFC_SHA_256}, {zero}")).unwrap(), [zero]);
    }

    #[test]
    fn other_algorithms_and_parameters_are_ignored() {
        assert_eq!(one("md5=:AAAA:, sha=:BBBB:, unixsum=::"), Ok(vec![]));
        assert_eq!(one(""), Ok(vec![]));
        assert_eq!(one(&format!("md5=:AAAA:,\t{RFC_SHA_256};a=1;b")).unwrap().len(), 1);
    }

    #[test]
    fn a_value_has_the_length_of_its_algorithm() {
        let short = DigestError::Length { algorithm: "sha-256", found: 3, expected: 32 };
        assert_eq!(one("sha-256=:AAAA:"), Err(short));
        let other = RFC_SHA_256.replace("sha-256", "sha-512");
        assert_eq!(one(&other), Err(DigestError::Length { algorithm: "sha-512", found: 32, expected: 64 }));
        let empty = DigestError::Length { algorithm: "sha-256", found: 0, expected: 32 };
        assert_eq!(one("sha-256=::"), Err(empty));
    }

    #[test]
    fn a_value_is_a_byte_sequence() {
        for value in
            ["sha-256", "sha-256=?1", "sha-256=1", "sha-256=AAAA:", "sha-256=\"RK/0\"", "sha-256=(:AAAA:)", "other=a"]
        {
            assert!(matches!(one(value), Err(DigestError::NotBytes { .. })), "{value}");
        }
    }

    #[test]
    fn near_misses_are_errors() {
        for value in [
            "SHA-256=:AAAA:",
            "sha-256=:AAAA",
            "sha-256 =:AAAA:",
            "sha-256= :AAAA:",
            "sha-256=:AAAA:,",
            ",sha-256=:AAAA:",
            "sha-256=:AA*A:",
            "sha-256=:AAAA:\0",
            "sha-256=:AA\u{e9}A:",
        ] {
            assert!(matches!(one(value), Err(DigestError::Syntax { .. })), "{value:?}: {:?}", one(value));
        }
    }

    proptest! {
        #[test]
        fn what_is_formatted_is_parsed(short: [u8; 32], long in any::<[[u8; 32]; 2]>()) {
            let mut bytes = [0; 64];
            bytes.copy_from_slice(long.as_flattened());
            let digests = vec![Digest::Sha256(short), Digest::Sha512(bytes)];
            prop_assert_eq!(one(&format(&digests).unwrap()), Ok(digests));
        }

        #[test]
        fn arbitrary_lines_never_panic(lines: Vec<Vec<u8>>) {
            let _ = parse(lines.iter().map(Vec::as_slice));
        }
    }
}
