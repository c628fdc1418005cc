//! What the user sees: answers on standard output, progress and errors on standard error, or all of it as JSON.

mod bar;
mod lines;
mod objects;
mod pace;
mod text;
mod verify;

pub(super) use text::table;

use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::json;

use crate::api::{ChainAnswer, PlanAnswer, ServersAnswer, SiteAnswer};
use crate::client::repair::Repaired;
use crate::client::restore::Restored;
use crate::client::verify::{Checked, Comparison};
use crate::client::{Chains, ClientError, Event, Outcome, Reporter};

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Answers,
    /// Standard error: where standard output carries a snapshot.
    Errors,
}

/// A listener that must be told when there is nothing more to tell.
pub(super) trait Progress: Reporter {
    fn end(&self);
}

/// Listens to nothing.
struct Silent;

impl Reporter for Silent {
    fn tell(&self, _event: &Event) {}
}

impl Progress for Silent {
    fn end(&self) {}
}

/// For people or for programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Who listens to an operation; objects go to `stream`, the rest always to standard error.
    pub(super) fn reporter(&self, stream: Stream) -> Box<dyn Progress> {
        match (self.json, std::io::stderr().is_terminal()) {
            (true, _) => Box::new(objects::Objects::new(stream)),
            (false, true) => Box::new(bar::Bar::default()),
            (false, false) => Box::new(lines::Lines::default()),
        }
    }

    /// For commands whose answer says all: programs are told nothing on the way.
    pub(super) fn quiet_reporter(&self) -> Box<dyn Progress> {
        if self.json { Box::new(Silent) } else { self.reporter(Stream::Errors) }
    }

    /// What happened and what to do, in one paragraph on standard error.
    pub(super) fn error(&self, error: &ClientError) {
        let line = if self.json { error_object(error) } else { text::error(error) };
        // When standard error is gone there is nobody left to tell.
        drop(writeln!(std::io::stderr().lock(), "{line}"));
    }

    /// As [`Output::error`], for what is not between us and a gateway.
    pub(super) fn fault(&self, fault: &str, remedy: &str) {
        let line = match self.json {
            true => json!({"event": "error", "error": fault, "remedy": remedy}).to_string(),
            false => text::fault(fault, remedy),
        };
        drop(writeln!(std::io::stderr().lock(), "{line}"));
    }

    /// An answer that is shown in words or as an object.
    pub(super) fn show(&self, answer: &(impl Serialize + std::fmt::Display)) -> Result<(), ClientError> {
        self.answer(answer, ToString::to_string)
    }

    /// Text that is one for people and programs.
    pub(super) fn text(&self, text: &str) -> Result<(), ClientError> {
        write(Stream::Answers, text.trim_end())
    }

    pub(super) fn outcome(&self, outcome: &Outcome) -> Result<(), ClientError> {
        self.say(Stream::Answers, || event("done", outcome), || text::outcome(outcome))
    }

    pub(super) fn restored(&self, restored: &Restored, into: &str, stream: Stream) -> Result<(), ClientError> {
        self.say(stream, || event("done", restored), || text::restored(restored, into))
    }

    pub(super) fn comparison(&self, comparison: &Comparison) -> Result<(), ClientError> {
        self.say(Stream::Answers, || event("compared", comparison), || verify::comparison(comparison))
    }

    pub(super) fn repaired(&self, repaired: &Repaired) -> Result<(), ClientError> {
        self.say(Stream::Answers, || event("repaired", repaired), || verify::repaired(repaired))
    }

    pub(super) fn checked(&self, checked: &Checked) -> Result<(), ClientError> {
        self.say(Stream::Answers, || event("checked", checked), || verify::checked(checked))
    }

    pub(super) fn plan(&self, plan: &PlanAnswer) -> Result<(), ClientError> {
        self.answer(plan, text::plan)
    }

    pub(super) fn chain(&self, chain: &ChainAnswer) -> Result<(), ClientError> {
        self.answer(chain, text::chain)
    }

    pub(super) fn chains(&self, chains: &Chains) -> Result<(), ClientError> {
        self.answer(chains, text::chains)
    }

    pub(super) fn site(&self, site: &SiteAnswer) -> Result<(), ClientError> {
        self.answer(site, text::site)
    }

    pub(super) fn servers(&self, servers: &ServersAnswer) -> Result<(), ClientError> {
        self.answer(servers, text::servers)
    }

    pub(super) fn deleted(&self, volume: &str, snapshot: &str) -> Result<(), ClientError> {
        let object = || json!({"event": "done", "deleted": snapshot, "volume": volume}).to_string();
        self.say(Stream::Answers, object, || format!("deleted snapshot {snapshot} of volume {volume}"))
    }

    pub(super) fn cancelled(&self, volume: &str, snapshot: &str) -> Result<(), ClientError> {
        let object = || json!({"event": "done", "cancelled": snapshot, "volume": volume}).to_string();
        let text = || format!("gave up the unfinished transfer of snapshot {snapshot} of volume {volume}");
        self.say(Stream::Answers, object, text)
    }

    pub(super) fn answer<T: Serialize>(&self, answer: &T, text: impl FnOnce(&T) -> String) -> Result<(), ClientError> {
        self.say(Stream::Answers, || serde_json::to_string(answer).unwrap_or_default(), || text(answer))
    }

    fn say(
        &self,
        stream: Stream,
        object: impl FnOnce() -> String,
        text: impl FnOnce() -> String,
    ) -> Result<(), ClientError> {
        write(stream, &if self.json { object() } else { text() })
    }
}

fn write(stream: Stream, line: &str) -> Result<(), ClientError> {
    match stream {
        Stream::Answers => writeln!(std::io::stdout().lock(), "{line}"),
        Stream::Errors => writeln!(std::io::stderr().lock(), "{line}"),
    }
    .map_err(ClientError::local("write to", "the terminal or pipe"))
}

/// `value` as an event of this name.
fn event(name: &str, value: &impl Serialize) -> String {
    let mut object = serde_json::to_value(value).unwrap_or_default();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("event".to_owned(), name.into());
    }
    object.to_string()
}

fn error_object(error: &ClientError) -> String {
    let problem = match error {
        ClientError::Refused { problem, .. } => serde_json::to_value(problem).ok(),
        _ => None,
    };
    json!({"event": "error", "error": error.to_string(), "remedy": error.remedy(), "problem": problem}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_happened_and_what_to_do() {
        let problem = crate::api::Problem {
            kind: "urn:rsnap:problem:exists".into(),
            title: "t".into(),
            status: 409,
            detail: "d".into(),
            transfer: None,
            provided_offset: None,
            expected_offset: None,
        };
        let error = ClientError::Refused { problem: Box::new(problem), retry_after: None };
        let object: serde_json::Value = serde_json::from_str(&error_object(&error)).unwrap();
        assert_eq!((&object["event"], &object["problem"]["status"]), (&"error".into(), &409.into()));
        assert!(object["remedy"].as_str().unwrap().contains("rsnap chain"));
    }

    #[test]
    fn a_result_is_an_event() {
        let (volume, reason) = ("v".to_owned(), "r".to_owned());
        let line = event("done", &Outcome::Present { volume, snapshots: vec!["s".to_owned()], reason });
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&object["event"], &object["outcome"]), (&"done".into(), &"present".into()));
    }
}
