//! Certificates on disk: made, read, refused, and replaced while they are in use.

pub(crate) mod clients;
mod renewal;
pub(crate) mod server;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;

const ADVERTISED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

fn load(data: &Path) -> Result<Arc<Identity>, TlsError> {
    Ok(Config::default().load(data, ADVERTISED, None)?.live().now())
}

fn pair(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Config {
    Config { certificate, key, ..Config::default() }
}

#[test]
fn a_first_start_makes_a_certificate_and_the_next_one_keeps_it() {
    let data = tempfile::tempdir().unwrap();
    let first = load(data.path()).unwrap();
    let second = Config::default().load(data.path(), "198.51.100.1".parse().unwrap(), None).unwrap().live().now();
    assert_eq!(first.sha256, second.sha256);
    assert_eq!(first.sha256.len(), 64);
    let mode = std::fs::metadata(data.path().join("certificate.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_certificate_is_valid_for_the_advertised_address_and_localhost_for_ten_years() {
    let data = tempfile::tempdir().unwrap();
    let identity = load(data.path()).unwrap();
    let chain = identity::read_chain(&identity.certificate).unwrap();
    let parsed = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
    for name in ["localhost", "127.0.0.1", "192.0.2.10", &identity.name] {
        let name = name.to_owned().try_into().unwrap();
        parsed.verify_is_valid_for_subject_name(&name).unwrap();
    }
    let now = SystemTime::now();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    assert!(identity.is_valid_at(now) && identity.is_valid_at(now + 9 * year));
    assert!(!identity.is_valid_at(now + 11 * year) && !identity.is_valid_at(now - year));
}

#[test]
fn an_interrupted_first_start_is_completed() {
    let data = tempfile::tempdir().unwrap();
    load(data.path()).unwrap();
    std::fs::remove_file(data.path().join("certificate.pem")).unwrap();
    load(data.path()).unwrap();
    std::fs::remove_file(data.path().join("certificate.key")).unwrap();
    let fault = load(data.path()).unwrap_err();
    assert!(matches!(fault, TlsError::KeyLost { .. }), "{fault}");
}

#[test]
fn faults_name_the_file() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let good = load(data.path()).unwrap();
    load(other.path()).unwrap();
    let foreign = pair(Some(good.certificate.clone()), Some(other.path().join("certificate.key")));
    let fault = foreign.inspect(None).unwrap_err();
    assert!(matches!(fault, TlsError::Pair { .. }), "{fault}");
    let swapped = pair(foreign.key.clone(), foreign.key);
    let fault = swapped.inspect(None).unwrap_err().to_string();
    assert!(fault.contains("certificate.key"), "{fault}");
}

/// As `openssl req -x509` makes one that is not told otherwise.
#[test]
fn the_certificate_of_an_authority_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["gw.test".to_owned()]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let [certificate, private] = ["c.pem", "c.key"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, parameters.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let fault = pair(Some(certificate), Some(private)).inspect(None).unwrap_err();
    assert!(matches!(fault, TlsError::Authority { .. }), "{fault}");
    assert!(fault.to_string().contains("CA:FALSE"), "{fault}");
}

#[test]
fn the_name_that_callers_verify_is_in_the_certificate() {
    let data = tempfile::tempdir().unwrap();
    let named = |name| Config::default().load(data.path(), ADVERTISED, Some(name));
    assert_eq!(named("gw1.example.org").unwrap().live().now().name, "gw1.example.org");
    assert_eq!(named("192.0.2.10").unwrap().live().now().name, "192.0.2.10");
    for other in ["gw2.example.org", "192.0.2.11", "no name"] {
        assert!(matches!(named(other), Err(TlsError::Name { .. })), "{other}");
    }
}

#[test]
fn half_a_configuration_is_a_fault() {
    let mut faults = Vec::new();
    pair(Some("a".into()), None).validate(&mut faults);
    pair(None, Some("a".into())).validate(&mut faults);
    assert_eq!(faults.len(), 2, "{faults:?}");
}
