//! Why a gateway could not prove who it is, with the remedy that fits.
//!
//! "Give its certificate with --ca" heals one of these cases. In the others it sends people after a file that would
//! change nothing: a name that is not in the certificate, one that has ended, or no TLS at all behind that port.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::ClientError;

pub(super) const AUTHORITY: &str = "Give the gateway's certificate or the authority that signed it with --ca FILE.";

const NAME: &str =
    "Write a name that is in the certificate in --gateway, or give the gateway a certificate with this one.";

const DATES: &str = "Renew the gateway's certificate, or set the clock that is wrong: here or there.";

const PURPOSE: &str = "Give the gateway a certificate with CA:FALSE; `openssl req -x509` makes one with \
                       -addext basicConstraints=CA:FALSE.";

/// What a failed handshake with `address` means.
pub(super) fn distrusted(address: &str, fault: &Error) -> ClientError {
    let tls = |fault: String, remedy| ClientError::Tls { address: address.to_owned(), fault, remedy };
    match fault {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            ClientError::Protocol(format!("what listens at {address} speaks no TLS"))
        }
        Error::InvalidCertificate(reason) if is_authority(reason) => {
            tls("its certificate is that of an authority (CA:TRUE) and not of a server".to_owned(), PURPOSE)
        }
        Error::InvalidCertificate(reason) => tls(fault.to_string(), remedy(reason)),
        _ => unwelcome(fault).unwrap_or_else(|| tls(fault.to_string(), AUTHORITY)),
    }
}

/// What the peer has said of our certificate, if it was that. With TLS 1.3 it comes in the place of the answer.
pub(super) fn unwelcome(fault: &Error) -> Option<ClientError> {
    use AlertDescription as Alert;
    let Error::AlertReceived(alert) = fault else { return None };
    let is_about_ours = matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
    );
    is_about_ours.then(|| ClientError::Certificate(fault.to_string()))
}

fn remedy(reason: &CertificateError) -> &'static str {
    use CertificateError as Reason;
    match reason {
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => NAME,
        Reason::Expired | Reason::ExpiredContext { .. } | Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            DATES
        }
        _ => AUTHORITY,
    }
}

/// As `openssl req -x509` makes them, if nobody says otherwise.
fn is_authority(reason: &CertificateError) -> bool {
    let CertificateError::Other(other) = reason else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ServerConfig;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::client::{Endpoint, Gateway, Limits, Trust};

    fn told(reason: CertificateError) -> &'static str {
        distrusted("gw:8443", &Error::InvalidCertificate(reason)).remedy()
    }

    #[test]
    fn each_reason_has_its_own_remedy() {
        let (time, not_after) = (UnixTime::now(), UnixTime::now());
        assert_eq!(told(CertificateError::UnknownIssuer), AUTHORITY);
        assert_eq!(told(CertificateError::ExpiredContext { time, not_after }), DATES);
        assert_eq!(told(CertificateError::NotValidForName), NAME);
    }

    /// A certificate as `openssl req -x509` makes it, and the server that shows it.
    fn authority() -> (tempfile::NamedTempFile, TlsAcceptor) {
        let mut parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        (file, TlsAcceptor::from(Arc::new(config)))
    }

    async fn asked(listener: &TcpListener, authority: &tempfile::NamedTempFile) -> ClientError {
        let endpoint = Endpoint::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
        let trust = Trust::file(authority.path()).unwrap();
        let gateway = Gateway::new(endpoint, trust, Some("secret"), Limits::default()).unwrap();
        gateway.find(&"v".parse().unwrap(), &"s".parse().unwrap()).await.unwrap_err()
    }

    #[tokio::test]
    async fn an_authoritys_own_certificate_is_told_from_an_unknown_one() {
        let ((file, acceptor), listener) = (authority(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let shown = async { drop(acceptor.accept(listener.accept().await.unwrap().0).await) };
        let (error, ()) = tokio::join!(asked(&listener, &file), shown);
        assert!(error.to_string().contains("CA:TRUE") && error.remedy() == PURPOSE, "{error}");
    }

    #[tokio::test]
    async fn a_port_without_tls_is_not_a_matter_of_trust() {
        let ((file, _), listener) = (authority(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let answered = async {
            let mut stream: TcpStream = listener.accept().await.unwrap().0;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        let (error, _stream) = tokio::join!(asked(&listener, &file), answered);
        assert!(matches!(error, ClientError::Protocol(_)) && error.to_string().contains("no TLS"), "{error}");
    }
}
