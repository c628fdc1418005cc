//! Certificates of clients: whom authorities vouch for, for how long, and what a reload changes.

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};

use super::super::clients::{ClientFiles, ClientsRenewal};
use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);
const URI: &str = "spiffe://dc2.example/cinder";

/// An authority, and the file that clients' authorities are read from.
pub(crate) struct Vouching {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Vouching {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// For these names, from an hour ago until this time from now, with this usage and number.
    fn issue(
        &self,
        names: &[&str],
        until: Duration,
        usage: ExtendedKeyUsagePurpose,
        number: u64,
    ) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        let name = |name: &&str| match name.contains(':') {
            true => SanType::URI((*name).try_into().unwrap()),
            false => SanType::DnsName((*name).try_into().unwrap()),
        };
        parameters.subject_alt_names = names.iter().map(name).collect();
        parameters.distinguished_name.push(DnType::CommonName, "ops.example");
        parameters.extended_key_usages = vec![usage];
        parameters.serial_number = Some(SerialNumber::from(number));
        parameters.not_before = (SystemTime::now() - HOUR).into();
        parameters.not_after = (SystemTime::now() + until).into();
        let key = KeyPair::generate().unwrap();
        parameters.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    fn client(&self, names: &[&str]) -> CertificateDer<'static> {
        self.issue(names, HOUR, ExtendedKeyUsagePurpose::ClientAuth, 1)
    }

    /// The list of these numbers, which ends at this time from now.
    fn revoke(&self, numbers: &[u64], until: Duration) -> String {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: (SystemTime::now() - HOUR).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (SystemTime::now() - HOUR).into(),
            next_update: (SystemTime::now() + until).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// What a client with a certificate for these names has shown.
    pub(crate) fn shown(&self, names: &[&str]) -> ClientCertificate {
        let disk = Disk::with(&self.pem, None);
        ClientCertificate::new(&[self.client(names)], disk.renewal().live()).unwrap()
    }
}

struct Disk {
    folder: tempfile::TempDir,
    files: ClientFiles,
}

impl Disk {
    fn with(authorities: &str, revocations: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let files =
            ClientFiles { authorities: path("authorities"), revocations: revocations.map(|_| path("revocations")) };
        fs::write(&files.authorities, authorities).unwrap();
        if let Some(revocations) = revocations {
            fs::write(path("revocations"), revocations).unwrap();
        }
        Self { folder, files }
    }

    fn renewal(&self) -> ClientsRenewal {
        ClientsRenewal::start(self.files.clone()).unwrap()
    }

