//! What gateways write about themselves and believe of each other: text with a keyed checksum.
//!
//! etcd is shared with other services, and whoever writes there could name an address of his own and be sent tickets.
//! So nothing in etcd is believed but what is signed with a secret of the group: a key derived from the ticket keys,
//! which all gateways of a site have and etcd does not. Format, two lines of JSON like the records of the file store:
//!
//! ```text
//! {"kind":"gateway","version":1,"key":"k1","mac":"<64 hexadecimal digits: HMAC-SHA256 over kind, version and second line>"}
//! {"address":"192.0.2.10:8443","group":"dc2/…","tls_name":"…","tls_sha256":"…"}
//! ```
//!
//! Signed with the first key, accepted with any, as tickets are: keys can be changed one gateway after the other. An
//! expiry in the record was refused, because clocks jump; that its gateway lives is known from its count.

use std::net::SocketAddr;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;
/// Makes the keys for records others than those for tickets.
const PURPOSE: &[u8] = b"rsnap gateway records 1";

/// What can be signed.
pub(super) trait Body: Serialize + DeserializeOwned {
    const KIND: &'static str;
}

/// Under `/rsnap/gateways/<ip:port>`: what a caller needs to know to send to that gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayRecord {
    pub address: SocketAddr,
    pub group: String,
    /// The name to verify in its certificate.
    pub tls_name: String,
    /// SHA-256 of its certificate (DER), in hexadecimal.
    pub tls_sha256: String,
}

impl Body for GatewayRecord {
    const KIND: &'static str = "gateway";
}

/// Under `/rsnap/group`: to whom the registry belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupRecord {
    pub(super) group: String,
}

impl Body for GroupRecord {
    const KIND: &'static str = "group";
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    kind: String,
    version: u32,
    key: String,
    mac: String,
}

/// The secrets of a group.
pub struct Seal {
    /// By id; the first signs.
    keys: Vec<(String, hmac::Key)>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// From ids and secrets.
    #[must_use]
    pub fn new(secrets: &[(String, String)]) -> Self {
        let derive = |secret: &str| {
            let derived = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret.as_bytes()), PURPOSE);
            hmac::Key::new(HMAC_SHA256, derived.as_ref())
        };
        Self { keys: secrets.iter().map(|(id, secret)| (id.clone(), derive(secret))).collect() }
    }

    /// The text of `body`; the same every time.
    pub(super) fn sign<T: Body>(&self, body: &T) -> Option<Vec<u8>> {
        let (id, key) = self.keys.first()?;
        let body = serde_json::to_string(body).ok()?;
        let mac = hex(hmac::sign(key, &signed(T::KIND, &body)).as_ref());
        let head = Head { kind: T::KIND.to_owned(), version: VERSION, key: id.clone(), mac };
        Some(format!("{}\n{body}\n", serde_json::to_string(&head).ok()?).into_bytes())
    }

    /// What is signed in `text`; `None` when it is not, or not by us.
    pub(super) fn verify<T: Body>(&self, text: &[u8]) -> Option<T> {
        let (head, body) = str::from_utf8(text).ok()?.strip_suffix('\n')?.split_once('\n')?;
        let head: Head = serde_json::from_str(head).ok()?;
        if head.kind != T::KIND || head.version != VERSION {
            return None;
        }
        let (_, key) = self.keys.iter().find(|(id, _)| *id == head.key)?;
        hmac::verify(key, &signed(T::KIND, body), &unhex(&head.mac)?).ok()?;
        serde_json::from_str(body).ok()
    }
}

fn signed(kind: &str, body: &str) -> Vec<u8> {
    format!("{kind}\n{VERSION}\n{body}").into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().filter_map(|[high, low]| u8::try_from(high << 4 | low).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(secrets: &[(&str, &str)]) -> Seal {
        let owned: Vec<_> = secrets.iter().map(|(id, key)| ((*id).to_owned(), (*key).to_owned())).collect();
        Seal::new(&owned)
    }

    fn record() -> GatewayRecord {
        GatewayRecord {
            address: "192.0.2.1:8443".parse().unwrap(),
            group: "dc2/g".to_owned(),
            tls_name: "gw1.example".to_owned(),
            tls_sha256: "ab".repeat(32),
        }
    }

    #[test]
    fn what_is_signed_is_read_back_and_is_the_same_every_time() {
        let seal = seal(&[("k1", "secret-one")]);
        let text = seal.sign(&record()).unwrap();
        assert_eq!(seal.verify::<GatewayRecord>(&text), Some(record()));
        assert_eq!(seal.sign(&record()).unwrap(), text);
    }

    #[test]
    fn keys_are_changed_one_gateway_after_the_other() {
        let (old, both, new) = (seal(&[("k1", "one")]), seal(&[("k2", "two"), ("k1", "one")]), seal(&[("k2", "two")]));
        let text = old.sign(&record()).unwrap();
        assert!(both.verify::<GatewayRecord>(&text).is_some());
        assert!(new.verify::<GatewayRecord>(&text).is_none());
        assert!(new.verify::<GatewayRecord>(&both.sign(&record()).unwrap()).is_some());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let seal = seal(&[("k1", "one")]);
        let text = seal.sign(&record()).unwrap();
        for position in 0..text.len() {
            let mut changed = text.clone();
            changed[position] ^= 1;
            assert_ne!(seal.verify::<GatewayRecord>(&changed), Some(record()), "{position}");
        }
    }

    #[test]
    fn forgeries_are_refused() {
        let seal = seal(&[("k1", "one")]);
        let other = self::seal(&[("k1", "other")]);
        assert!(seal.verify::<GatewayRecord>(&other.sign(&record()).unwrap()).is_none());
        let group = seal.sign(&GroupRecord { group: "dc2/g".to_owned() }).unwrap();
        assert!(seal.verify::<GatewayRecord>(&group).is_none(), "a record of another kind");
        for text in [&b""[..], b"\n\n", b"{}\n{}\n", b"\xff\xff"] {
            assert!(seal.verify::<GatewayRecord>(text).is_none());
        }
    }
}
