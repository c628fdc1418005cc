//! The rules for chain policies.

pub(in crate::plugin::kit) mod requests;

use std::path::{Path, PathBuf};

use futures_util::FutureExt;

use self::requests::Case;
use super::{Rule, Stop, broken, settings};
use crate::plugin::bindings::policy::ChainPolicy;
use crate::plugin::bindings::policy::exports::rsnap::plugin::policy as wit;
use crate::plugin::call::Guest;
use crate::plugin::kit::trial::load_guest;
use crate::plugin::kit::{Options, Problem};
use crate::plugin::question::Question;
use crate::plugin::text::TEXT_MAX;
use crate::plugin::{PluginError, PolicyRequest, SourceSnapshot, TargetSnapshot};

/// Snapshots in each of two long chains.
const LONG: usize = 10_000;

/// A policy that is tried out.
pub(super) struct Subject {
    guest: Guest<ChainPolicy>,
    path: PathBuf,
    options: Options,
}

/// What a policy answers, before the host has looked at it.
type Answer = Result<wit::Plan, String>;

pub(super) const RULES: [Rule<Subject>; 8] = [
    Rule { name: settings::NAME, about: settings::ABOUT, check: |subject| subject.settings().boxed() },
    Rule {
        name: "answers",
        about: "answers every request; no is an answer, a trap is none",
        check: |subject| subject.answers().boxed(),
    },
    Rule {
        name: "repeats",
        about: "gives the same answer to the same request, whatever it was asked before",
        check: |subject| subject.repeats().boxed(),
    },
    Rule {
        name: "base-on-target",
        about: "proposes a base by its id in the target's chain",
        check: |subject| subject.each_plan(base_on_target).boxed(),
    },
    Rule {
        name: "base-same-content",
        about: "proposes a base with the content of a snapshot that comes before the wanted one at the source",
        check: |subject| subject.each_plan(base_same_content).boxed(),
    },
    Rule {
        name: "present-is-there",
        about: "says present only of a snapshot that is on the target with the wanted content",
        check: |subject| subject.each_plan(present_is_there).boxed(),
    },
    Rule {
        name: "reason",
        about: "gives a reason in words: not empty, at most 4096 bytes, no control characters of its own",
        check: |subject| subject.reason().boxed(),
    },
    Rule {
        name: "long-chains",
        about: "decides over two chains of 10,000 snapshots within its limits",
        check: |subject| subject.long_chains().boxed(),
    },
];

impl Subject {
    pub(super) async fn load(path: &Path, options: &Options) -> Result<Self, Problem> {
        let (guest, _) = load_guest(path, options.clone()).await?;
        Ok(Self { guest, path: path.to_owned(), options: options.clone() })
    }

    async fn settings(&self) -> Result<(), Stop> {
        settings::check(&self.path, &self.options).await
    }

    /// The answers of one instance to requests that come one after the other.
    async fn ask(&self, requests: Vec<PolicyRequest>) -> Result<Vec<Answer>, PluginError> {
        let requests: Vec<_> = requests.iter().map(Question::of).collect();
        let asked = self.guest.start(move |instance| {
            Box::pin(async move {
                let mut answers = Vec::with_capacity(requests.len());
                for question in requests {
                    answers.push(question.ask(instance).await?);
                }
                Ok(answers)
            })
        });
        Ok(asked.await?.1)
    }

    /// The answer of a fresh instance.
    async fn ask_one(&self, case: &Case) -> Result<Answer, Stop> {
        match self.ask(vec![case.request.clone()]).await {
            Ok(answers) => answers.into_iter().next().ok_or_else(|| Stop::Broken("it does not answer".to_owned())),
            Err(error) => broken(format!("asked for {}: {error}", case.about)),
        }
    }

    async fn answers(&self) -> Result<(), Stop> {
        for case in requests::all() {
            drop(self.ask_one(&case).await?);
        }
        Ok(())
    }

