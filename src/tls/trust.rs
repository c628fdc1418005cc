//! What proves the servers that this gateway asks: an authority of the operator's own, or else those of the system.
//!
//! Never both: whoever names an authority means that nobody else may vouch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why no server could be proven.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("{}: {fault}", path.display())]
    File { path: PathBuf, fault: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    #[error("HTTPS cannot be set up: {0}")]
    Client(String),
}

/// TLS towards servers that `ca`, a PEM file, vouches for; without one those that the system trusts.
pub fn trust(ca: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => read(path, &mut roots).map_err(|fault| TrustError::File { path: path.to_owned(), fault })?,
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read(path: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(())
}
