//! Who may do what.
//!
//! Two kinds of callers: those with an account here (a static token or a certificate with a role, for the site's own
//! Cinder and its operators), and those with a ticket that such a caller was given for them. Tokens are compared by their digests and
//! in constant time, all of them at each request, so that the time taken tells nothing about any. There is no
//! anonymous role: without a configuration the gateway makes one operator's token of its own and nothing is open.
//! Tokens and keys are read again on request, all or none of them: a token that has leaked must not live until the
//! transfers of days are done.

mod certificates;
mod config;
pub mod keystone;
mod load;
mod permission;
#[cfg(test)]
pub(super) mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::problem::{Kind, Problem};
use super::ticket::{AUDIENCE, Claims, Keys, Operation, TicketError};
use crate::cluster::Seal;
use crate::id::{ProjectId, SiteName, SnapshotId, VolumeId};
use crate::secret;
use crate::tls::ClientCertificate;
pub use certificates::CertificateConfig;
use certificates::Certificates;
pub use config::{Config, KeyConfig, Role, TokenConfig};
use keystone::Callers;
pub use load::AuthError;
use load::{load_keys, load_tokens};
pub(super) use permission::{Action, Permission};

/// Who calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Principal {
    Token {
        name: String,
        role: Role,
    },
    /// Somebody who has shown a certificate.
    Certificate {
        name: String,
        role: Role,
    },
    /// Somebody whom the site's Keystone knows, by the id that stays and the name that may change.
    Keystone {
        user: String,
        name: String,
        role: Role,
    },
    Ticket(Box<Claims>),
}

/// Knows all callers, and mints and checks tickets.
#[derive(Debug)]
pub struct Authority {
    site: SiteName,
    lifetime: Duration,
    config: Config,
    data: PathBuf,
    certificates: Certificates,
    keystone: Option<Callers>,
    secrets: RwLock<Arc<Secrets>>,
}

/// What the files of the configuration hold.
#[derive(Debug)]
struct Secrets {
    tokens: Vec<Token>,
    keys: Keys,
    seal: Arc<Seal>,
}

struct Token {
    name: String,
    role: Role,
    digest: [u8; 32],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Token").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the secrets, or makes them in `data` where none are configured.
    pub fn load(config: &Config, data: &Path, site: SiteName) -> Result<Self, AuthError> {
        let secrets = RwLock::new(Arc::new(Secrets::load(config, data)?));
        let lifetime = config.ticket_lifetime.0;
        let keystone = config.keystone.as_ref().map(Callers::new).transpose()?;
        let certificates = Certificates::new(&config.certificates);
        Ok(Self { site, lifetime, config: config.clone(), data: data.to_owned(), certificates, keystone, secrets })
    }

    /// Reads the secrets again. An error leaves all of them as they were. Blocks on the disk.
    pub fn reload(&self) -> Result<(), AuthError> {
        let secrets = Arc::new(Secrets::load(&self.config, &self.data)?);
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets;
        Ok(())
    }

    fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.secrets.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the gateways that take each other's tickets sign their records with.
    #[must_use]
    pub fn seal(&self) -> Arc<Seal> {
        Arc::clone(&self.secrets().seal)
    }

    /// The site that tickets are for.
    #[must_use]
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// Who shows this. What is a bearer token neither of ours nor like a ticket is Keystone's to know, where there is one.
    pub(super) async fn identify(&self, shown: &Shown<'_>, now: SystemTime) -> Result<Principal, Problem> {
        let (token, own) = match shown.proof {
            Proof::Bearer(token) => (token, self.authenticate(token, now)),
            Proof::Keystone(token) => {
                let detail = "this gateway asks no Keystone about X-Auth-Token ([auth.keystone] is not configured)";
                (token, Err(Problem::new(Kind::BadToken, detail)))
            }
            Proof::Certificate(certificate) => return self.certificates.identify(certificate, now),
        };
        match (own, &self.keystone) {
            (Err(problem), Some(keystone)) if problem.kind() == Kind::BadToken => {
                keystone.identify(token, shown.service).await
            }
            (own, _) => own,
        }
    }

    /// Who shows this bearer token.
    pub fn authenticate(&self, bearer: &str, now: SystemTime) -> Result<Principal, Problem> {
        let secrets = self.secrets();
        if let Some(token) = secrets.find_token(bearer) {
            return Ok(Principal::Token { name: token.name.clone(), role: token.role });
        }
        if bearer.split('.').count() != 3 {
            return Err(Problem::new(Kind::BadToken, "this gateway does not know the bearer token"));
        }
        let claims = secrets.keys.verify(bearer, now)?;
        if claims.site != self.site {
            return Err(Problem::new(Kind::TicketScope, format!("the ticket is for site {}", claims.site)));
        }
        Ok(Principal::Ticket(Box::new(claims)))
    }

    /// A ticket for the transfer of `snapshots`, and its claims.
    pub fn mint(&self, wanted: Wanted, now: SystemTime) -> Result<(String, Claims), TicketError> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            site: self.site.clone(),
            project: wanted.project,
            volume: wanted.volume,
            snapshots: wanted.snapshots,
            size: wanted.size,
            operations: Operation::ALL.to_vec(),
            sub: wanted.holder,
            jti: secret::random_text(12),
            iat: since.as_secs_f64(),
            exp: (since + self.lifetime).as_secs(),
        };
        Ok((self.secrets().keys.mint(&claims)?, claims))
    }
}

impl Secrets {
    fn load(config: &Config, data: &Path) -> Result<Self, AuthError> {
        let tokens = load_tokens(config, data)?;
        let secrets = load_keys(config, data)?;
        let keys = Keys::new(&secrets).ok_or(AuthError::NoKey)?;
        Ok(Self { tokens, keys, seal: Arc::new(Seal::new(&secrets)) })
    }

    fn find_token(&self, bearer: &str) -> Option<&Token> {
        let shown = sha256(bearer);
        let same = |token: &&Token| verify_slices_are_equal(&token.digest, &shown).is_ok();
        self.tokens.iter().filter(same).fold(None, |_, token| Some(token))
    }
}

/// What a request shows of its caller.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) proof: Proof<'a>,
    /// The token of a service that speaks for the caller.
    pub(super) service: Option<&'a str>,
}

/// One of the ways to say who one is.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    /// `Authorization: Bearer`.
    Bearer(&'a str),
    /// `X-Auth-Token`.
    Keystone(&'a str),
    /// Shown in the handshake of the connection.
    Certificate(&'a ClientCertificate),
}

/// What a ticket is wanted for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub project: Option<ProjectId>,
    pub volume: VolumeId,
    pub snapshots: Vec<SnapshotId>,
    /// Size of the volume, in bytes.
    pub size: u64,
    /// On whose account.
    pub holder: Option<String>,
}

fn sha256(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

impl Principal {
    /// Who, for logs: never the secret itself.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Token { name, .. } => format!("token:{name}"),
            Self::Certificate { name, .. } => format!("certificate:{name}"),
            Self::Keystone { user, name, .. } => format!("keystone:{user} ({name})"),
            Self::Ticket(claims) => format!("ticket:{}", claims.jti),
        }
    }

    /// On whose account: of a ticket the caller who was given it.
    #[must_use]
    pub fn sender(&self) -> Option<String> {
        match self {
            Self::Token { .. } | Self::Certificate { .. } => Some(self.label()),
            Self::Keystone { user, .. } => Some(format!("keystone:{user}")),
            Self::Ticket(claims) => claims.sub.clone(),
        }
    }
}