    async fn repeats(&self) -> Result<(), Stop> {
        let cases = requests::all();
        for (case, other) in cases.iter().zip(cases.iter().cycle().skip(1)) {
            let first = self.ask_one(case).await?;
            let three = [&case.request, &other.request, &case.request].map(Clone::clone);
            let again = self.ask(three.to_vec()).await?;
            let same = |answer: &Answer| format!("{answer:?}") == format!("{first:?}");
            if !again.first().is_some_and(same) {
                return broken(format!("another instance answers differently when asked for {}", case.about));
            }
            if !again.last().is_some_and(same) {
                return broken(format!("it answers differently when asked again for {}", case.about));
            }
        }
        Ok(())
    }

    async fn each_plan(&self, fault: fn(&PolicyRequest, &wit::Decision) -> Option<String>) -> Result<(), Stop> {
        for case in requests::all() {
            if let Ok(plan) = self.ask_one(&case).await?
                && let Some(fault) = fault(&case.request, &plan.decision)
            {
                return broken(format!("asked for {}: {fault}", case.about));
            }
        }
        Ok(())
    }

    async fn reason(&self) -> Result<(), Stop> {
        for case in requests::all() {
            let text = self.ask_one(&case).await?.map_or_else(|error| error, |plan| plan.reason);
            let fault = if text.trim().is_empty() {
                "the reason is empty".to_owned()
            } else if text.len() > TEXT_MAX {
                format!("the reason has {} bytes", text.len())
            } else if text.chars().any(char::is_control) && !case.has_control_characters() {
                format!("the reason has control characters: {text:?}")
            } else {
                continue;
            };
            return broken(format!("asked for {}: {fault}", case.about));
        }
        Ok(())
    }

    async fn long_chains(&self) -> Result<(), Stop> {
        let case = requests::long(LONG).ok_or_else(|| Stop::Skipped("there is no such request".to_owned()))?;
        self.ask_one(&case).await.map(drop)
    }
}

fn base_on_target(request: &PolicyRequest, decision: &wit::Decision) -> Option<String> {
    let wit::Decision::Incremental(base) = decision else { return None };
    let there = request.target.iter().any(|target| target.id.as_str() == base);
    (!there).then(|| format!("it proposes the base {base:?}, which is not on the target"))
}

fn base_same_content(request: &PolicyRequest, decision: &wit::Decision) -> Option<String> {
    let wit::Decision::Incremental(base) = decision else { return None };
    let base = request.target.iter().find(|target| target.id.as_str() == base)?;
    let earlier = || request.source.iter().take_while(|snapshot| snapshot.id != request.wanted.id);
    let same = |target| earlier().any(|snapshot| same_content(request, snapshot, target));
    // Where there is no common one, any base of the target may be taken for a rebase.
    (!same(base) && request.target.iter().any(same)).then(|| {
        format!(
            "it proposes the base {}, whose content no earlier snapshot of the source has, and others have",
            base.id
        )
    })
}

fn present_is_there(request: &PolicyRequest, decision: &wit::Decision) -> Option<String> {
    if !matches!(decision, wit::Decision::Present) {
        return None;
    }
    let there = request.target.iter().find(|target| target.id == request.snapshot);
    let same = there.is_some_and(|target| same_content(request, &request.wanted, target));
    (!same).then(|| "it says present, and the target does not have it with that content".to_owned())
}

/// Equal roots; without a root at the source, a copy of that snapshot.
fn same_content(request: &PolicyRequest, source: &SourceSnapshot, target: &TargetSnapshot) -> bool {
    match &source.root {
        Some(root) => *root == target.root,
        None => {
            let volumes = (&request.source_volume, &target.source_volume);
            let same_volume = !matches!(volumes, (Some(told), Some(recorded)) if told != recorded);
            same_volume && target.source_snapshot.as_ref() == Some(&source.id) && target.size == source.size
        }
    }
}
