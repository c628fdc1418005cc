//! Who may do what.
//!
//! Two kinds of callers: those with an account here (a static token with a role, for the site's own Cinder and its
//! operators), and those with a ticket that such a caller was given for them. Tokens are compared by their digests and
//! in constant time, all of them at each request, so that the time taken tells nothing about any. There is no
//! anonymous role: without a configuration the gateway makes one operator's token of its own and nothing is open.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

use super::problem::{Kind, Problem};
use super::ticket::{AUDIENCE, Claims, Keys, Operation, TicketError};
use crate::id::{ProjectId, SiteName, SnapshotId, VolumeId};
use crate::quantity::Seconds;
use crate::secret::{self, SecretError};

/// Shortest token and shortest ticket key, in bytes.
const TOKEN_MIN: usize = 20;
const KEY_MIN: usize = 32;
/// Longest life of a ticket: it only has to outlast the way from `/server` to the start.
const LIFETIME_MAX: Seconds = Seconds::new(7 * 24 * 60 * 60);

/// The `[auth]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Callers with an account. Empty: one operator, whose token is made in `<data>/token`.
    pub tokens: Vec<TokenConfig>,
    /// Keys for tickets, shared by the site's gateways. Empty: one key, made in `<data>/ticket.key`.
    pub ticket_keys: Vec<KeyConfig>,
    /// How long after its issue a ticket can start a transfer.
    pub ticket_lifetime: Seconds,
    /// Where the audit log goes; default `<data>/audit.log`.
    pub audit: Option<PathBuf>,
}

/// A caller with an account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// For the audit log.
    pub name: String,
    pub role: Role,
    /// The file that holds the token.
    pub file: PathBuf,
}

/// A key for tickets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    pub id: String,
    /// The file that holds the key, at least 32 bytes.
    pub file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self { tokens: Vec::new(), ticket_keys: Vec::new(), ticket_lifetime: Seconds::new(15 * 60), audit: None }
    }
}

impl Config {
    /// Where the audit log goes.
    #[must_use]
    pub fn audit_path(&self, data: &Path) -> PathBuf {
        self.audit.clone().unwrap_or_else(|| data.join("audit.log"))
    }

    /// Pushes a text for each fault.
    pub fn validate(&self, faults: &mut Vec<String>) {
        unique("auth.tokens", "name", self.tokens.iter().map(|token| token.name.as_str()), faults);
        unique("auth.ticket_keys", "id", self.ticket_keys.iter().map(|key| key.id.as_str()), faults);
        if self.ticket_lifetime < Seconds::new(1) || self.ticket_lifetime > LIFETIME_MAX {
            faults.push(format!("auth.ticket_lifetime: must be from 1s to {LIFETIME_MAX}"));
        }
    }
}

fn unique<'a>(table: &str, key: &str, names: impl Iterator<Item = &'a str>, faults: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if name.is_empty() || !seen.insert(name) {
            faults.push(format!("{table}: {key} {name:?} is empty or there twice"));
        }
    }
}

/// What a caller with an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Operator,
    /// `/server` and what leads to a transfer: chain, plan, sites.
    Ticket,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Principal {
    Token { name: String, role: Role },
    Ticket(Box<Claims>),
}

/// What a caller wants to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action<'a> {
    Server,
    Sites,
    Chain(&'a VolumeId),
    Plan(&'a VolumeId, &'a SnapshotId),
    Put(&'a VolumeId, &'a [SnapshotId]),
    Read(&'a VolumeId),
    Delete,
}

/// An action that was allowed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Permission {
    /// Who, for logs.
    pub(super) principal: String,
    pub(super) issued: SystemTime,
    /// The only size that is allowed, when the permission knows it.
    pub(super) size: Option<u64>,
}

/// Why the configured secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{} (auth.{table}) holds {found} bytes, a {table} entry needs at least {least}", path.display())]
    Short { table: &'static str, path: PathBuf, found: usize, least: usize },
    #[error("auth.tokens: {0} and {1} have the same token")]
    Same(String, String),
    #[error("auth.ticket_keys: there is no key")]
    NoKey,
}

