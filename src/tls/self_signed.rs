//! The certificate of a first start.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};

use super::{Files, TlsError};
use crate::secret;

/// How long a self-signed certificate is valid. It is pinned or trusted by hand, and nobody renews it.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How far the clocks of callers may be behind ours when a certificate is new.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// The files in `data`, made if they are not there. The key is written first: a certificate without its key would
/// stop every later start.
pub(super) fn files(data: &Path, advertised: IpAddr, name: Option<&str>) -> Result<Files, TlsError> {
    let files = Files { certificate: data.join("certificate.pem"), key: data.join("certificate.key") };
    match (files.certificate.exists(), files.key.exists()) {
        (true, true) => {}
        (true, false) => return Err(TlsError::KeyLost { certificate: files.certificate, key: files.key }),
        (false, _) => make(&files, advertised, name)?,
    }
    Ok(files)
}

/// A key that an earlier start left without certificate is used, so that two starts at once agree.
fn make(files: &Files, advertised: IpAddr, name: Option<&str>) -> Result<(), TlsError> {
    let fresh = KeyPair::generate()?.serialize_pem();
    let pair = KeyPair::from_pem(&secret::read_or_create(&files.key, || fresh)?)?;
    let signed = parameters(&host_name(), advertised, name)?.self_signed(&pair)?;
    Ok(secret::create(&files.certificate, signed.pem().as_bytes())?)
}

/// The subject is unique: a caller who trusts several gateways finds the right one among equal host names.
fn parameters(host: &str, advertised: IpAddr, name: Option<&str>) -> Result<CertificateParams, rcgen::Error> {
    let mut names: Vec<String> = name.into_iter().chain([host, "localhost"]).map(str::to_owned).collect();
    names.extend([advertised, IpAddr::from([127, 0, 0, 1])].map(|address| address.to_string()));
    names.retain(|name| !name.is_empty());
    names.dedup();
    let mut parameters = CertificateParams::new(names)?;
    let subject = format!("rsnap {host} {}", secret::random_text(6));
    parameters.distinguished_name.push(DnType::CommonName, subject);
    parameters.not_before = (SystemTime::now() - CLOCK_SKEW).into();
    parameters.not_after = (SystemTime::now() + LIFETIME).into();
    Ok(parameters)
}

/// This host's name if it can be in a certificate, else nothing.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let usable = name.len() <= 253 && name.chars().all(label) && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if usable { name } else { String::new() }
}
