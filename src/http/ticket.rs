//! Tickets: the signed permission for one transfer.
//!
//! The source has no account here and may reach any gateway of the site, so the permission travels with the request
//! and every gateway can check it alone: a JWT signed with HS256, whose key all gateways share through their
//! configuration. What is verified is fixed here and not chosen by the token: one algorithm, one audience, a key by its
//! id, no unknown claims (a newer gateway may have written a restriction that this one does not know). The expiry
//! limits the start of a transfer only. A table of handed-out permissions was refused: gateways keep no state.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use super::problem::{Kind, Problem};
use crate::id::{ProjectId, SiteName, SnapshotId, VolumeId};

/// The only audience.
pub(super) const AUDIENCE: &str = "rsnap";
/// Longest ticket, in bytes: it must fit the header limits on the way.
const TICKET_MAX: usize = 16 << 10;
/// How far the clocks of two gateways may be apart.
const SKEW: Duration = Duration::from_secs(30);

/// What a ticket allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Plan,
    Put,
    Read,
    Cancel,
}

impl Operation {
    /// What every ticket is for today.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Put, Self::Read, Self::Cancel];
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub aud: String,
    /// The target site.
    pub site: SiteName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    pub volume: VolumeId,
    /// The snapshots that may be written, by the target's ids.
    pub snapshots: Vec<SnapshotId>,
    /// Size of the volume, in bytes.
    pub size: u64,
    pub operations: Vec<Operation>,
    /// The caller who was given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Makes each ticket unique, and names it in the audit log.
    pub jti: String,
    /// When it was issued, in seconds since the Unix epoch with a fraction: what was deleted in the same second before
    /// must not look newer.
    pub iat: f64,
    /// Until when a transfer may start, in seconds since the Unix epoch.
    pub exp: u64,
}

impl Claims {
    /// When the ticket was issued.
    #[must_use]
    pub fn issued(&self) -> SystemTime {
        let seconds = Duration::try_from_secs_f64(self.iat).unwrap_or_default();
        UNIX_EPOCH.checked_add(seconds).unwrap_or(UNIX_EPOCH)
    }

    #[must_use]
    pub fn allows(&self, operation: Operation) -> bool {
        self.operations.contains(&operation)
    }
}

/// Why a ticket is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error("the ticket has expired: ask GET /server for another one")]
    Expired,
    #[error("the ticket was not signed with a key of this site: ask this site's GET /server for one")]
    UnknownKey,
    #[error("the ticket is not valid ({0}): ask GET /server for another one")]
    Invalid(&'static str),
    #[error("the ticket would be longer than {TICKET_MAX} bytes: ask for fewer snapshots at once")]
    TooLong,
    #[error("could not sign the ticket: {0}")]
    Sign(String),
}

impl From<TicketError> for Problem {
    fn from(error: TicketError) -> Self {
        let kind = match error {
            TicketError::Expired => Kind::ExpiredTicket,
            TicketError::UnknownKey | TicketError::Invalid(_) => Kind::BadTicket,
            TicketError::TooLong => Kind::BadRequest,
            TicketError::Sign(_) => return Self::hidden(Kind::Internal, error),
        };
        Self::new(kind, error.to_string())
    }
}

/// The keys that the gateways of one site share.
pub(super) struct Keys {
    id: String,
    signing: EncodingKey,
    verifying: BTreeMap<String, DecodingKey>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keys").field("ids", &self.verifying.keys()).finish_non_exhaustive()
    }
}

impl Keys {
    /// Signs with the first of `id` and secret, verifies with all. `None` without any.
    #[must_use]
    pub(super) fn new(keys: &[(String, String)]) -> Option<Self> {
        let (id, secret) = keys.first()?;
        let verifying = keys.iter().map(|(id, secret)| (id.clone(), DecodingKey::from_secret(secret.as_bytes())));
        let signing = EncodingKey::from_secret(secret.as_bytes());
        Some(Self { id: id.clone(), signing, verifying: verifying.collect() })
    }

