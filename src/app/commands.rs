//! The commands that need the gateway's own modules: `serve` and the checks.

use std::fmt::Display;
use std::process::ExitCode;

use super::{App, Config, Overrides};
use crate::cli::{ConfigCheck, PluginCheck, PluginKind, Serve};
use crate::drain::Drained;
use crate::plugin::{self, Kind};
use crate::telemetry;

/// Runs a gateway until it is told to stop.
pub async fn serve(arguments: Serve) -> ExitCode {
    if let Err(fault) = telemetry::start(None, "info") {
        return fail(&fault);
    }
    let overrides =
        Overrides { site: arguments.site, data: arguments.data, listen: arguments.listen, admin: arguments.admin };
    let config = match Config::load(arguments.config.as_deref(), &overrides) {
        Ok(config) => config,
        Err(fault) => return fail(&fault),
    };
    let app = match App::build(config).await {
        Ok(app) => app,
        Err(fault) => return fail(&fault),
    };
    println!("{}", app.greeting());
    match app.serve().await {
        Drained::Whole => ExitCode::SUCCESS,
        Drained::Cut(transfers) => {
            tracing::warn!(transfers, "the drain timeout came first; the senders can send again");
            ExitCode::SUCCESS
        }
        Drained::Stuck(tasks) => {
            tracing::error!(tasks, "tasks did not end after the drain timeout");
            ExitCode::FAILURE
        }
    }
}

/// Says whether a gateway would start with this configuration file.
#[must_use]
pub fn check_config(arguments: &ConfigCheck) -> ExitCode {
    match Config::load(Some(&arguments.file), &Overrides::default()) {
        Ok(_) => {
            println!("{} is valid", arguments.file.display());
            ExitCode::SUCCESS
        }
        Err(fault) => fail(&fault),
    }
}

/// Says whether a gateway would load this component.
pub async fn check_plugin(arguments: PluginCheck, json: bool) -> ExitCode {
    let settings = match arguments.settings.as_deref().map(read_settings).transpose() {
        Ok(settings) => settings.unwrap_or_default(),
        Err(fault) => return fail(&fault),
    };
    let kind = arguments.kind.map(|kind| match kind {
        PluginKind::Writer => Kind::Writer,
        PluginKind::Policy => Kind::Policy,
        PluginKind::Resolver => Kind::Resolver,
    });
    let report = plugin::check::check(&arguments.file, kind, settings).await;
    match json.then(|| serde_json::to_string(&report)) {
        Some(Ok(text)) => println!("{text}"),
        Some(Err(fault)) => return fail(&fault),
        None => println!("{report}"),
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_settings(path: &std::path::Path) -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(path).map_err(|fault| format!("could not read {}: {fault}", path.display()))?;
    text.parse().map_err(|fault| format!("{} is not TOML: {fault}", path.display()))
}

fn fail(fault: &dyn Display) -> ExitCode {
    eprintln!("rsnap: {fault}");
    ExitCode::FAILURE
}
