//! The certificate that a client has shown on its connection.
//!
//! Its names are read once. Whether it counts is found out again for requests that come later, and kept for as long as
//! the answer cannot change: dates in certificates and lists are in whole seconds, so one answer is good for the second
//! that it was found in, with the same authorities.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::ServerConnection;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::clients::{Authorities, Clients};

/// A name in a certificate that may stand for a caller. The common name of the subject is none (RFC 9525).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientName {
    /// In lower case, as DNS compares. One with a wildcard is a name like any other and stands for no other.
    Dns(String),
    Uri(String),
}

impl ClientName {
    #[must_use]
    pub fn dns(name: &str) -> Self {
        Self::Dns(name.to_ascii_lowercase())
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Dns(name) | Self::Uri(name)) = self;
        formatter.write_str(name)
    }
}

/// What a client has shown, and whether it counts.
#[derive(Debug)]
pub struct ClientCertificate {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    names: Vec<ClientName>,
    clients: Clients,
    known: Mutex<Option<Known>>,
}

/// An answer, and what it was found with.
#[derive(Debug)]
struct Known {
    authorities: Arc<Authorities>,
    second: u64,
    verdict: Result<(), rustls::Error>,
}

impl ClientCertificate {
    /// What was shown in the handshake, or in the one of the session that is resumed.
    #[must_use]
    pub fn of(connection: &ServerConnection, clients: &Clients) -> Option<Self> {
        Self::new(connection.peer_certificates()?, clients.clone())
    }

    pub(super) fn new(chain: &[CertificateDer<'_>], clients: Clients) -> Option<Self> {
        let (leaf, intermediates) = chain.split_first()?;
        let names = names(leaf);
        let leaf = leaf.clone().into_owned();
        let intermediates = intermediates.iter().map(|one| one.clone().into_owned()).collect();
        Some(Self { leaf, intermediates, names, clients, known: Mutex::default() })
    }

    #[must_use]
    pub fn names(&self) -> &[ClientName] {
        &self.names
    }

    /// Whether it counts at `now`, with the authorities and lists that are in use.
    pub fn verify(&self, now: SystemTime) -> Result<(), rustls::Error> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (authorities, second) = (self.clients.now(), since.as_secs());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known
            && known.second == second
            && Arc::ptr_eq(&known.authorities, &authorities)
        {
            return known.verdict.clone();
        }
        let at = UnixTime::since_unix_epoch(since);
        let verdict = authorities.verifier.verify_client_cert(&self.leaf, &self.intermediates, at).map(drop);
        *known = Some(Known { authorities, second, verdict: verdict.clone() });
        verdict
    }
}

fn names(leaf: &CertificateDer<'_>) -> Vec<ClientName> {
    let Ok(parsed) = webpki::EndEntityCert::try_from(leaf) else { return Vec::new() };
    let dns = parsed.valid_dns_names().map(ClientName::dns);
    let uris = parsed.valid_uri_names().map(|name| ClientName::Uri(name.to_owned()));
    dns.chain(uris).collect()
}