    /// Signs a ticket.
    pub(super) fn mint(&self, claims: &Claims) -> Result<String, TicketError> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::HS256) };
        let ticket = encode(&header, claims, &self.signing).map_err(|error| TicketError::Sign(error.to_string()))?;
        if ticket.len() > TICKET_MAX { Err(TicketError::TooLong) } else { Ok(ticket) }
    }

    /// The claims of a ticket that is genuine and not expired at `now`.
    pub(super) fn verify(&self, ticket: &str, now: SystemTime) -> Result<Claims, TicketError> {
        if ticket.len() > TICKET_MAX {
            return Err(TicketError::Invalid("it is too long"));
        }
        let key = self.key_of(ticket)?;
        let claims = decode::<Claims>(ticket, key, &validation()).map_err(|error| refusal(error.kind()))?.claims;
        check_times(&claims, now)?;
        Ok(claims)
    }

    fn key_of(&self, ticket: &str) -> Result<&DecodingKey, TicketError> {
        let header = decode_header(ticket).map_err(|_| TicketError::Invalid("its header is malformed"))?;
        if header.alg != Algorithm::HS256 || header.crit.is_some() {
            return Err(TicketError::Invalid("its algorithm is not HS256"));
        }
        let id = header.kid.ok_or(TicketError::UnknownKey)?;
        self.verifying.get(&id).ok_or(TicketError::UnknownKey)
    }
}

/// Times are checked by [`check_times`], against a clock that tests can set.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "aud"]);
    validation.validate_exp = false;
    validation
}

fn refusal(kind: &ErrorKind) -> TicketError {
    match kind {
        ErrorKind::InvalidSignature => TicketError::Invalid("its signature does not fit"),
        ErrorKind::InvalidAudience => TicketError::Invalid("it is for another service"),
        ErrorKind::InvalidAlgorithm => TicketError::Invalid("its algorithm is not HS256"),
        ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) => TicketError::Invalid("its claims are not ours"),
        _ => TicketError::Invalid("it is malformed"),
    }
}

