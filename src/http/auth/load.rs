//! Reading the secrets, or making them where none are configured.

use std::path::{Path, PathBuf};

use super::{Config, KeyConfig, Role, Token, TokenConfig, sha256};
use crate::secret::{self, SecretError};
use crate::tls::TrustError;

/// Shortest token and shortest ticket key, in bytes.
const TOKEN_MIN: usize = 20;
const KEY_MIN: usize = 32;

/// Why the configured secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{} (auth.{table}) holds {found} bytes, a {table} entry needs at least {least}", path.display())]
    Short { table: &'static str, path: PathBuf, found: usize, least: usize },
    #[error("auth.tokens: {0} and {1} have the same token")]
    Same(String, String),
    #[error("auth.keystone: {0}")]
    Keystone(#[from] TrustError),
    #[error("auth.ticket_keys: there is no key")]
    NoKey,
}

impl TokenConfig {
    /// Reads the file, to say what is wrong with it.
    pub fn inspect(&self) -> Result<(), AuthError> {
        load_token(&self.name, self.role, &self.file).map(drop)
    }
}

impl KeyConfig {
    /// Reads the file, to say what is wrong with it.
    pub fn inspect(&self) -> Result<(), AuthError> {
        load_key(self).map(drop)
    }
}

impl Config {
    /// Reads all configured tokens, to say whether two are the same.
    pub fn inspect_tokens(&self) -> Result<(), AuthError> {
        configured_tokens(&self.tokens).map(drop)
    }
}

pub(super) fn load_tokens(config: &Config, data: &Path) -> Result<Vec<Token>, AuthError> {
    if config.tokens.is_empty() {
        let path = data.join("token");
        secret::read_or_create(&path, || secret::random_text(32))?;
        return Ok(vec![load_token("operator", Role::Operator, &path)?]);
    }
    configured_tokens(&config.tokens)
}

fn configured_tokens(tokens: &[TokenConfig]) -> Result<Vec<Token>, AuthError> {
    let load = |token: &TokenConfig| load_token(&token.name, token.role, &token.file);
    let tokens: Vec<_> = tokens.iter().map(load).collect::<Result<_, _>>()?;
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

/// The ids and secrets of the keys that tickets are signed with.
pub(super) fn load_keys(config: &Config, data: &Path) -> Result<Vec<(String, String)>, AuthError> {
    if config.ticket_keys.is_empty() {
        let path = data.join("ticket.key");
        secret::read_or_create(&path, || secret::random_text(48))?;
        return Ok(vec![("own".to_owned(), long_enough("ticket_keys", &path, KEY_MIN)?)]);
    }
    config.ticket_keys.iter().map(load_key).collect()
}

fn load_key(key: &KeyConfig) -> Result<(String, String), AuthError> {
    Ok((key.id.clone(), long_enough("ticket_keys", &key.file, KEY_MIN)?))
}

fn long_enough(table: &'static str, path: &Path, least: usize) -> Result<String, AuthError> {
    let text = secret::read(path)?;
    match text.len() < least {
        true => Err(AuthError::Short { table, path: path.to_owned(), found: text.len(), least }),
        false => Ok(text),
    }
}
