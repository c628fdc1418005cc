//! Who vouches for the certificates of clients, replaced while the gateway serves.
//!
//! A connection may live for days, and a certificate that was good at its handshake may have been revoked or have ended
//! since; a session that is resumed brings the certificate of an earlier handshake. So what was shown is verified again
//! for each request (`shown`), against what is in use then.
//!
//! The verifier in the TLS settings asks here each time, and so outlives the files that it was read from. Its price: it
//! names no authorities to clients, which then show the one certificate that they have.
//!
//! A list of revocations that has ended refuses all whom it is about, and an authority without a list too: whoever names
//! lists wants to hear of revocations, and silence must not pass for "none".

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use tokio::sync::watch;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::TlsError;
use super::identity::pem_fault;
use super::watched::Watched;

/// What the files shall hold, with the key that names each.
const AUTHORITIES: &str = "certificates of authorities (tls.client_authorities)";
const LISTS: &str = "lists of revoked certificates (tls.client_revocations)";

/// Where the authorities and their lists of revocations lie.
#[derive(Clone, Debug)]
pub(super) struct ClientFiles {
    pub(super) authorities: PathBuf,
    pub(super) revocations: Option<PathBuf>,
}

/// The authorities, with their lists, of one reading.
#[derive(Debug)]
pub struct Authorities {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// How many there are.
    pub count: usize,
    /// When the first of the lists ends; `None`: there are none, or they do not end.
    pub revocations_until: Option<SystemTime>,
}

impl Authorities {
    pub(super) fn read(files: &ClientFiles) -> Result<Self, TlsError> {
        let (roots, count) = read_roots(&files.authorities)?;
        let lists = files.revocations.as_deref().map(read_lists).transpose()?.unwrap_or_default();
        let revocations_until = lists.iter().filter_map(end).min();
        let path = files.revocations.as_ref().unwrap_or(&files.authorities);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
            .with_crls(lists)
            .enforce_revocation_expiration()
            .allow_unauthenticated()
            .build()
            .map_err(|fault| pem_fault(path, LISTS, &fault))?;
        Ok(Self { verifier, count, revocations_until })
    }

    /// Whether all lists still count, as far as their dates go.
    #[must_use]
    pub fn are_lists_current(&self, now: SystemTime) -> bool {
        self.revocations_until.is_none_or(|until| now <= until)
    }
}

fn read_roots(path: &Path) -> Result<(RootCertStore, usize), TlsError> {
    let fault = |error: &dyn ToString| pem_fault(path, AUTHORITIES, error);
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| fault(&error))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| fault(&error))?;
    if certificates.is_empty() {
        return Err(fault(&"there is none in it; write theirs there, or take the key out of the configuration"));
    }
    let (mut roots, count) = (RootCertStore::empty(), certificates.len());
    for certificate in certificates {
        roots.add(certificate).map_err(|error| fault(&error))?;
    }
    Ok((roots, count))
}

fn read_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let fault = |error: &dyn ToString| pem_fault(path, LISTS, error);
    let lists = CertificateRevocationListDer::pem_file_iter(path).map_err(|error| fault(&error))?;
    let lists: Vec<_> = lists.collect::<Result<_, _>>().map_err(|error| fault(&error))?;
    match lists.is_empty() {
        true => Err(fault(
            &"there is none in it; write those of all authorities there, or take the key out of the configuration",
        )),
        false => Ok(lists),
    }
}

fn end(list: &CertificateRevocationListDer<'static>) -> Option<SystemTime> {
    let (_, parsed) = CertificateRevocationList::from_der(list).ok()?;
    let seconds = parsed.next_update()?.timestamp();
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// Who vouches for clients now. Ask again for each request.
#[derive(Clone, Debug)]
pub struct Clients(watch::Receiver<Arc<Authorities>>);

impl Clients {
    #[must_use]
    pub fn now(&self) -> Arc<Authorities> {
        Arc::clone(&self.0.borrow())
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.now().verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now().verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now().verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().verifier.supported_verify_schemes()
    }
}

/// Looks after the files. Its calls block on the disk.
#[derive(Debug)]
pub struct ClientsRenewal {
    files: ClientFiles,
    watched: Watched,
    current: watch::Sender<Arc<Authorities>>,
}

impl ClientsRenewal {
    pub(super) fn start(files: ClientFiles) -> Result<Self, TlsError> {
        let paths = [Some(&files.authorities), files.revocations.as_ref()].into_iter().flatten().cloned();
        let watched = Watched::new(paths.collect());
        let (current, _) = watch::channel(Arc::new(Authorities::read(&files)?));
        Ok(Self { files, watched, current })
    }

    #[must_use]
    pub fn live(&self) -> Clients {
        Clients(self.current.subscribe())
    }

    /// As [`super::Renewal::reload`].
    pub fn reload(&mut self) -> Result<Arc<Authorities>, TlsError> {
        let read = self.watched.reload(|| Authorities::read(&self.files).map(Arc::new))?;
        self.current.send_replace(Arc::clone(&read));
        Ok(read)
    }

    /// As [`super::Renewal::look`].
    pub fn look(&mut self) -> Option<Result<Arc<Authorities>, TlsError>> {
        let read = self.watched.look(|| Authorities::read(&self.files).map(Arc::new))?;
        if let Ok(authorities) = &read {
            self.current.send_replace(Arc::clone(authorities));
        }
        Some(read)
    }
}
