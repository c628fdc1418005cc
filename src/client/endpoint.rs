//! Where a gateway is, and what proves that it is the one.

use http::Uri;
use rustls::pki_types::ServerName;

use super::ClientError;
use crate::api::ServerAnswer;

/// What the peer at an address must prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A certificate for this DNS name or IP address, signed by an authority that we trust.
    Name(ServerName<'static>),
    /// The certificate with this SHA-256 and no other.
    Pin([u8; 32]),
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    proof: Proof,
}

impl Endpoint {
    /// From a URL of the user's: `https://host[:port]`, nothing after it.
    pub fn parse(url: &str) -> Result<Self, ClientError> {
        let fault = |what: &str| ClientError::Usage(format!("{url:?} is not a gateway's URL: {what}"));
        let uri: Uri = url.parse().map_err(|_| fault("write https://host:port"))?;
        if uri.scheme_str() != Some("https") {
            return Err(fault("it must start with https://, a token is never sent in the clear"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(fault("nothing may follow the port"));
        }
        let authority = uri.authority().ok_or_else(|| fault("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(fault("a user name has no place in it; use --token-file"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| fault("the host is no name or address"))?;
        Ok(Self { host: host.to_owned(), port: authority.port_u16().unwrap_or(443), proof: Proof::Name(name) })
    }

    /// From the answer of `GET /server`. A name is verified by the authorities that we trust, as for any server; a
    /// pin counts only where no name was given, so that a wrong registry entry cannot replace the authorities.
    pub fn answered(answer: &ServerAnswer) -> Result<Self, ClientError> {
        let name = answer.tls_name.as_deref().or(answer.tls_sha256.is_none().then_some(&*answer.ip));
        let proof = match (name, answer.tls_sha256.as_deref()) {
            (Some(name), _) => Proof::Name(
                ServerName::try_from(name.to_owned())
                    .map_err(|_| ClientError::Protocol(format!("{name:?} is no name for a certificate")))?,
            ),
            (None, pin) => Proof::Pin(parse_pin(pin.unwrap_or_default())?),
        };
        Ok(Self { host: answer.ip.clone(), port: answer.port, proof })
    }

    /// Host name or address to connect to, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// `host:port` as in a `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn parse_pin(digits: &str) -> Result<[u8; 32], ClientError> {
    let hash = blake3::Hash::from_hex(digits)
        .map_err(|_| ClientError::Protocol(format!("{digits:?} is no SHA-256 in hexadecimal")))?;
    Ok(*hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_and_nothing_but_an_authority() {
        let endpoint = Endpoint::parse("https://gw.example:8443").unwrap();
        assert_eq!((endpoint.host(), endpoint.port()), ("gw.example", 8443));
        assert_eq!(Endpoint::parse("https://gw.example/").unwrap().port(), 443);
        assert_eq!(Endpoint::parse("https://[::1]:9").unwrap().authority(), "[::1]:9");
        for url in ["http://gw", "gw:8443", "https://", "https://a@gw", "https://gw/x", "https://gw/?a", "https://g w"]
        {
            assert!(matches!(Endpoint::parse(url), Err(ClientError::Usage(_))), "{url} was accepted");
        }
    }

    fn answer(name: Option<&str>, pin: Option<&str>) -> ServerAnswer {
        ServerAnswer {
            server: "192.0.2.1:8443".into(),
            ip: "192.0.2.1".into(),
            port: 8443,
            connections: 0,
            source: crate::api::Source::Own,
            age_ms: None,
            tls_name: name.map(str::to_owned),
            tls_sha256: pin.map(str::to_owned),
            ticket: None,
            expires: None,
        }
    }

    #[test]
    fn a_pin_never_replaces_a_name() {
        let pin = "ab".repeat(32);
        let name = |text: &str| Proof::Name(ServerName::try_from(text.to_owned()).unwrap());
        let proof = |answer| Endpoint::answered(&answer).unwrap().proof;
        assert_eq!(proof(answer(Some("gw.example"), Some(&pin))), name("gw.example"));
        assert_eq!(proof(answer(None, Some(&pin))), Proof::Pin([0xab; 32]));
        assert_eq!(proof(answer(None, None)), name("192.0.2.1"));
        assert!(Endpoint::answered(&answer(None, Some("abc"))).is_err());
    }
}
