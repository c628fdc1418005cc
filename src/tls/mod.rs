//! The gateway's certificate and the TLS it speaks.
//!
//! HTTPS is the only way in, so a first start without any configuration must have a certificate too: it makes a
//! self-signed one and keeps it, because a certificate that changes with each start cannot be trusted by anyone.
//! TLS 1.3 and 1.2 by rustls on aws-lc; which HTTP is spoken is settled by ALPN alone.
//!
//! Certificates live for weeks and transfers for days, so a new one comes into use without a restart (`renewal`).
//! Clients may show certificates of their own (`clients`, `shown`); nobody has to, because tickets are enough.

mod clients;
mod identity;
mod renewal;
mod self_signed;
mod shown;
#[cfg(test)]
pub(crate) mod tests;
mod trust;
mod watched;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::secret::SecretError;
use clients::ClientFiles;
pub use clients::{Authorities, Clients, ClientsRenewal};
pub use identity::{Identity, fingerprint};
pub use renewal::{Live, Renewal};
pub use shown::{ClientCertificate, ClientName};
pub use trust::{TrustError, trust};

/// The `[tls]` table. Empty: a self-signed certificate in the data directory, made at the first start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// PEM: the gateway's certificate, then the intermediate ones.
    pub certificate: Option<PathBuf>,
    /// PEM: the certificate's private key.
    pub key: Option<PathBuf>,
    /// PEM: who vouches for the certificates of callers; `None`: none is asked for.
    pub client_authorities: Option<PathBuf>,
    /// PEM: the lists of what these authorities have revoked; `None`: nothing is.
    pub client_revocations: Option<PathBuf>,
}

/// Where a certificate and its key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Config {
    /// Pushes a text for each fault.
    pub fn validate(&self, faults: &mut Vec<String>) {
        match (&self.certificate, &self.key) {
            (Some(_), None) => faults.push("tls.key: is missing; tls.certificate needs its private key".to_owned()),
            (None, Some(_)) => faults.push("tls.certificate: is missing; tls.key alone is of no use".to_owned()),
            _ => {}
        }
        if self.client_revocations.is_some() && self.client_authorities.is_none() {
            let text = "tls.client_authorities: is missing; tls.client_revocations alone is of no use";
            faults.push(text.to_owned());
        }
    }

    /// Loads the certificate, or makes a self-signed one in `data` for this host, `advertised` and `name`. Callers
    /// verify `name`, or where there is none the first DNS name in the certificate.
    pub fn load(&self, data: &Path, advertised: IpAddr, name: Option<&str>) -> Result<Renewal, TlsError> {
        let files = match self.configured()? {
            Some(files) => files,
            None => self_signed::files(data, advertised, name)?,
        };
        let clients = self.client_files().map(ClientsRenewal::start).transpose()?;
        Renewal::start(files, name, clients)
    }

    /// Loads the configured certificate to look at it; `None` where none is configured. Makes nothing.
    pub fn inspect(&self, name: Option<&str>) -> Result<Option<Identity>, TlsError> {
        self.configured()?.map(|files| Identity::read(&files, name, None)).transpose()
    }

    /// Reads who vouches for callers, to look at it; `None` where nobody is configured.
    pub fn inspect_clients(&self) -> Result<Option<Authorities>, TlsError> {
        self.client_files().map(|files| Authorities::read(&files)).transpose()
    }

    fn client_files(&self) -> Option<ClientFiles> {
        let authorities = self.client_authorities.clone()?;
        Some(ClientFiles { authorities, revocations: self.client_revocations.clone() })
    }

    fn configured(&self) -> Result<Option<Files>, TlsError> {
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Ok(Some(Files { certificate: certificate.clone(), key: key.clone() })),
            (None, None) => Ok(None),
            _ => Err(TlsError::Half),
        }
    }
}

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.certificate and tls.key belong together: give both or none")]
    Half,
    #[error("{} does not hold {what} in PEM: {detail}", path.display())]
    Pem { path: PathBuf, what: &'static str, detail: String },
    #[error("{} and {} cannot be used together: {source}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error(
        "{} is an authority's (basicConstraints says CA:TRUE), which callers refuse as a server's: give the certificate that \
         the authority has signed, or make one with `-addext basicConstraints=critical,CA:FALSE`",
        certificate.display()
    )]
    Authority { certificate: PathBuf },
    #[error("{} has no DNS name that callers could verify: set listen.tls_name", certificate.display())]
    NoName { certificate: PathBuf },
    #[error("{} is not valid for the name {name} (listen.tls_name): callers would refuse it", certificate.display())]
    Name { certificate: PathBuf, name: String },
    #[error("{} is valid only from {from} until {until}, and the one in use still is", certificate.display())]
    NotNow { certificate: PathBuf, from: String, until: String },
    #[error("one of {files:?} was written while it was read")]
    Unsettled { files: Vec<PathBuf> },
    #[error("could not make a self-signed certificate: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("{} is there and {} is not: delete the first to have both made anew", certificate.display(), key.display())]
    KeyLost { certificate: PathBuf, key: PathBuf },
    #[error(transparent)]
    Secret(#[from] SecretError),
}
