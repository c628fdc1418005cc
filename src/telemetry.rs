//! Where log lines go and what they look like.
//!
//! A person at a terminal reads text; a collector reads JSON, one object a line, with the fields of the spans around
//! it (`volume`, `snapshot`, `request`). Both go to standard error: standard output belongs to commands that print
//! results. What is logged is chosen with `RSNAP_LOG` in the syntax of `tracing-subscriber`'s filter.

use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The environment variable that holds the filter.
pub const FILTER: &str = "RSNAP_LOG";
/// The environment variable that holds the format.
pub const FORMAT: &str = "RSNAP_LOG_FORMAT";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: text, in colour on a terminal.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("{0:?} is not a log format: write \"text\" or \"json\"")]
    Format(String),
    #[error("{FILTER} is not a filter such as \"info\" or \"rsnap::net=debug\": {0}")]
    Filter(String),
    #[error("could not start the log: {0}")]
    Taken(String),
}

impl FromStr for Format {
    type Err = TelemetryError;
    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(TelemetryError::Format(text.to_owned())),
        }
    }
}

/// Starts the log: in `format` if the command line gave one, else as `RSNAP_LOG_FORMAT` says, else as text. Without
/// a filter in `RSNAP_LOG`, everything from `level` (such as `info`) upwards is written.
pub fn start(format: Option<Format>, level: &str) -> Result<(), TelemetryError> {
    let format = match (format, std::env::var(FORMAT)) {
        (Some(format), _) => format,
        (None, Ok(text)) => text.parse()?,
        (None, Err(_)) => Format::default(),
    };
    let filter = filter(std::env::var(FILTER).ok().as_deref().unwrap_or(level))?;
    let lines = fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let started = match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| TelemetryError::Taken(error.to_string()))
}

fn filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(text).map_err(|error| TelemetryError::Filter(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_filters_are_checked() {
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        assert!("xml".parse::<Format>().is_err());
        assert!(filter("info,rsnap::net=debug").is_ok());
        assert!(filter("rsnap=loud").is_err());
    }
}
