//! The caller of a request, from its `Authorization` header, from OpenStack's, or from the certificate of its connection.
//!
//! A header decides alone, also when it is refused: tickets come over connections that were opened with a certificate,
//! and what a caller writes into a request means more than what a connection has had from its beginning. No header
//! tells of a certificate that somebody else has seen, such as a balancer at which TLS ends: whoever reaches this port
//! could write it.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::Gateway;
use super::audit::Origin;
use super::auth::{Action, Permission, Principal, Proof, Shown};
use super::headers::one;
use super::problem::{Kind, Problem};
use crate::tls::ClientCertificate;

/// Keystone's: of the caller, and of a service that speaks for the caller.
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const SERVICE_TOKEN: HeaderName = HeaderName::from_static("x-service-token");
/// Longest header value that is looked at, in bytes: a ticket and its scheme fit.
const AUTHORIZATION_MAX: usize = 17 << 10;

/// Someone whom this gateway knows.
#[derive(Debug)]
pub(super) struct Caller {
    principal: Principal,
    pub(super) origin: Origin,
}

impl Caller {
    pub(super) fn permit(&self, action: Action<'_>) -> Result<Permission, Problem> {
        self.principal.permit(action)
    }

    /// On whose account.
    pub(super) fn sender(&self) -> Option<String> {
        self.principal.sender()
    }

    /// Who, for logs.
    pub(super) fn label(&self) -> String {
        self.principal.label()
    }
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let certificate = parts.extensions.get::<Arc<ClientCertificate>>().map(Arc::as_ref);
        let principal = gateway.authority.identify(&shown(&parts.headers, certificate)?, SystemTime::now()).await?;
        tracing::Span::current().record("principal", principal.label());
        let origin = parts.extensions.get::<Origin>().cloned().unwrap_or_default();
        Ok(Self { principal, origin })
    }
}

/// One proof: with two, the one that is refused need not be the one that counts.
fn shown<'a>(headers: &'a HeaderMap, certificate: Option<&'a ClientCertificate>) -> Result<Shown<'a>, Problem> {
    let service = one(headers, &SERVICE_TOKEN)?;
    let proof = match (one(headers, &AUTHORIZATION)?, one(headers, &AUTH_TOKEN)?) {
        (Some(value), None) => Proof::Bearer(bearer(value)?),
        (None, Some(token)) => Proof::Keystone(token),
        (Some(_), Some(_)) => return Err(unauthorized("there is an X-Auth-Token too; show one of them")),
        (None, None) => match certificate.filter(|_| service.is_none()) {
            Some(certificate) => Proof::Certificate(certificate),
            None => return Err(unauthorized("there is none")),
        },
    };
    Ok(Shown { proof, service })
}

fn bearer(value: &str) -> Result<&str, Problem> {
    if value.len() > AUTHORIZATION_MAX {
        return Err(unauthorized("it is too long"));
    }
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(unauthorized("it has another scheme")),
    }
}

fn unauthorized(fault: &str) -> Problem {
    let detail = format!(
        "show a token or ticket as `Authorization: Bearer …`, or a client certificate where the gateway asks for one; about \
         this request's header: {fault}"
    );
    Problem::new(Kind::Unauthorized, detail)
}

#[cfg(test)]
mod tests {
    use super::super::tests::headers;
    use super::*;
    use crate::tls::tests::clients::Vouching;

    #[test]
    fn two_proofs_are_none() {
        let kind = |pairs: &[(&'static str, &str)]| shown(&headers(pairs), None).err().map(|problem| problem.kind());
        assert_eq!(kind(&[("authorization", "Bearer a")]), None);
        assert_eq!(kind(&[("x-auth-token", "a"), ("x-service-token", "b")]), None);
        assert_eq!(kind(&[("x-auth-token", "a"), ("authorization", "Bearer a")]), Some(Kind::Unauthorized));
        assert_eq!(kind(&[("x-service-token", "b")]), Some(Kind::Unauthorized));
    }

    #[test]
    fn a_header_decides_alone_and_none_speaks_for_a_certificate() {
        let certificate = Vouching::new("a").shown(&["a.example"]);
        let proof = |lines: &[(&'static str, &str)]| match shown(&headers(lines), Some(&certificate)) {
            Ok(Shown { proof: Proof::Certificate(_), .. }) => "certificate",
            Ok(_) => "header",
            Err(_) => "none",
        };
        assert_eq!(proof(&[]), "certificate");
        assert_eq!(proof(&[("authorization", "Bearer wrong")]), "header");
        assert_eq!(proof(&[("x-auth-token", "wrong")]), "header");
        assert_eq!(proof(&[("authorization", "Basic abc")]), "none");
        assert_eq!(proof(&[("authorization", "Bearer a"), ("x-auth-token", "b")]), "none");
        assert_eq!(proof(&[("x-service-token", "a")]), "none", "it speaks for a caller who shows a token");
        let spoken = [("client-cert", ":AA==:"), ("x-ssl-client-verify", "SUCCESS"), ("x-forwarded-client-cert", "a")];
        assert!(shown(&headers(&spoken), None).is_err());
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("Bearer abc").unwrap(), "abc");
        assert_eq!(bearer("bearer  abc").unwrap(), "abc");
        for wrong in ["", "abc", "Basic abc", "Bearerabc", &"x".repeat(AUTHORIZATION_MAX + 1)] {
            assert_eq!(bearer(wrong).unwrap_err().kind(), Kind::Unauthorized);
        }
    }
}
