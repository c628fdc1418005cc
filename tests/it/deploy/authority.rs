//! A certificate authority of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What callers trust.
    pub certificate: PathBuf,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// Keeps its certificate in `folder`, by which it is called: lists of revocations are found by names.
    pub fn new(folder: &Path) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, format!("authority in {}", folder.display()));
        let key = KeyPair::generate().unwrap();
        let certificate = folder.join("authority.pem");
        fs::write(&certificate, parameters.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(parameters, key), certificate }
    }

    /// For these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(&CertificateParams::new(names).unwrap())
    }

    /// For a client with these DNS names and URIs, from yesterday until tomorrow.
    pub fn issue_client(&self, names: &[&str]) -> Pair {
        self.sign(&client(names))
    }

    pub fn sign(&self, parameters: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The list of the certificates with these numbers, in PEM, which ends tomorrow.
    pub fn revoke(&self, numbers: &[u64]) -> String {
        let (yesterday, tomorrow) = (SystemTime::now() - DAY, SystemTime::now() + DAY);
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: yesterday.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: yesterday.into(),
            next_update: tomorrow.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// What a good certificate of a client says.
pub fn client(names: &[&str]) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    let name = |name: &&str| match name.contains(':') {
        true => SanType::URI((*name).try_into().unwrap()),
        false => SanType::DnsName((*name).try_into().unwrap()),
    };
    parameters.subject_alt_names = names.iter().map(name).collect();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.not_before = (SystemTime::now() - DAY).into();
    parameters.not_after = (SystemTime::now() + DAY).into();
    parameters
}

impl Pair {
    /// Writes both, the certificate first.
    pub fn write(&self, certificate: &Path, key: &Path) {
        fs::write(certificate, &self.certificate).unwrap();
        fs::write(key, &self.key).unwrap();
    }
}
