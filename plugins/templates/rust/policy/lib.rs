//! The policy `my-plugin`: sends the change since the newest snapshot that both sides hold with the same content.

use rsnap_plugin::policy::{Plan, Policy, Request};

/// The settings: the plugin's own table in the gateway's configuration.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MyPlugin {
    /// Whether changes are sent at all.
    #[serde(default = "yes")]
    incremental: bool,
}

fn yes() -> bool {
    true
}

impl Policy for MyPlugin {
    fn decide(&self, request: Request) -> Result<Plan, String> {
        if !self.incremental {
            return Ok(Plan::full("the settings ask for full copies"));
        }
        Ok(match request.common().next() {
            Some((_, base)) => Plan::incremental(&base.id, format!("the target has {} with the same content", base.id)),
            None => Plan::full("no earlier snapshot is on the target"),
        })
    }
}

rsnap_plugin::export_policy!(MyPlugin);
