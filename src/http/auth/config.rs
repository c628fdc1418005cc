//! The `[auth]` table.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::certificates::{self, CertificateConfig};
use super::keystone;
use crate::quantity::Seconds;

/// Longest life of a ticket: it only has to outlast the way from `/server` to the start.
const LIFETIME_MAX: Seconds = Seconds::new(7 * 24 * 60 * 60);

/// The `[auth]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Callers with an account. Empty: one operator, whose token is made in `<data>/token`.
    pub tokens: Vec<TokenConfig>,
    /// Callers with a certificate of one of `tls.client_authorities`.
    pub certificates: Vec<CertificateConfig>,
    /// Keys for tickets, shared by the site's gateways. Empty: one key, made in `<data>/ticket.key`.
    pub ticket_keys: Vec<KeyConfig>,
    /// How long after its issue a ticket can start a transfer.
    pub ticket_lifetime: Seconds,
    /// The site's Keystone, whose tokens count too; `None`: they do not.
    pub keystone: Option<keystone::Config>,
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
        Self {
            tokens: Vec::new(),
            certificates: Vec::new(),
            ticket_keys: Vec::new(),
            ticket_lifetime: Seconds::new(15 * 60),
            keystone: None,
            audit: None,
        }
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
        certificates::validate(&self.certificates, faults);
        unique("auth.ticket_keys", "id", self.ticket_keys.iter().map(|key| key.id.as_str()), faults);
        if self.ticket_lifetime < Seconds::new(1) || self.ticket_lifetime > LIFETIME_MAX {
            faults.push(format!("auth.ticket_lifetime: must be from 1s to {LIFETIME_MAX}"));
        }
        self.keystone.iter().for_each(|keystone| keystone.validate(faults));
    }
}

pub(super) fn unique<'a>(table: &str, key: &str, names: impl Iterator<Item = &'a str>, faults: &mut Vec<String>) {
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
