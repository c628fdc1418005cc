//! The gateway's certificate and the TLS it speaks.
//!
//! HTTPS is the only way in, so a first start without any configuration must have a certificate too: it makes a
//! self-signed one and keeps it, because a certificate that changes with each start cannot be trusted by anyone.
//! TLS 1.3 and 1.2 by rustls on aws-lc; which HTTP is spoken is settled by ALPN alone.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::secret::{self, SecretError};

/// How long a self-signed certificate is valid. It is pinned or trusted by hand, and nobody renews it.
const SELF_SIGNED_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How far the clocks of callers may be behind ours when a certificate is new.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);
/// The protocols offered by ALPN, preferred first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The `[tls]` table. Empty: a self-signed certificate in the data directory, made at the first start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// PEM: the gateway's certificate, then the intermediate ones.
    pub certificate: Option<PathBuf>,
    /// PEM: the certificate's private key.
    pub key: Option<PathBuf>,
}

impl Config {
    /// Pushes a text for each fault.
    pub fn validate(&self, faults: &mut Vec<String>) {
        match (&self.certificate, &self.key) {
            (Some(_), None) => faults.push("tls.key: is missing; tls.certificate needs its private key".to_owned()),
            (None, Some(_)) => faults.push("tls.certificate: is missing; tls.key alone is of no use".to_owned()),
            _ => {}
        }
    }

    /// Loads the certificate, or makes a self-signed one in `data` for this host and `advertised`.
    pub fn load(&self, data: &Path, advertised: IpAddr) -> Result<Identity, TlsError> {
        let (certificate, key) = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            (None, None) => self_signed_files(data, advertised)?,
            _ => return Err(TlsError::Half),
        };
        Identity::from_files(&certificate, &key)
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
    #[error("could not make a self-signed certificate: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("{} is there and {} is not: delete the first to have both made anew", certificate.display(), key.display())]
    KeyLost { certificate: PathBuf, key: PathBuf },
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// A loaded certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What the listener serves with.
    pub server: Arc<ServerConfig>,
    /// SHA-256 of the certificate (DER), in hexadecimal: what callers pin.
    pub sha256: String,
    /// The first DNS name in the certificate.
    pub dns_name: Option<String>,
    /// The certificate's file, for callers who have to trust it by hand.
    pub certificate: PathBuf,
}

impl Identity {
    fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = read_chain(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem_fault(key, "a private key", &error))?;
        let Some(leaf) = chain.first() else {
            return Err(pem_fault(certificate, "a certificate", &"it holds none"));
        };
        let (sha256, dns_name) = (fingerprint(leaf), first_dns_name(leaf));
        let pair = |source| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source };
        let server = server_config(chain, private).map_err(pair)?;
        Ok(Self { server: Arc::new(server), sha256, dns_name, certificate: certificate.to_owned() })
    }
}

fn pem_fault(path: &Path, what: &'static str, detail: &dyn ToString) -> TlsError {
    TlsError::Pem { path: path.to_owned(), what, detail: detail.to_string() }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |error| pem_fault(path, "a certificate", &error);
    CertificateDer::pem_file_iter(path).map_err(fault)?.collect::<Result<_, _>>().map_err(fault)
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// SHA-256 of a certificate, in hexadecimal.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first_dns_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    parsed.valid_dns_names().find(|name| !name.starts_with('*')).map(str::to_owned)
}

/// The key is written first: a certificate without its key would stop every later start.
fn self_signed_files(data: &Path, advertised: IpAddr) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, key) = (data.join("certificate.pem"), data.join("certificate.key"));
    match (certificate.exists(), key.exists()) {
        (true, true) => {}
        (true, false) => return Err(TlsError::KeyLost { certificate, key }),
        (false, _) => make_self_signed(&certificate, &key, advertised)?,
    }
    Ok((certificate, key))
}