/// Knows all callers, and mints and checks tickets.
#[derive(Debug)]
pub struct Authority {
    site: SiteName,
    tokens: Vec<Token>,
    keys: Keys,
    lifetime: Duration,
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
        let tokens = load_tokens(config, data)?;
        let keys = Keys::new(&load_keys(config, data)?).ok_or(AuthError::NoKey)?;
        Ok(Self { site, tokens, keys, lifetime: config.ticket_lifetime.0 })
    }

    /// The site that tickets are for.
    #[must_use]
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// Who shows this bearer token.
    pub fn authenticate(&self, bearer: &str, now: SystemTime) -> Result<Principal, Problem> {
        if let Some(token) = self.find_token(bearer) {
            return Ok(Principal::Token { name: token.name.clone(), role: token.role });
        }
        if bearer.split('.').count() != 3 {
            return Err(Problem::new(Kind::BadToken, "this gateway does not know the bearer token"));
        }
        let claims = self.keys.verify(bearer, now)?;
        if claims.site != self.site {
            return Err(Problem::new(Kind::TicketScope, format!("the ticket is for site {}", claims.site)));
        }
        Ok(Principal::Ticket(Box::new(claims)))
    }

    fn find_token(&self, bearer: &str) -> Option<&Token> {
        let shown = sha256(bearer);
        let same = |token: &&Token| verify_slices_are_equal(&token.digest, &shown).is_ok();
        self.tokens.iter().filter(same).fold(None, |_, token| Some(token))
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
            jti: secret::random_text(12),
            iat: since.as_secs_f64(),
            exp: (since + self.lifetime).as_secs(),
        };
        Ok((self.keys.mint(&claims)?, claims))
    }
}

/// What a ticket is wanted for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub project: Option<ProjectId>,
    pub volume: VolumeId,
    pub snapshots: Vec<SnapshotId>,
    /// Size of the volume, in bytes.
    pub size: u64,
}

fn sha256(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

fn load_tokens(config: &Config, data: &Path) -> Result<Vec<Token>, AuthError> {
    if config.tokens.is_empty() {
        let path = data.join("token");
        secret::read_or_create(&path, || secret::random_text(32))?;
        return Ok(vec![load_token("operator", Role::Operator, &path)?]);
    }
    let load = |token: &TokenConfig| load_token(&token.name, token.role, &token.file);
    let tokens: Vec<_> = config.tokens.iter().map(load).collect::<Result<_, _>>()?;
    for (position, token) in tokens.iter().enumerate() {
        if let Some(same) = tokens.iter().take(position).find(|other| other.digest == token.digest) {
            return Err(AuthError::Same(same.name.clone(), token.name.clone()));
        }
    }
    Ok(tokens)
}

fn load_token(name: &str, role: Role, path: &Path) -> Result<Token, AuthError> {
    let text = long_enough("tokens", path, TOKEN_MIN)?;
    Ok(Token { name: name.to_owned(), role, digest: sha256(&text) })
}

fn load_keys(config: &Config, data: &Path) -> Result<Vec<(String, String)>, AuthError> {
    if config.ticket_keys.is_empty() {
        let path = data.join("ticket.key");
        secret::read_or_create(&path, || secret::random_text(48))?;
        return Ok(vec![("own".to_owned(), long_enough("ticket_keys", &path, KEY_MIN)?)]);
    }
    let load = |key: &KeyConfig| Ok((key.id.clone(), long_enough("ticket_keys", &key.file, KEY_MIN)?));
    config.ticket_keys.iter().map(load).collect()
}

fn long_enough(table: &'static str, path: &Path, least: usize) -> Result<String, AuthError> {
    let text = secret::read(path)?;
    match text.len() < least {
        true => Err(AuthError::Short { table, path: path.to_owned(), found: text.len(), least }),
        false => Ok(text),
    }
}

impl Principal {
    /// Who, for logs: never the secret itself.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Token { name, .. } => format!("token:{name}"),
            Self::Ticket(claims) => format!("ticket:{}", claims.jti),
        }
    }

    /// Allows an action or says why not.
    pub(super) fn permit(&self, action: Action<'_>) -> Result<Permission, Problem> {
        match self {
            Self::Token { role, .. } => permit_role(*role, action)?,
            Self::Ticket(claims) => permit_ticket(claims, action)?,
        }
        let (issued, size) = match self {
            Self::Token { .. } => (SystemTime::now(), None),
            Self::Ticket(claims) => (claims.issued(), Some(claims.size)),
        };
        Ok(Permission { principal: self.label(), issued, size })
    }
}