    /// Renamed into place: a change that is seen even within one tick of the clock.
    fn write(&self, name: &str, text: &str) {
        let fresh = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        fs::write(fresh.path(), text).unwrap();
        fresh.persist(self.folder.path().join(name)).unwrap();
    }
}

fn verdict(clients: &Clients, leaf: &CertificateDer<'static>, at: SystemTime) -> Result<(), CertificateError> {
    let shown = ClientCertificate::new(std::slice::from_ref(leaf), clients.clone()).unwrap();
    shown.verify(at).map_err(|fault| match fault {
        Error::InvalidCertificate(fault) => fault,
        other => panic!("{other}"),
    })
}

#[test]
fn names_are_those_of_the_subject_alternatives_alone() {
    let shown = Vouching::new("a").shown(&["Host.Example", "*.dc2.example", URI, "spiffe://Dc2"]);
    let uri = |text: &str| ClientName::Uri(text.to_owned());
    let expected =
        [ClientName::dns("host.example"), ClientName::Dns("*.dc2.example".to_owned()), uri(URI), uri("spiffe://Dc2")];
    assert_eq!(shown.names(), expected, "the common name is none, and a URI is taken as it is");
}

#[test]
fn only_a_good_certificate_of_a_named_authority_counts() {
    let (ours, foreign, now) = (Vouching::new("a"), Vouching::new("a"), SystemTime::now());
    let disk = Disk::with(&ours.pem, None);
    let clients = disk.renewal().live();
    assert_eq!(verdict(&clients, &ours.client(&[URI]), now), Ok(()));
    assert!(verdict(&clients, &foreign.client(&[URI]), now).is_err(), "of the same name, with another key");
    let server = ours.issue(&[URI], HOUR, ExtendedKeyUsagePurpose::ServerAuth, 1);
    assert!(format!("{:?}", verdict(&clients, &server, now)).contains("InvalidPurpose"));
}

#[test]
fn a_certificate_ends_while_its_connection_lives() {
    let ours = Vouching::new("a");
    let disk = Disk::with(&ours.pem, None);
    let leaf = ours.issue(&[URI], HOUR, ExtendedKeyUsagePurpose::ClientAuth, 1);
    let shown = ClientCertificate::new(&[leaf], disk.renewal().live()).unwrap();
    let now = SystemTime::now();
    assert_eq!(shown.verify(now), Ok(()));
    assert!(shown.verify(now + 2 * HOUR).unwrap_err().to_string().contains("expired"));
    assert_eq!(shown.verify(now), Ok(()), "the clock was put right");
}

#[test]
fn an_authority_that_is_taken_away_takes_its_clients_with_it() {
    let (ours, other, now) = (Vouching::new("a"), Vouching::new("b"), SystemTime::now());
    let disk = Disk::with(&format!("{}{}", ours.pem, other.pem), None);
    let mut renewal = disk.renewal();
    assert_eq!(renewal.live().now().count, 2);
    let shown = ClientCertificate::new(&[ours.client(&[URI])], renewal.live()).unwrap();
    assert_eq!(shown.verify(now), Ok(()));
    disk.write("authorities", &other.pem);
    assert!(renewal.look().is_none(), "it may still be being written");
    assert_eq!(shown.verify(now), Ok(()));
    assert_eq!(renewal.look().unwrap().unwrap().count, 1);
    assert!(shown.verify(now).is_err(), "in the same second");
    assert!(renewal.look().is_none());
}

#[test]
fn what_a_list_names_is_refused_and_what_no_list_is_about_too() {
    let (ours, other, now) = (Vouching::new("a"), Vouching::new("b"), SystemTime::now());
    let disk = Disk::with(&format!("{}{}", ours.pem, other.pem), Some(&ours.revoke(&[7], HOUR)));
    let mut renewal = disk.renewal();
    let clients = renewal.live();
    let numbered = |number| ours.issue(&[URI], 3 * HOUR, ExtendedKeyUsagePurpose::ClientAuth, number);
    assert_eq!(verdict(&clients, &numbered(6), now), Ok(()));
    assert_eq!(verdict(&clients, &numbered(7), now), Err(CertificateError::Revoked));
    assert_eq!(verdict(&clients, &other.client(&[URI]), now), Err(CertificateError::UnknownRevocationStatus));
    let ended = verdict(&clients, &numbered(6), now + 2 * HOUR).unwrap_err();
    assert!(format!("{ended:?}").contains("ExpiredRevocationList"), "{ended:?}");
    assert!(clients.now().are_lists_current(now) && !clients.now().are_lists_current(now + 2 * HOUR));
    disk.write("revocations", &(ours.revoke(&[6, 7], 2 * HOUR) + &other.revoke(&[], HOUR)));
    renewal.reload().unwrap();
    assert_eq!(verdict(&clients, &numbered(6), now), Err(CertificateError::Revoked));
    assert_eq!(verdict(&clients, &other.client(&[URI]), now), Ok(()));
}

#[test]
fn what_cannot_be_used_changes_nothing_and_says_what_to_do() {
    let (ours, now) = (Vouching::new("a"), SystemTime::now());
    let list = ours.revoke(&[], HOUR);
    let disk = Disk::with(&ours.pem, Some(&list));
    let mut renewal = disk.renewal();
    let client = ours.client(&[URI]);
    let half = ours.pem.len() / 2;
    for (name, good, wrong) in [
        ("authorities", &ours.pem, vec!["", "nothing", &ours.pem[..half], &list]),
        ("revocations", &list, vec!["", "nothing", &list[..half], &ours.pem]),
    ] {
        for text in wrong {
            disk.write(name, text);
            let fault = renewal.reload().unwrap_err().to_string();
            assert!(fault.contains(name) && fault.contains("tls.client_"), "{fault}");
            assert_eq!(verdict(&renewal.live(), &client, now), Ok(()), "{fault}");
        }
        fs::remove_file(disk.folder.path().join(name)).unwrap();
        assert!(renewal.reload().unwrap_err().to_string().contains(name));
        disk.write(name, good);
        renewal.reload().unwrap();
    }
}

#[test]
fn lists_without_authorities_are_a_fault() {
    let mut faults = Vec::new();
    Config { client_revocations: Some("a".into()), ..Config::default() }.validate(&mut faults);
    assert!(matches!(&faults[..], [fault] if fault.starts_with("tls.client_authorities:")), "{faults:?}");
    assert!(Config::default().inspect_clients().unwrap().is_none());
}
