//! Callers who have shown a certificate.
//!
//! An authority vouches for many; a caller here is whose name stands in the configuration. Names are compared whole: a
//! wildcard in a certificate stands for a host's many names, and an account is one. A certificate with the names of two
//! accounts is refused, because either choice would be a surprise to somebody.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use rustls::pki_types::DnsName;
use serde::Deserialize;

use super::super::problem::{Kind, Problem};
use super::config::unique;
use super::{Principal, Role};
use crate::tls::{ClientCertificate, ClientName};

/// Most rows, and the longest URI (that of SPIFFE), in bytes.
const ROWS_MAX: usize = 10_000;
const URI_MAX: usize = 2048;
/// Names of a certificate that a problem lists.
const LISTED: usize = 8;

/// A caller with a certificate, known by `dns` or by `uri`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// For the audit log.
    pub name: String,
    pub role: Role,
    /// A DNS name among the subject's alternative names.
    pub dns: Option<String>,
    /// A URI among them, such as `spiffe://dc2.example/cinder`.
    pub uri: Option<String>,
}

impl CertificateConfig {
    /// What must stand in the certificate; the fault where that is nothing or cannot be.
    fn known_by(&self) -> Result<ClientName, &'static str> {
        match (&self.dns, &self.uri) {
            (Some(dns), None) if DnsName::try_from(dns.as_str()).is_ok() => Ok(ClientName::dns(dns)),
            (Some(_), None) => Err("dns must be one DNS name, without a wildcard"),
            (None, Some(uri)) if is_uri(uri) => Ok(ClientName::Uri(uri.clone())),
            (None, Some(_)) => Err("uri must be a URI, such as spiffe://dc2.example/cinder"),
            _ => Err("must have either dns or uri"),
        }
    }
}

/// A scheme and something after it, in the characters that RFC 3986 has.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let in_rest = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(in_scheme)
        && !rest.is_empty()
        && rest.bytes().all(in_rest)
        && text.len() <= URI_MAX
}

/// Pushes a text for each fault.
pub(super) fn validate(rows: &[CertificateConfig], faults: &mut Vec<String>) {
    if rows.len() > ROWS_MAX {
        return faults.push(format!("auth.certificates: must be at most {ROWS_MAX}"));
    }
    unique("auth.certificates", "name", rows.iter().map(|row| row.name.as_str()), faults);
    let mut seen = HashMap::new();
    for row in rows {
        match row.known_by() {
            Ok(known_by) => {
                if let Some(other) = seen.insert(known_by.clone(), &row.name) {
                    faults.push(format!("auth.certificates: {other:?} and {:?} are both {known_by}", row.name));
                }
            }
            Err(fault) => faults.push(format!("auth.certificates: {:?} {fault}", row.name)),
        }
    }
}

/// The rows, by what stands in the certificate.
#[derive(Debug)]
pub(super) struct Certificates(HashMap<ClientName, (String, Role)>);

impl Certificates {
    pub(super) fn new(rows: &[CertificateConfig]) -> Self {
        let row = |row: &CertificateConfig| Some((row.known_by().ok()?, (row.name.clone(), row.role)));
        Self(rows.iter().filter_map(row).collect())
    }

    /// Who shows this certificate.
    pub(super) fn identify(&self, shown: &ClientCertificate, now: SystemTime) -> Result<Principal, Problem> {
        let bad = |text: String| Problem::new(Kind::BadCertificate, text);
        shown.verify(now).map_err(|fault| {
            let names = listed(shown.names());
            bad(format!(
                "the client certificate for {names} does not count any more ({fault}); connect again with a new one"
            ))
        })?;
        let rows = shown.names().iter().filter_map(|name| self.0.get(name));
        let rows: BTreeMap<&str, Role> = rows.map(|(name, role)| (name.as_str(), *role)).collect();
        let mut found = rows.iter();
        match (found.next(), found.next()) {
            (Some((name, role)), None) => Ok(Principal::Certificate { name: (*name).to_owned(), role: *role }),
            (Some((one, _)), Some((other, _))) => {
                let detail = format!("it stands for {one} and for {other}: take one with the name of one account");
                Err(bad(format!("the client certificate is ambiguous here; {detail}")))
            }
            (None, _) => {
                let names = listed(shown.names());
                let detail = "add one of the names to auth.certificates of the gateway, or show a token or a ticket";
                Err(bad(format!("no account here has the client certificate for {names}; {detail}")))
            }
        }
    }
}

fn listed(names: &[ClientName]) -> String {
    let mut told: Vec<String> = names.iter().take(LISTED).map(|name| format!("{:?}", name.to_string())).collect();
    match names.len().saturating_sub(LISTED) {
        0 if told.is_empty() => "no DNS name or URI".to_owned(),
        0 => told.join(", "),
        more => {
            told.push(format!("and {more} more"));
            told.join(", ")
        }
    }
}