fn permit_role(role: Role, action: Action<'_>) -> Result<(), Problem> {
    match (role, action) {
        (Role::Operator, _) | (Role::Ticket, Action::Server | Action::Sites | Action::Chain(_) | Action::Plan(..)) => {
            Ok(())
        }
        (Role::Ticket, _) => {
            let detail = "this token hands out tickets and plans; use a ticket, or an operator's token";
            Err(Problem::new(Kind::Forbidden, detail))
        }
    }
}

fn permit_ticket(claims: &Claims, action: Action<'_>) -> Result<(), Problem> {
    let (operation, volume, snapshots) = match action {
        Action::Plan(volume, snapshot) => (Operation::Plan, volume, std::slice::from_ref(snapshot)),
        Action::Put(volume, snapshots) => (Operation::Put, volume, snapshots),
        Action::Chain(volume) | Action::Read(volume) => (Operation::Read, volume, [].as_slice()),
        Action::Server | Action::Sites | Action::Delete => {
            return Err(Problem::new(Kind::Forbidden, "a ticket cannot do this; use a token"));
        }
    };
    if !claims.allows(operation) {
        return Err(scope(format!("the ticket does not allow {operation:?}")));
    }
    if claims.volume != *volume {
        return Err(scope(format!("the ticket is for volume {}", claims.volume)));
    }
    match snapshots.iter().find(|snapshot| !claims.snapshots.contains(snapshot)) {
        Some(other) => Err(scope(format!("the ticket is not for snapshot {other}"))),
        None => Ok(()),
    }
}

