//! Callers whom the site's Keystone knows.
//!
//! Keystone says who a token stands for, for which project and with which roles; what that means here is in the
//! configuration. What it said counts for a short time and never past the token's expiry. As long as Keystone cannot be
//! asked nobody comes in by it: open doors, or answers from long ago, were refused. Callers with static tokens and tickets
//! are not touched by that.
//!
//! A service that works for a user for longer than the user's token lives shows a token of its own with it
//! (`X-Service-Token`); then Keystone is asked about the user's token without regard to its expiry.

mod cache;
mod config;
#[cfg(test)]
mod tests;

use std::time::{Instant, SystemTime};

use axum::http::HeaderValue;
use tokio::sync::Semaphore;

use super::super::problem::{Kind, Problem};
use super::{AuthError, Principal, sha256};
use crate::keystone::{Failure, Keystone, Token};
use cache::Cache;
pub use config::Config;

/// Longest token, in bytes.
const TOKEN_MAX: usize = 8 << 10;
/// Questions at once: strangers who bring tokens must not take Keystone's time from all others.
const QUESTIONS: usize = 16;

/// The site's Keystone and what it said.
#[derive(Debug)]
pub(super) struct Callers {
    config: Config,
    keystone: Keystone,
    cache: Cache,
    questions: Semaphore,
}

impl Callers {
    pub(super) fn new(config: &Config) -> Result<Self, AuthError> {
        let keystone = Keystone::new(&config.server())?;
        let cache = Cache::new(config.cache.0, config.entries);
        Ok(Self { config: config.clone(), keystone, cache, questions: Semaphore::new(QUESTIONS) })
    }

    /// Who shows this token, perhaps with that of a service that speaks for them.
    pub(super) async fn identify(&self, token: &str, service: Option<&str>) -> Result<Principal, Problem> {
        let forgiven = match service {
            None => false,
            Some(service) => self.is_service(service).await?,
        };
        let known = self.ask(token, forgiven).await?;
        self.principal(known.ok_or_else(|| unknown("the token"))?)
    }

    async fn is_service(&self, service: &str) -> Result<bool, Problem> {
        let known = self.ask(service, false).await?.ok_or_else(|| unknown("the service token"))?;
        // Whoever rules a project of their own gives its users any role there.
        let is_ours = known.project.is_some_and(|project| self.config.serves(&project));
        match is_ours && self.config.is_service(&known.roles) {
            true => Ok(true),
            false => {
                let detail = "the service token has no role of a service in a project that this gateway serves \
                              (auth.keystone.service_roles, auth.keystone.projects)";
                Err(Problem::new(Kind::Forbidden, detail))
            }
        }
    }

    fn principal(&self, token: Token) -> Result<Principal, Problem> {
        let forbidden = |detail: String| Err(Problem::new(Kind::Forbidden, detail));
        let Some(project) = token.project.filter(|project| self.config.serves(project)) else {
            return forbidden(
                "the token is for no project that this gateway serves (auth.keystone.projects)".to_owned(),
            );
        };
        let Some(role) = self.config.role(&token.roles) else {
            let detail =
                format!("{} has no role in {} that counts here (auth.keystone.roles)", token.user.name, project.name);
            return forbidden(detail);
        };
        Ok(Principal::Keystone { user: token.user.id, name: token.user.name, role })
    }

    /// What Keystone says of a token; `None`: it is not valid.
    async fn ask(&self, text: &str, forgiven: bool) -> Result<Option<Token>, Problem> {
        if text.is_empty() || text.len() > TOKEN_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(None);
        }
        let key = (sha256(text), forgiven);
        let in_time = |token: &Token| forgiven || SystemTime::now() < token.expires;
        if let Some(known) = self.cache.get(&key, Instant::now()).filter(in_time) {
            return Ok(Some(known));
        }
        let said = self.question(text, forgiven).await?.filter(in_time);
        if let Some(token) = &said {
            self.cache.put(key, token.clone(), Instant::now());
        }
        Ok(said)
    }

    async fn question(&self, text: &str, forgiven: bool) -> Result<Option<Token>, Problem> {
        let Ok(mut subject) = HeaderValue::from_str(text) else { return Ok(None) };
        subject.set_sensitive(true);
        let waiting = tokio::time::timeout(self.config.timeout.0, self.questions.acquire());
        let Ok(Ok(_turn)) = waiting.await else { return Err(silent("too many questions wait for it")) };
        self.keystone.validate(&subject, forgiven).await.map_err(|failure| match failure {
            Failure::Silent(_) => silent(failure),
            other => {
                tracing::error!(error = %other, "ask Keystone about a token");
                silent(other)
            }
        })
    }
}

fn unknown(what: &str) -> Problem {
    Problem::new(Kind::BadToken, format!("Keystone does not know {what}, or it has expired or been revoked"))
}

fn silent(cause: impl ToString) -> Problem {
    let detail = "whether the token is valid cannot be known now, because the site's Keystone cannot be asked; try again, \
                  or show a static token or a ticket";
    Problem::because(Kind::Keystone, detail, cause)
}
