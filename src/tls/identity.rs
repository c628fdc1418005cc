//! A certificate with its key, read and found to be usable.
//!
//! All that callers would stumble over is found here and not by them: a key that is not the certificate's, and a
//! certificate without the name that they are told to verify.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::clients::Clients;
use super::{Files, TlsError};

/// The protocols offered by ALPN, preferred first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A loaded certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What the listener serves with.
    pub server: Arc<ServerConfig>,
    /// SHA-256 of the certificate (DER), in hexadecimal: what callers pin.
    pub sha256: String,
    /// The name that callers verify in the certificate.
    pub name: String,
    /// The certificate's file, for callers who have to trust it by hand.
    pub certificate: PathBuf,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Identity {
    /// Reads both files. `name` is what callers are told to verify; by default the first DNS name in the certificate.
    /// With `clients`, callers may show certificates too.
    pub(super) fn read(files: &Files, name: Option<&str>, clients: Option<Clients>) -> Result<Self, TlsError> {
        let Files { certificate, key } = files;
        let chain = read_chain(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem_fault(key, "a private key", &error))?;
        let Some(leaf) = chain.first() else {
            return Err(pem_fault(certificate, "a certificate", &"it holds none"));
        };
        let sha256 = fingerprint(leaf);
        let name = verified_name(certificate, leaf, name)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| pem_fault(certificate, "X.509", &error))?;
        if parsed.is_ca() {
            return Err(TlsError::Authority { certificate: certificate.clone() });
        }
        let (not_before, not_after) = validity(&parsed);
        let pair = |source| TlsError::Pair { certificate: certificate.clone(), key: key.clone(), source };
        let server = Arc::new(server_config(chain, private, clients).map_err(pair)?);
        Ok(Self { server, sha256, name, certificate: certificate.clone(), not_before, not_after })
    }

    /// Whether callers accept it at `now`, as far as its dates go.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

pub(super) fn pem_fault(path: &Path, what: &'static str, detail: &dyn ToString) -> TlsError {
    TlsError::Pem { path: path.to_owned(), what, detail: detail.to_string() }
}

pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |error| pem_fault(path, "a certificate", &error);
    CertificateDer::pem_file_iter(path).map_err(fault)?.collect::<Result<_, _>>().map_err(fault)
}

/// Each certificate has a configuration of its own, with its own memory of sessions: none is resumed that was begun
/// with another certificate.
fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<Clients>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// SHA-256 of a certificate, in hexadecimal.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verified_name(path: &Path, leaf: &CertificateDer<'_>, wanted: Option<&str>) -> Result<String, TlsError> {
    let parsed = webpki::EndEntityCert::try_from(leaf).map_err(|error| pem_fault(path, "a certificate", &error))?;
    let Some(name) = wanted else {
        let first = parsed.valid_dns_names().find(|name| !name.starts_with('*')).map(str::to_owned);
        return first.ok_or_else(|| TlsError::NoName { certificate: path.to_owned() });
    };
    let is_valid = ServerName::try_from(name).is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok());
    match is_valid {
        true => Ok(name.to_owned()),
        false => Err(TlsError::Name { certificate: path.to_owned(), name: name.to_owned() }),
    }
}

fn validity(leaf: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let moment = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let validity = leaf.validity();
    (moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp()))
}
