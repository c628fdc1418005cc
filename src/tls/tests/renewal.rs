//! No half-written pair is ever used, a worse one neither, and what is wrong is said once.

use std::fs;

use rcgen::{CertificateParams, KeyPair};

use super::super::renewal::Renewal;
use super::*;

/// A certificate for `localhost` with its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new(days: [i64; 2]) -> Self {
        let day = |days: i64| {
            let length = Duration::from_secs(days.unsigned_abs() * 24 * 60 * 60);
            if days < 0 { SystemTime::now() - length } else { SystemTime::now() + length }
        };
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_before = day(days[0]).into();
        parameters.not_after = day(days[1]).into();
        let key = KeyPair::generate().unwrap();
        Self { certificate: parameters.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    fn valid() -> Self {
        Self::new([-1, 90])
    }
}

struct Disk(tempfile::TempDir);

impl Disk {
    fn with(pair: &Pair) -> (Self, Renewal) {
        let disk = Self(tempfile::tempdir().unwrap());
        disk.certificate(&pair.certificate);
        disk.key(&pair.key);
        let renewal = disk.config().load(disk.0.path(), ADVERTISED, None).unwrap();
        (disk, renewal)
    }

    fn config(&self) -> Config {
        pair(Some(self.0.path().join("c.pem")), Some(self.0.path().join("k.pem")))
    }

    /// A file of its own each time, renamed into place: a change that is seen even within one tick of the clock.
    fn write(&self, name: &str, text: &str) {
        let fresh = tempfile::NamedTempFile::new_in(self.0.path()).unwrap();
        fs::write(fresh.path(), text).unwrap();
        fresh.persist(self.0.path().join(name)).unwrap();
    }

    fn certificate(&self, text: &str) {
        self.write("c.pem", text);
    }

    fn key(&self, text: &str) {
        self.write("k.pem", text);
    }
}

/// Looks twice: the first time something is new it may still be being written.
fn look(renewal: &mut Renewal) -> Option<Result<String, TlsError>> {
    if let Some(early) = renewal.look() {
        panic!("taken at the first look: {early:?}");
    }
    renewal.look().map(|found| found.map(|identity| identity.sha256.clone()))
}

#[test]
fn a_new_pair_comes_into_use_once_it_lies_still() {
    let (disk, mut renewal) = Disk::with(&Pair::valid());
    let live = renewal.live();
    let old = live.now();
    assert!(look(&mut renewal).is_none(), "nothing has changed");
    let new = Pair::valid();
    disk.certificate(&new.certificate);
    disk.key(&new.key);
    let sha256 = look(&mut renewal).unwrap().unwrap();
    assert_ne!(sha256, old.sha256);
    assert_eq!(live.now().sha256, sha256);
    assert!(look(&mut renewal).is_none());
}

#[test]
fn a_certificate_without_its_key_is_told_once_and_waits_for_it() {
    let (disk, mut renewal) = Disk::with(&Pair::valid());
    let old = renewal.live().now().sha256.clone();
    let new = Pair::valid();
    disk.certificate(&new.certificate);
    let fault = look(&mut renewal).unwrap().unwrap_err();
    assert!(matches!(fault, TlsError::Pair { .. }), "{fault}");
    assert!(renewal.look().is_none() && renewal.look().is_none(), "told twice");
    assert_eq!(renewal.live().now().sha256, old);
    disk.key(&new.key);
    assert_ne!(look(&mut renewal).unwrap().unwrap(), old);
    disk.key(&Pair::valid().key);
    assert!(look(&mut renewal).unwrap().is_err(), "the same fault after a success is a new one");
}

#[test]
fn what_is_put_back_is_no_fault_any_more() {
    let first = Pair::valid();
    let (disk, mut renewal) = Disk::with(&first);
    fs::remove_file(disk.0.path().join("k.pem")).unwrap();
    assert!(look(&mut renewal).unwrap().unwrap_err().to_string().contains("k.pem"));
    disk.key(&first.key);
    assert_eq!(look(&mut renewal).unwrap().unwrap(), renewal.live().now().sha256);
}

#[test]
fn no_beginning_of_a_pair_is_ever_used() {
    let (disk, mut renewal) = Disk::with(&Pair::valid());
    let old = renewal.live().now().sha256.clone();
    let new = Pair::valid();
    for length in (0..new.key.trim_end().len()).step_by(3) {
        disk.certificate(&new.certificate);
        disk.key(&new.key[..length]);
        assert!(renewal.reload().is_err(), "a key of {length} bytes");
    }
    disk.key(&new.key);
    for length in (0..new.certificate.trim_end().len()).step_by(7) {
        disk.certificate(&new.certificate[..length]);
        assert!(renewal.reload().is_err(), "a certificate of {length} bytes");
        assert_eq!(renewal.live().now().sha256, old);
    }
    disk.certificate(&new.certificate);
    assert_ne!(renewal.reload().unwrap().sha256, old);
}

#[test]
fn an_expired_certificate_does_not_replace_a_valid_one_but_another_expired_one() {
    let (disk, mut renewal) = Disk::with(&Pair::valid());
    for days in [[-90, -1], [1, 90]] {
        let worse = Pair::new(days);
        disk.certificate(&worse.certificate);
        disk.key(&worse.key);
        assert!(matches!(renewal.reload(), Err(TlsError::NotNow { .. })), "{days:?}");
    }
    let (disk, mut renewal) = Disk::with(&Pair::new([-90, -2]));
    let less_old = Pair::new([-90, -1]);
    disk.certificate(&less_old.certificate);
    disk.key(&less_old.key);
    renewal.reload().unwrap();
}

#[test]
fn a_fault_that_was_told_on_request_is_not_told_again() {
    let (disk, mut renewal) = Disk::with(&Pair::valid());
    disk.key("nothing");
    assert!(renewal.reload().is_err());
    assert!(look(&mut renewal).is_none());
    assert!(renewal.reload().is_err(), "but on request it is");
}

#[test]
fn a_certificate_for_other_names_is_refused() {
    let (disk, first) = Disk::with(&Pair::valid());
    drop(first);
    let mut renewal = disk.config().load(disk.0.path(), ADVERTISED, Some("localhost")).unwrap();
    let key = KeyPair::generate().unwrap();
    let other = CertificateParams::new(vec!["other.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    disk.certificate(&other.pem());
    disk.key(&key.serialize_pem());
    assert!(matches!(renewal.reload(), Err(TlsError::Name { .. })));
    assert_eq!(renewal.live().now().name, "localhost");
}
