//! The commands that need the gateway's configuration: `serve`, the check of it, and what is done to its stores.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;

use super::check::{self, Finding};
use super::{App, Config, Origin, Overrides, stores};
use crate::cli::{ConfigCheck, Serve, StoreSweep};
use crate::drain::Drained;
use crate::metrics::Metrics;
use crate::telemetry::{self, Format};

/// Runs a gateway until it is told to stop. With `json` its log is for programs, and nobody is greeted.
pub async fn serve(arguments: Serve, json: bool) -> ExitCode {
    if let Err(fault) = telemetry::start(json.then_some(Format::Json), "info") {
        return fail(&fault);
    }
    let overrides =
        Overrides { site: arguments.site, data: arguments.data, listen: arguments.listen, admin: arguments.admin };
    let origin = Origin { file: arguments.config, overrides };
    let config = match origin.load() {
        Ok(config) => config,
        Err(fault) => return fail(&fault),
    };
    let app = match App::build(config, origin).await {
        Ok(app) => app,
        Err(fault) => return fail(&format!("{fault}{}", fault.remedy())),
    };
    if !json {
        println!("{}", app.greeting());
    }
    match app.serve().await {
        Drained::Whole => ExitCode::SUCCESS,
        Drained::Cut(tasks) => {
            tracing::warn!(tasks, "the drain timeout came first; the senders were told to send again elsewhere");
            ExitCode::SUCCESS
        }
        Drained::Stuck(tasks) => {
            tracing::error!(tasks, "tasks did not end after the drain timeout");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with a configuration file, and with each file that it names.
pub async fn check_config(arguments: &ConfigCheck, json: bool) -> ExitCode {
    let file = &arguments.file;
    let (fault, findings) = match Config::load(Some(file), &Overrides::default()) {
        Err(fault) => (Some(fault.to_string()), Vec::new()),
        Ok(_) if arguments.text_only => (None, Vec::new()),
        Ok(config) => (None, check::findings(&config).await),
    };
    let is_good = fault.is_none() && findings.iter().all(Finding::is_good);
    if json {
        println!("{}", serde_json::json!({"file": file, "problem": fault, "checked": findings}));
    } else {
        findings.iter().for_each(|finding| println!("{finding}"));
        match fault {
            Some(fault) => return fail(&fault),
            None if !is_good => return fail(&format!("{} names what a gateway cannot start with", file.display())),
            None if arguments.text_only => println!("{} is valid; no file that it names was opened", file.display()),
            None => println!("{} is valid, and so is what it names", file.display()),
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sweeps the stores of a configuration, each as far as it can be swept.
pub async fn sweep(arguments: &StoreSweep, json: bool) -> ExitCode {
    let mut config = match Config::load(Some(&arguments.file), &Overrides::default()) {
        Ok(config) => config,
        Err(fault) => return fail(&fault),
    };
    if let Some(wanted) = &arguments.store {
        config.stores.retain(|name, _| name == wanted);
        if config.stores.is_empty() {
            return fail(&format!("{} has no store {wanted}", arguments.file.display()));
        }
    }
    let stores = match stores::open(&config.stores, &Arc::new(Metrics::new())).await {
        Ok(stores) => stores,
        Err(fault) => return fail(&format!("{fault}{}", fault.remedy())),
    };
    let mut code = ExitCode::SUCCESS;
    for (name, store) in stores {
        match store.sweep().await {
            Ok(removed) if json => println!("{}", serde_json::json!({"store": name, "removed": removed})),
            Ok(removed) => println!("{name}: removed {removed} objects that nothing needs any more"),
            Err(fault) => code = fail(&format!("store {name}: {fault}")),
        }
    }
    code
}

fn fail(fault: &dyn Display) -> ExitCode {
    eprintln!("rsnap: {fault}");
    ExitCode::FAILURE
}
