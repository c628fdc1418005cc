//! The commands that need the whole gateway: `serve` and the check of its configuration.

use std::fmt::Display;
use std::process::ExitCode;

use super::{App, Config, Overrides};
use crate::cli::{ConfigCheck, Serve};
use crate::drain::Drained;
use crate::telemetry::{self, Format};

/// Runs a gateway until it is told to stop. With `json` its log is for programs, and nobody is greeted.
pub async fn serve(arguments: Serve, json: bool) -> ExitCode {
    if let Err(fault) = telemetry::start(json.then_some(Format::Json), "info") {
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
        Err(fault) => return fail(&format!("{fault}{}", fault.remedy())),
    };
    if !json {
        println!("{}", app.greeting());
    }
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

/// Says what is wrong with a configuration file. What it points to (certificates, tokens, plugins) is not opened: it
/// may be on another machine.
#[must_use]
pub fn check_config(arguments: &ConfigCheck, json: bool) -> ExitCode {
    let fault = Config::load(Some(&arguments.file), &Overrides::default()).err();
    if json {
        let fault = fault.as_ref().map(ToString::to_string);
        println!("{}", serde_json::json!({"file": arguments.file, "problem": fault}));
    }
    match fault {
        Some(_) if json => ExitCode::FAILURE,
        Some(fault) => fail(&fault),
        None => {
            if !json {
                let file = arguments.file.display();
                println!("{file} is valid; the files that it names are opened when the gateway starts");
            }
            ExitCode::SUCCESS
        }
    }
}

fn fail(fault: &dyn Display) -> ExitCode {
    eprintln!("rsnap: {fault}");
    ExitCode::FAILURE
}
