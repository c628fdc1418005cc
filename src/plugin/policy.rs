//! A chain policy as a component. A fresh instance for each decision, so that one request cannot influence another.

use async_trait::async_trait;

use super::bindings::policy::ChainPolicy;
use super::bindings::policy::exports::rsnap::plugin::policy as wit;
use super::call::Guest;
use super::text::{TEXT_MAX, clean};
use super::{Decision, Plan, PluginError, Policy, PolicyRequest, SourceSnapshot, TargetSnapshot};

/// A loaded policy.
pub(super) struct ComponentPolicy(pub(super) Guest<ChainPolicy>);

#[async_trait]
impl Policy for ComponentPolicy {
    fn name(&self) -> &str {
        &self.0.shared.name
    }

    async fn decide(&self, request: &PolicyRequest) -> Result<Plan, PluginError> {
        self.0.shared.call(request.volume.as_str(), self.ask(lower(request))).await
    }
}

impl ComponentPolicy {
    async fn ask(&self, request: wit::Request) -> Result<Plan, PluginError> {
        let decide = self.0.start(move |instance| {
            Box::pin(async move {
                let (world, store) = (&instance.world, &mut instance.store);
                world.rsnap_plugin_policy().call_decide(store, &request).await
            })
        });
        let shared = &self.0.shared;
        match decide.await?.1 {
            Ok(plan) => lift(plan).map_err(|fault| shared.failed(fault)),
            Err(text) => Err(PluginError::Refused { plugin: shared.name.clone(), detail: clean(&text) }),
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

pub(super) fn lower(request: &PolicyRequest) -> wit::Request {
    wit::Request {
        volume: request.volume.to_string(),
        snapshot: request.snapshot.to_string(),
        source_volume: request.source_volume.clone(),
        wanted: lower_source(&request.wanted),
        source: request.source.iter().map(lower_source).collect(),
        target: request.target.iter().map(lower_target).collect(),
    }
}

fn lower_source(snapshot: &SourceSnapshot) -> wit::SourceSnapshot {
    wit::SourceSnapshot { id: snapshot.id.clone(), size: snapshot.size, root: snapshot.root.clone() }
}

fn lower_target(snapshot: &TargetSnapshot) -> wit::TargetSnapshot {
    wit::TargetSnapshot {
        id: snapshot.id.to_string(),
        size: snapshot.size,
        root: snapshot.root.clone(),
        source_snapshot: snapshot.source_snapshot.clone(),
        source_volume: snapshot.source_volume.clone(),
        created: snapshot.created,
        stored: snapshot.stored,
        base: snapshot.base.as_ref().map(ToString::to_string),
    }
}
