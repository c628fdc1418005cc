//! From the arguments to a gateway that can be asked.

use std::path::Path;

use super::args::{ConnectArgs, LimitArgs};
use crate::client::{ClientError, Endpoint, Gateway, Limits, Rate, Trust};

/// The gateway that the arguments and the environment name.
pub(super) fn gateway(args: &ConnectArgs) -> Result<Gateway, ClientError> {
    if args.gateway.is_empty() {
        return Err(ClientError::Usage("no gateway: give --gateway URL, or set RSNAP_GATEWAY".to_owned()));
    }
    let endpoints = args.gateway.iter().map(|url| Endpoint::parse(url)).collect::<Result<_, _>>()?;
    let trust = args.ca.as_deref().map_or_else(Trust::system, Trust::file)?;
    Gateway::any_of(endpoints, trust, &token(args)?, Limits::default())
}

/// The same, as fast as the arguments allow. On the runtime, which follows the file of the limit.
pub(super) fn limited(gateway: Gateway, args: &LimitArgs) -> Result<Gateway, ClientError> {
    let rate = match (args.limit, &args.limit_file) {
        (Some(limit), _) => Rate::fixed(limit)?,
        (None, Some(file)) => Rate::file(file)?,
        (None, None) => return Ok(gateway),
    };
    Ok(gateway.limited(rate))
}

/// Arguments come before the environment, the token itself before a file with it.
fn token(args: &ConnectArgs) -> Result<String, ClientError> {
    let environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(token) = &args.token {
        return Ok(token.clone());
    }
    if let Some(file) = &args.token_file {
        return read(file);
    }
    if let Some(token) = environment("RSNAP_TOKEN") {
        return Ok(token);
    }
    match environment("RSNAP_TOKEN_FILE") {
        Some(file) => read(Path::new(&file)),
        None => Err(ClientError::Usage(
            "no token: give --token-file FILE, or set RSNAP_TOKEN or RSNAP_TOKEN_FILE".to_owned(),
        )),
    }
}

fn read(file: &Path) -> Result<String, ClientError> {
    let text = std::fs::read_to_string(file).map_err(ClientError::local("read", file.display().to_string()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(ClientError::Usage(format!("there is no token in {}", file.display())));
    }
    Ok(token.to_owned())
}
