//! Why a command about plugins did not do what it was asked.

use crate::cli::exit::Exit;
use crate::client::ClientError;
use crate::plugin::PluginError;
use crate::plugin::kit::Problem;
use crate::transfer::TransferError;

/// What happened, what to do about it, and with which code to end.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) exit: Exit,
    pub(super) text: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn failed(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, text: text.into(), remedy: remedy.into() }
    }

    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into(), remedy: "`--help` describes each option.".to_owned() }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let Problem { fault, remedy } = problem;
        Self::failed(fault, format!("{}.", capitalised(&remedy)))
    }
}

/// A remedy is the rest of a sentence elsewhere.
fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        Self { exit: Exit::of(&error), text: error.to_string(), remedy: error.remedy().to_owned() }
    }
}

impl From<PluginError> for Fault {
    fn from(error: PluginError) -> Self {
        let exit = if matches!(error, PluginError::Refused { .. }) { Exit::Refused } else { Exit::Failed };
        let remedy = match error {
            PluginError::Failed { .. } => "Correct the plugin; `rsnap plugin test` tells which rules it breaks.",
            PluginError::Refused { .. } => "It is the plugin's answer to this question and these settings.",
            PluginError::Unavailable { .. } => "Try again later.",
            PluginError::Image(_) => "Check the folder given with --into.",
        };
        Self { exit, text: error.to_string(), remedy: remedy.to_owned() }
    }
}

impl From<TransferError> for Fault {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Plugin(error) => error.into(),
            TransferError::Malformed(_) | TransferError::Length { .. } => {
                let remedy = "Check --format and the stream.".to_owned();
                Self { exit: Exit::Integrity, text: error.to_string(), remedy }
            }
            other => Self::failed(other.to_string(), "Check the stream, --size, --base and --into."),
        }
    }
}