fn check_times(claims: &Claims, now: SystemTime) -> Result<(), TicketError> {
    let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp)).ok_or(TicketError::Invalid("its expiry"))?;
    if expires + SKEW <= now {
        return Err(TicketError::Expired);
    }
    match claims.issued() > now + SKEW {
        true => Err(TicketError::Invalid("it is from the future: compare the clocks of the gateways")),
        false => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn keys(text: &str) -> Keys {
        Keys::new(&[("k1".to_owned(), text.repeat(32))]).unwrap()
    }

    pub(in crate::http) fn claims() -> Claims {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Claims {
            aud: AUDIENCE.to_owned(),
            site: "dc2".parse().unwrap(),
            project: None,
            volume: "v1".parse().unwrap(),
            snapshots: vec!["s1".parse().unwrap()],
            size: 1 << 30,
            operations: Operation::ALL.to_vec(),
            sub: Some("token:cinder".to_owned()),
            jti: "nonce".to_owned(),
            iat: now.as_secs_f64(),
            exp: now.as_secs() + 900,
        }
    }

    fn refused(ticket: &str) -> TicketError {
        keys("a").verify(ticket, SystemTime::now()).unwrap_err()
    }

    #[test]
    fn a_ticket_survives_the_way() {
        let ticket = keys("a").mint(&claims()).unwrap();
        let read = keys("a").verify(&ticket, SystemTime::now()).unwrap();
        assert_eq!(read.snapshots, claims().snapshots);
        assert!(SystemTime::now().duration_since(read.issued()).unwrap() < Duration::from_secs(5));
    }

    #[test]
    fn a_key_is_rolled_over_without_a_gap() {
        let old = ("old".to_owned(), "o".repeat(32));
        let new = ("new".to_owned(), "n".repeat(32));
        let ticket = Keys::new(std::slice::from_ref(&old)).unwrap().mint(&claims()).unwrap();
        assert!(Keys::new(&[new.clone(), old]).unwrap().verify(&ticket, SystemTime::now()).is_ok());
        let late = Keys::new(&[new]).unwrap().verify(&ticket, SystemTime::now());
        assert_eq!(late.unwrap_err(), TicketError::UnknownKey);
    }

    #[test]
    fn another_key_is_refused() {
        let forged = keys("b").mint(&claims()).unwrap();
        assert_eq!(refused(&forged), TicketError::Invalid("its signature does not fit"));
    }

    #[test]
    fn an_expired_ticket_is_refused_and_a_small_skew_is_not() {
        let expires = UNIX_EPOCH + Duration::from_secs(claims().exp);
        let ticket = keys("a").mint(&claims()).unwrap();
        assert!(keys("a").verify(&ticket, expires + SKEW / 2).is_ok());
        assert_eq!(keys("a").verify(&ticket, expires + SKEW).unwrap_err(), TicketError::Expired);
    }

    #[test]
    fn a_ticket_from_the_future_is_refused() {
        let ticket = keys("a").mint(&claims()).unwrap();
        let earlier = SystemTime::now() - Duration::from_secs(120);
        assert!(matches!(keys("a").verify(&ticket, earlier), Err(TicketError::Invalid(_))));
        let endless = Claims { iat: f64::INFINITY, exp: u64::MAX, ..claims() };
        assert!(keys("a").mint(&endless).and_then(|ticket| keys("a").verify(&ticket, earlier)).is_err());
    }

    #[test]
    fn an_unsigned_ticket_is_refused() {
        let body = serde_json::to_vec(&claims()).unwrap();
        for algorithm in ["none", "None", "HS512", "RS256", "HS256"] {
            let header = format!("{{\"alg\":\"{algorithm}\",\"kid\":\"k1\"}}");
            let ticket = format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&body));
            assert!(matches!(refused(&ticket), TicketError::Invalid(_)), "{algorithm}");
        }
    }

    #[test]
    fn another_algorithm_with_the_right_key_is_refused() {
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS512) };
        let ticket = encode(&header, &claims(), &EncodingKey::from_secret("a".repeat(32).as_bytes())).unwrap();
        assert_eq!(refused(&ticket), TicketError::Invalid("its algorithm is not HS256"));
    }

    #[test]
    fn an_unknown_or_missing_key_id_is_refused() {
        for kid in [None, Some("k2".to_owned()), Some("../k1".to_owned())] {
            let header = Header { kid, ..Header::new(Algorithm::HS256) };
            let ticket = encode(&header, &claims(), &EncodingKey::from_secret("a".repeat(32).as_bytes())).unwrap();
            assert_eq!(refused(&ticket), TicketError::UnknownKey);
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_refused() {
        let ticket = keys("a").mint(&claims()).unwrap();
        for length in 0..ticket.len() {
            assert!(keys("a").verify(&ticket[..length], SystemTime::now()).is_err(), "cut at {length}");
        }
        let signature = ticket.rfind('.').unwrap() + 1;
        for position in (0..ticket.len() - 1).filter(|position| *position + 1 != signature) {
            let mut bytes = ticket.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(keys("a").verify(&changed, SystemTime::now()).is_err(), "changed at {position}");
        }
    }

    #[test]
    fn a_huge_ticket_is_neither_read_nor_made() {
        assert_eq!(refused(&"x".repeat(TICKET_MAX + 1)), TicketError::Invalid("it is too long"));
        let snapshots = (0..1000).map(|number| format!("snapshot-{number}").parse().unwrap()).collect();
        assert_eq!(keys("a").mint(&Claims { snapshots, ..claims() }), Err(TicketError::TooLong));
    }

    #[test]
    fn other_audiences_and_unknown_claims_are_refused() {
        let foreign = keys("a").mint(&Claims { aud: "keystone".to_owned(), ..claims() }).unwrap();
        assert_eq!(refused(&foreign), TicketError::Invalid("it is for another service"));
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret("a".repeat(32).as_bytes());
        for (claim, value) in [("rate", serde_json::json!(1)), ("volume", serde_json::json!("../v"))] {
            let mut body = serde_json::to_value(claims()).unwrap();
            body[claim] = value;
            assert_eq!(
                refused(&encode(&header, &body, &key).unwrap()),
                TicketError::Invalid("its claims are not ours")
            );
        }
    }
}
