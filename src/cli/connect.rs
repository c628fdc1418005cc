//! From the arguments to a gateway that can be asked.

use std::path::Path;

use super::args::{ConnectArgs, LimitArgs, SendArgs};
use crate::api::ServerAnswer;
use crate::client::{ClientError, Endpoint, Gateway, Limits, Rate, Trust};

/// The gateway that the arguments and the environment name.
pub(super) fn gateway(args: &ConnectArgs) -> Result<Gateway, ClientError> {
    if args.gateway.is_empty() {
        return Err(ClientError::Usage("no gateway: give --gateway URL, or set RSNAP_GATEWAY".to_owned()));
    }
    let token = match token(args)? {
        Some(token) => Some(token),
        None => token_of_environment()?,
    };
    connected(args, token)
}

/// The gateway of another site, to which the environment's token is not shown: it is for the gateway here.
pub(super) fn other_gateway(args: &ConnectArgs) -> Result<Gateway, ClientError> {
    connected(args, token(args)?)
}

fn connected(args: &ConnectArgs, token: Option<String>) -> Result<Gateway, ClientError> {
    if token.is_none() && args.client_certificate.is_none() {
        let text = "no token: give --token-file FILE, or set RSNAP_TOKEN or RSNAP_TOKEN_FILE; or show a certificate with \
                    --client-certificate";
        return Err(ClientError::Usage(text.to_owned()));
    }
    let endpoints = args.gateway.iter().map(|url| Endpoint::parse(url)).collect::<Result<_, _>>()?;
    Gateway::any_of(endpoints, trust(args)?, token.as_deref(), Limits::default())
}

/// The gateway to send to: the one that was granted, or the one that the arguments and the environment name.
pub(super) fn target(args: &SendArgs) -> Result<Gateway, ClientError> {
    let Some(file) = &args.answer else { return gateway(&args.connect) };
    let text = read(file, "answer")?;
    let answer: ServerAnswer = serde_json::from_str(&text)
        .map_err(|fault| ClientError::Usage(format!("{} is no answer of GET /server: {fault}", file.display())))?;
    if answer.ticket.is_none() {
        let hint = "ask with volume, snapshot and size";
        return Err(ClientError::Usage(format!("the answer in {} has no ticket: {hint}", file.display())));
    }
    Gateway::granted(&answer, trust(&args.connect)?, Limits::default())
}

fn trust(args: &ConnectArgs) -> Result<Trust, ClientError> {
    let trust = args.ca.as_deref().map_or_else(Trust::system, Trust::file)?;
    match (&args.client_certificate, &args.client_key) {
        (Some(certificate), Some(key)) => trust.showing(certificate, key),
        _ => Ok(trust),
    }
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

/// The token itself comes before a file with it.
fn token(args: &ConnectArgs) -> Result<Option<String>, ClientError> {
    match (&args.token, &args.token_file) {
        (Some(token), _) => Ok(Some(token.clone())),
        (None, Some(file)) => read(file, "token").map(Some),
        (None, None) => Ok(None),
    }
}

fn token_of_environment() -> Result<Option<String>, ClientError> {
    let environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (environment("RSNAP_TOKEN"), environment("RSNAP_TOKEN_FILE")) {
        (Some(token), _) => Ok(Some(token)),
        (None, Some(file)) => read(Path::new(&file), "token").map(Some),
        (None, None) => Ok(None),
    }
}

fn read(file: &Path, what: &str) -> Result<String, ClientError> {
    let text = std::fs::read_to_string(file).map_err(ClientError::local("read", file.display().to_string()))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(ClientError::Usage(format!("there is no {what} in {}", file.display())));
    }
    Ok(text.to_owned())
}
