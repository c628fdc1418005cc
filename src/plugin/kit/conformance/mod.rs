//! Whether a plugin keeps the contract: the rules of its world, each tried out.
//!
//! The rules are those of the comments in `wit/`, as far as a plugin can break them: what the host forbids by itself (a
//! second image, another's volume) needs no rule, but shows here as the words with which the host ends the plugin. For
//! each rule there is a fixture that breaks it, so that no rule is one in name only.

mod policy;
mod resolver;
mod settings;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;

use futures_util::future::BoxFuture;
use serde::Serialize;

pub(super) use policy::requests;

use super::{Options, Problem};
use crate::id::SiteName;
use crate::plugin::Kind;

/// Tries out one rule on a subject.
type Check<S> = for<'a> fn(&'a S) -> BoxFuture<'a, Result<(), Stop>>;

/// A rule that plugins of one kind keep.
struct Rule<S> {
    /// Short and stable: scripts and fixtures refer to it.
    name: &'static str,
    /// What a plugin does that keeps it.
    about: &'static str,
    check: Check<S>,
}

/// Why the try of a rule ended early.
#[derive(Debug)]
enum Stop {
    Broken(String),
    Skipped(String),
}

fn broken<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Broken(text.into()))
}

impl From<crate::plugin::PluginError> for Stop {
    fn from(error: crate::plugin::PluginError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// How it went with one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub rule: &'static str,
    /// What a plugin does that keeps it.
    pub about: &'static str,
    pub outcome: Outcome,
    /// What the plugin did, or why it was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Kept,
    Broken,
    Skipped,
}

/// How it went with all rules.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    pub file: String,
    pub kind: Kind,
    pub verdicts: Vec<Verdict>,
}

impl Findings {
    /// The names of the rules that are broken.
    pub fn broken(&self) -> impl Iterator<Item = &'static str> {
        self.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Broken).map(|verdict| verdict.rule)
    }

    /// Whether no rule is broken.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.broken().next().is_none()
    }
}

/// Tries all rules on the component at `path`. `sites` are sites that a resolver must know. The stores of `options` are
/// those that a writer may use; they are filled.
pub async fn test(path: &Path, options: &Options, sites: &[SiteName]) -> Result<Findings, Problem> {
    let kind = super::trial::kind(path)?;
    let verdicts = match kind {
        Kind::Policy => try_all(&policy::RULES, &policy::Subject::load(path, options).await?).await,
        Kind::Resolver => try_all(&resolver::RULES, &resolver::Subject::load(path, options, sites).await?).await,
        Kind::Writer => try_all(&writer::RULES, &writer::Subject::load(path, options).await?).await,
    };
    Ok(Findings { file: path.display().to_string(), kind, verdicts })
}

async fn try_all<S>(rules: &[Rule<S>], subject: &S) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(rules.len());
    for Rule { name, about, check } in rules {
        let (outcome, detail) = match check(subject).await {
            Ok(()) => (Outcome::Kept, None),
            Err(Stop::Broken(detail)) => (Outcome::Broken, Some(detail)),
            Err(Stop::Skipped(why)) => (Outcome::Skipped, Some(why)),
        };
        verdicts.push(Verdict { rule: name, about, outcome, detail });
    }
    verdicts
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.outcome {
            Outcome::Kept => "ok",
            Outcome::Broken => "NO",
            Outcome::Skipped => "--",
        };
        write!(formatter, "{sign}  {:<22} {}", self.rule, self.about)?;
        match &self.detail {
            Some(detail) => write!(formatter, "\n    {:<22} {detail}", ""),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} {}", self.kind, self.file)?;
        for verdict in &self.verdicts {
            writeln!(formatter, "{verdict}")?;
        }
        match (self.broken().count(), self.verdicts.len()) {
            (0, rules) => write!(formatter, "good: {rules} rules, none broken"),
            (broken, rules) => write!(formatter, "bad: {broken} of {rules} rules broken"),
        }
    }
}
