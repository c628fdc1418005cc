//! Which certificates prove a gateway.
//!
//! Authorities come from `--ca` or from the system, never from both: whoever names an authority of their own means
//! that nobody else may vouch. A pinned certificate is checked by its digest and by its signature over the handshake.
//!
//! To gateways that ask for one, we may show a certificate of our own.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use super::{ClientError, Proof};

static VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// The authorities that may vouch for a gateway, and what we show it.
#[derive(Debug, Clone)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    named: Arc<ClientConfig>,
    /// The same without a certificate of our own.
    plain: Arc<ClientConfig>,
}

impl Trust {
    /// The certificates of a PEM file: authorities, or a gateway's self-signed certificate.
    pub fn file(path: &Path) -> Result<Self, ClientError> {
        let fault = |what: String| ClientError::Usage(format!("--ca {}: {what}", path.display()));
        let pem = std::fs::read(path).map_err(ClientError::local("read", path.display().to_string()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| fault(format!("not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(fault("there is no certificate in it".to_owned()));
        }
        Self::certificates(certificates).map_err(|error| fault(error.to_string()))
    }

    /// The authorities of this system.
    pub fn system() -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::roots(roots).map_err(|error| ClientError::Usage(format!("cannot set up TLS: {error}")))
    }

    /// The same, with a certificate of our own in one PEM file and its key in another.
    pub fn showing(self, certificate: &Path, key: &Path) -> Result<Self, ClientError> {
        let fault = |path: &Path, what: &dyn std::fmt::Display| {
            ClientError::Usage(format!("the client certificate cannot be used: {}: {what}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| fault(certificate, &error))?;
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| fault(certificate, &error))?;
        if chain.is_empty() {
            return Err(fault(certificate, &"there is no certificate in it"));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, &error))?;
        let pair = CertifiedKey::from_der(chain, private, &self.provider).map_err(|error| fault(key, &error))?;
        let mut named = ClientConfig::clone(&self.named);
        named.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
        Ok(Self { named: Arc::new(named), ..self })
    }

    /// The same without a certificate of our own: for whom a ticket is enough, and who may not know our authority.
    pub(super) fn showing_none(self) -> Self {
        Self { named: Arc::clone(&self.plain), ..self }
    }

    fn certificates(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate)?;
        }
        Self::roots(roots)
    }

    fn roots(roots: RootCertStore) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&VERSIONS)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let plain = Arc::new(config);
        Ok(Self { provider, named: Arc::clone(&plain), plain })
    }

    /// The TLS settings that demand `proof`, and the name to announce to the peer.
    pub(super) fn demand(&self, proof: &Proof, host: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>), Error> {
        match proof {
            Proof::Name(name) => Ok((Arc::clone(&self.named), name.clone())),
            Proof::Pin(digest) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|fault| Error::General(fault.to_string()))?;
                Ok((Arc::new(self.pinned(*digest)?), name))
            }
        }
    }

    fn pinned(&self, digest: [u8; 32]) -> Result<ClientConfig, Error> {
        let verifier = Pinned { digest, provider: Arc::clone(&self.provider) };
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_protocol_versions(&VERSIONS)?;
        let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        config.client_auth_cert_resolver = Arc::clone(&self.named.client_auth_cert_resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Accepts one certificate, whoever signed it and whatever names it has.
#[derive(Debug)]
struct Pinned {
    digest: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, end_entity);
        if found.as_ref() != self.digest {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
