//! What the host shows to others for a guest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::grant::{Credential, HostGrant};
use crate::keystone::Keystone;
use crate::secret;

/// `X-Auth-Token`.
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// A credential, ready to be shown.
#[derive(Debug)]
pub(super) enum Secret {
    File(Credential),
    Keystone(Box<Keystone>),
}

impl Secret {
    /// Reads the file, to say at the start what is wrong with it.
    pub(super) fn new(grant: &HostGrant, credential: &Credential) -> Result<Self, String> {
        if let Credential::Keystone { url, account } = credential {
            secret::read(account.file()).map_err(|error| error.to_string())?;
            let keystone = Keystone::new(&grant.keystone(url, account)).map_err(|error| error.to_string())?;
            return Ok(Self::Keystone(Box::new(keystone)));
        }
        read(credential)?;
        Ok(Self::File(credential.clone()))
    }

    /// The header that shows it.
    pub(super) async fn show(&self) -> Result<(HeaderName, HeaderValue), String> {
        match self {
            Self::Keystone(keystone) => {
                let token = keystone.token().await.map_err(|failure| failure.to_string())?;
                Ok((AUTH_TOKEN, token))
            }
            Self::File(credential) => {
                let credential = credential.clone();
                let read = tokio::task::spawn_blocking(move || read(&credential)).await;
                read.map_err(|error| error.to_string())?
            }
        }
    }

    /// What was shown is not taken any more.
    pub(super) async fn forget(&self, shown: &HeaderValue) {
        if let Self::Keystone(keystone) = self {
            keystone.forget(shown).await;
        }
    }
}

/// The header that shows what is in a file.
fn read(credential: &Credential) -> Result<(HeaderName, HeaderValue), String> {
    let read = |file| secret::read(file).map_err(|error| error.to_string());
    let (name, text, file) = match credential {
        Credential::Bearer { file } => (AUTHORIZATION, format!("Bearer {}", read(file)?), file),
        Credential::Basic { file } => (AUTHORIZATION, format!("Basic {}", STANDARD.encode(read(file)?)), file),
        Credential::Header { name, file } => (name.parse().map_err(|_| "no header".to_owned())?, read(file)?, file),
        Credential::Keystone { .. } => return Err("no file holds a token of Keystone".to_owned()),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| format!("{} does not fit a header", file.display()))?;
    value.set_sensitive(true);
    Ok((name, value))
}