fn scope(detail: String) -> Problem {
    Problem::new(Kind::TicketScope, format!("{detail}: ask GET /server for one that fits"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ticket::tests::claims;
    use super::*;

    pub(in crate::http) fn authority(data: &Path) -> Authority {
        std::fs::write(data.join("cinder"), "cinder-token-of-enough-length\n").unwrap();
        std::fs::write(data.join("root"), "operator-token-of-enough-length\n").unwrap();
        let token = |name: &str, role| TokenConfig { name: name.to_owned(), role, file: data.join(name) };
        let tokens = vec![token("cinder", Role::Ticket), token("root", Role::Operator)];
        Authority::load(&Config { tokens, ..Config::default() }, data, "dc2".parse().unwrap()).unwrap()
    }

    fn volume(text: &str) -> VolumeId {
        text.parse().unwrap()
    }

    fn snapshot(text: &str) -> SnapshotId {
        text.parse().unwrap()
    }

    fn kind(result: Result<Permission, Problem>) -> Kind {
        result.unwrap_err().kind()
    }

    #[test]
    fn tokens_are_told_apart() {
        let data = tempfile::tempdir().unwrap();
        let authority = authority(data.path());
        let who = |bearer| authority.authenticate(bearer, SystemTime::now()).map(|principal| principal.label());
        assert_eq!(who("cinder-token-of-enough-length").unwrap(), "token:cinder");
        assert_eq!(who("operator-token-of-enough-length").unwrap(), "token:root");
        for wrong in ["", "x", "cinder-token-of-enough-lengt", "cinder-token-of-enough-length ", "a.b", "a.b.c.d"] {
            assert_eq!(who(wrong).unwrap_err().kind(), Kind::BadToken, "{wrong:?}");
        }
        assert_eq!(who("a.b.c").unwrap_err().kind(), Kind::BadTicket);
    }

    #[test]
    fn a_first_start_makes_a_token_and_a_key_that_stay() {
        let data = tempfile::tempdir().unwrap();
        let load = || Authority::load(&Config::default(), data.path(), "dc2".parse().unwrap()).unwrap();
        let wanted = Wanted { project: None, volume: volume("v1"), snapshots: vec![snapshot("s1")], size: 1 };
        let (ticket, _) = load().mint(wanted, SystemTime::now()).unwrap();
        assert!(load().authenticate(&ticket, SystemTime::now()).is_ok());
        let token = std::fs::read_to_string(data.path().join("token")).unwrap();
        let principal = load().authenticate(token.trim(), SystemTime::now()).unwrap();
        assert!(principal.permit(Action::Delete).is_ok());
    }

    #[test]
    fn weak_and_doubled_secrets_are_faults() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("short");
        std::fs::write(&file, "short").unwrap();
        let token = |name: &str| TokenConfig { name: name.to_owned(), role: Role::Ticket, file: file.clone() };
        let load = |config: &Config| Authority::load(config, data.path(), "dc2".parse().unwrap());
        let short = Config { tokens: vec![token("a")], ..Config::default() };
        assert!(matches!(load(&short), Err(AuthError::Short { .. })));
        let key = KeyConfig { id: "k".to_owned(), file: file.clone() };
        assert!(matches!(load(&Config { ticket_keys: vec![key], ..Config::default() }), Err(AuthError::Short { .. })));
        std::fs::write(&file, "long-enough-for-a-token").unwrap();
        let doubled = Config { tokens: vec![token("a"), token("b")], ..Config::default() };
        assert!(matches!(load(&doubled), Err(AuthError::Same(..))));
        let mut faults = Vec::new();
        Config { tokens: vec![token("a"), token("a")], ..Config::default() }.validate(&mut faults);
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn a_ticket_is_bound_to_its_volume_and_snapshots() {
        let ticket = Principal::Ticket(Box::new(claims()));
        let (v1, v2) = (volume("v1"), volume("v2"));
        let (s1, s2) = (snapshot("s1"), snapshot("s2"));
        let permission = ticket.permit(Action::Put(&v1, std::slice::from_ref(&s1))).unwrap();
        assert_eq!((permission.size, permission.principal.as_str()), (Some(1 << 30), "ticket:nonce"));
        assert!(ticket.permit(Action::Plan(&v1, &s1)).is_ok());
        assert!(ticket.permit(Action::Chain(&v1)).is_ok() && ticket.permit(Action::Read(&v1)).is_ok());
        for other in [
            Action::Put(&v2, std::slice::from_ref(&s1)),
            Action::Put(&v1, &[s1.clone(), s2.clone()]),
            Action::Plan(&v1, &s2),
            Action::Plan(&v2, &s1),
            Action::Chain(&v2),
            Action::Read(&v2),
        ] {
            assert_eq!(kind(ticket.permit(other)), Kind::TicketScope, "{other:?}");
        }
        for never in [Action::Server, Action::Sites, Action::Delete] {
            assert_eq!(kind(ticket.permit(never)), Kind::Forbidden, "{never:?}");
        }
    }

    #[test]
    fn a_ticket_without_the_operation_is_refused() {
        let (v1, s1) = (volume("v1"), snapshot("s1"));
        let reader = Claims { operations: vec![Operation::Read], ..claims() };
        let reader = Principal::Ticket(Box::new(reader));
        assert!(reader.permit(Action::Read(&v1)).is_ok());
        assert_eq!(kind(reader.permit(Action::Put(&v1, std::slice::from_ref(&s1)))), Kind::TicketScope);
        assert_eq!(kind(reader.permit(Action::Plan(&v1, &s1))), Kind::TicketScope);
    }

    #[test]
    fn a_ticket_of_another_site_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let load = |site: &str| Authority::load(&Config::default(), data.path(), site.parse().unwrap()).unwrap();
        let wanted = Wanted { project: None, volume: volume("v1"), snapshots: vec![snapshot("s1")], size: 1 };
        let (ticket, _) = load("dc1").mint(wanted, SystemTime::now()).unwrap();
        let refused = load("dc2").authenticate(&ticket, SystemTime::now()).unwrap_err();
        assert_eq!(refused.kind(), Kind::TicketScope);
    }

    #[test]
    fn roles_have_their_limits() {
        let (v1, s1) = (volume("v1"), snapshot("s1"));
        let cinder = Principal::Token { name: "cinder".to_owned(), role: Role::Ticket };
        for action in [Action::Server, Action::Sites, Action::Chain(&v1), Action::Plan(&v1, &s1)] {
            assert!(cinder.permit(action).is_ok(), "{action:?}");
        }
        for action in [Action::Delete, Action::Read(&v1), Action::Put(&v1, std::slice::from_ref(&s1))] {
            assert_eq!(kind(cinder.permit(action)), Kind::Forbidden, "{action:?}");
        }
        let root = Principal::Token { name: "root".to_owned(), role: Role::Operator };
        for action in [Action::Delete, Action::Read(&v1), Action::Put(&v1, std::slice::from_ref(&s1)), Action::Server] {
            assert!(root.permit(action).is_ok(), "{action:?}");
        }
    }
}
