//! A chain policy as a component. A fresh instance for each decision, so that one request cannot influence another.

use async_trait::async_trait;

use super::bindings::policy::ChainPolicy;
use super::bindings::policy::exports::rsnap::plugin::policy as wit;
use super::call::Guest;
use super::question::Question;
use super::text::{TEXT_MAX, clean};
use super::{Decision, Plan, PluginError, Policy, PolicyRequest};

/// A loaded policy.
pub(super) struct ComponentPolicy(pub(super) Guest<ChainPolicy>);

#[async_trait]
impl Policy for ComponentPolicy {
    fn name(&self) -> &str {
        &self.0.shared.name
    }

    async fn decide(&self, request: &PolicyRequest) -> Result<Plan, PluginError> {
        self.0.shared.call(request.volume.as_str(), self.ask(Question::of(request))).await
    }
}

impl ComponentPolicy {
    async fn ask(&self, question: Question) -> Result<Plan, PluginError> {
        let decide = self.0.start(move |instance| Box::pin(question.ask(instance)));
        let shared = &self.0.shared;
        match decide.await?.1 {
            Ok(plan) => {
                let base = if let wit::Decision::Incremental(base) = &plan.decision { base.len() } else { 0 };
                shared.account.handed(plan.reason.len() + base);
                lift(plan).map_err(|fault| shared.failed(fault))
            }
            Err(text) => Err(PluginError::Refused { plugin: shared.name.clone(), detail: shared.told(&text) }),
        }
    }
}

fn lift(plan: wit::Plan) -> Result<Plan, String> {
    if plan.reason.trim().is_empty() {
        return Err("it gives no reason for its plan".to_owned());
    }
    if plan.reason.len() > TEXT_MAX {
        return Err(format!("the reason for its plan is longer than {TEXT_MAX} bytes"));
    }
    let decision = match plan.decision {
        wit::Decision::Present => Decision::Present,
        wit::Decision::Full => Decision::Full,
        wit::Decision::Incremental(base) => {
            Decision::Incremental(base.parse().map_err(|error| format!("it names an impossible base: {error}"))?)
        }
        wit::Decision::Refused => Decision::Refused,
    };
    Ok(Plan { decision, reason: clean(&plan.reason) })
}
