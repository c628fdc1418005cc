//! The caller of a request, from its `Authorization` header.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Gateway;
use super::audit::Origin;
use super::auth::{Action, Permission, Principal};
use super::headers::one;
use super::problem::{Kind, Problem};

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
        let value = one(&parts.headers, &AUTHORIZATION)?.ok_or_else(|| unauthorized("there is none"))?;
        let principal = gateway.authority.authenticate(bearer(value)?, SystemTime::now())?;
        tracing::Span::current().record("principal", principal.label());
        let origin = parts.extensions.get::<Origin>().cloned().unwrap_or_default();
        Ok(Self { principal, origin })
    }
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
    let detail = format!("show a token or ticket as `Authorization: Bearer …`; about this request's header: {fault}");
    Problem::new(Kind::Unauthorized, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("Bearer abc").unwrap(), "abc");
        assert_eq!(bearer("bearer  abc").unwrap(), "abc");
        for wrong in ["", "abc", "Basic abc", "Bearerabc", &"x".repeat(AUTHORIZATION_MAX + 1)] {
            assert_eq!(bearer(wrong).unwrap_err().kind(), Kind::Unauthorized);
        }
    }
}