/// A key that an earlier start left without certificate is used, so that two starts at once agree.
fn make_self_signed(certificate: &Path, key: &Path, advertised: IpAddr) -> Result<(), TlsError> {
    let fresh = KeyPair::generate()?.serialize_pem();
    let pair = KeyPair::from_pem(&secret::read_or_create(key, || fresh)?)?;
    let signed = self_signed_parameters(&host_name(), advertised)?.self_signed(&pair)?;
    Ok(secret::create(certificate, signed.pem().as_bytes())?)
}

/// The subject is unique: a caller who trusts several gateways finds the right one among equal host names.
fn self_signed_parameters(host: &str, advertised: IpAddr) -> Result<CertificateParams, rcgen::Error> {
    let mut names = vec![host.to_owned(), "localhost".to_owned()];
    names.extend([advertised, IpAddr::from([127, 0, 0, 1])].map(|address| address.to_string()));
    names.retain(|name| !name.is_empty());
    names.dedup();
    let mut parameters = CertificateParams::new(names)?;
    let subject = format!("rsnap {host} {}", secret::random_text(6));
    parameters.distinguished_name.push(DnType::CommonName, subject);
    parameters.not_before = (SystemTime::now() - CLOCK_SKEW).into();
    parameters.not_after = (SystemTime::now() + SELF_SIGNED_LIFETIME).into();
    Ok(parameters)
}

/// This host's name if it can be in a certificate, else nothing.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let usable = name.len() <= 253 && name.chars().all(label) && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if usable { name } else { String::new() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ADVERTISED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

    #[test]
    fn a_first_start_makes_a_certificate_and_the_next_one_keeps_it() {
        let data = tempfile::tempdir().unwrap();
        let first = Config::default().load(data.path(), ADVERTISED).unwrap();
        let second = Config::default().load(data.path(), "198.51.100.1".parse().unwrap()).unwrap();
        assert_eq!(first.sha256, second.sha256);
        assert_eq!(first.sha256.len(), 64);
        let mode = std::fs::metadata(data.path().join("certificate.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_certificate_is_valid_for_the_advertised_address_and_localhost() {
        let data = tempfile::tempdir().unwrap();
        let identity = Config::default().load(data.path(), ADVERTISED).unwrap();
        let chain = read_chain(&identity.certificate).unwrap();
        let parsed = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
        for name in ["localhost", "127.0.0.1", "192.0.2.10", &identity.dns_name.unwrap()] {
            let name = name.to_owned().try_into().unwrap();
            parsed.verify_is_valid_for_subject_name(&name).unwrap();
        }
    }

    #[test]
    fn an_interrupted_first_start_is_completed() {
        let data = tempfile::tempdir().unwrap();
        Config::default().load(data.path(), ADVERTISED).unwrap();
        std::fs::remove_file(data.path().join("certificate.pem")).unwrap();
        Config::default().load(data.path(), ADVERTISED).unwrap();
        std::fs::remove_file(data.path().join("certificate.key")).unwrap();
        let fault = Config::default().load(data.path(), ADVERTISED).unwrap_err();
        assert!(matches!(fault, TlsError::KeyLost { .. }), "{fault}");
    }

    #[test]
    fn faults_name_the_file() {
        let data = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let good = Config::default().load(data.path(), ADVERTISED).unwrap();
        Config::default().load(other.path(), ADVERTISED).unwrap();
        let foreign =
            Config { certificate: Some(good.certificate.clone()), key: Some(other.path().join("certificate.key")) };
        let fault = foreign.load(data.path(), ADVERTISED).unwrap_err();
        assert!(matches!(fault, TlsError::Pair { .. }), "{fault}");
        let swapped = Config { certificate: foreign.key.clone(), key: foreign.key };
        let fault = swapped.load(data.path(), ADVERTISED).unwrap_err().to_string();
        assert!(fault.contains("certificate.key"), "{fault}");
    }

    #[test]
    fn half_a_configuration_is_a_fault() {
        let mut faults = Vec::new();
        Config { certificate: Some("a".into()), key: None }.validate(&mut faults);
        Config { certificate: None, key: Some("a".into()) }.validate(&mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
