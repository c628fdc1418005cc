//! `rsnap plugin reload`: has a running gateway read its plugins again, by its admin listener.

use std::time::Duration;

use http::{Method, StatusCode};

use super::admin::Admin;
use super::fault::Fault;
use crate::api::Reread;
use crate::cli::args::PluginAdmin;
use crate::cli::exit::Exit;
use crate::cli::output::Output;

/// Plugins of some languages compile for many seconds.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn reload(args: &PluginAdmin, output: &Output) -> Result<Exit, Fault> {
    let statuses = [StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY];
    let reread: Vec<Reread> = Admin::new(&args.admin).ask(Method::POST, "/reload", &statuses, PATIENCE).await?;
    output.answer(&reread, |reread| words(reread))?;
    Ok(if reread.iter().any(|part| part.fault.is_some()) { Exit::Failed } else { Exit::Success })
}

fn words(reread: &[Reread]) -> String {
    let line = |part: &Reread| match &part.fault {
        None => format!("{}: {}", part.subject, part.taken.join(", ")),
        Some(fault) => format!("{}: what was there stays in use: {fault}", part.subject),
    };
    reread.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_what_stays_is_told_line_by_line() {
        let taken = Reread { subject: "secrets".into(), taken: vec!["tokens".into(), "keys".into()], fault: None };
        let left = Reread { subject: "plugins".into(), taken: vec![], fault: Some("it does not fit".into()) };
        let expected = "secrets: tokens, keys\nplugins: what was there stays in use: it does not fit";
        assert_eq!(words(&[taken, left]), expected);
    }
}
