//! Which certificates prove a registry: an authority of the operator's own, or else those of the system.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::plugin::fault::Fault;

const REMEDY: &str = "check plugins.registry.ca (--ca): the PEM file of the authority that vouches for the registry";

pub(super) fn settings(ca: Option<&Path>) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(file) => {
            let fault = |error: &dyn std::fmt::Display| Fault::new(format!("{}: {error}", file.display()), REMEDY);
            let pem = std::fs::read(file).map_err(|error| fault(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| fault(&error))?;
                roots.add(certificate).map_err(|error| fault(&error))?;
            }
            if roots.is_empty() {
                return Err(fault(&"there is no certificate in it"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Fault::new(format!("TLS cannot be set up: {error}"), REMEDY))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
