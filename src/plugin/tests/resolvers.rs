//! Resolvers that lie: no address is passed on that the host has not checked.

use super::support::{config, context, failure, loader};
use crate::plugin::addresses::Allowed;
use crate::plugin::resolver::ComponentResolver;
use crate::plugin::{Resolver, Site};

async fn answer(
    name: &str,
    keystone: &str,
    gateway: &str,
    hosts: &[&str],
) -> Result<Option<Site>, crate::plugin::PluginError> {
    let settings = format!("name = \"{name}\"\nkeystone = \"{keystone}\"\ngateway = \"{gateway}\"");
    let (guest, _) = loader(context()).component(&config("hostile-resolver", &settings)).await.unwrap();
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let resolver = ComponentResolver { guest, allowed: Allowed::new(&hosts) };
    resolver.resolve(&"dc1".parse().unwrap()).await
}

const GOOD: &str = "https://a.example";

#[tokio::test(flavor = "multi_thread")]
async fn good_addresses_are_passed_on() {
    assert_eq!(answer("dc1", GOOD, GOOD, &["*.example"]).await.unwrap().unwrap().gateway, GOOD);
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_are_not() {
    let other = failure(answer("dc2", GOOD, GOOD, &[]).await);
    assert_eq!(other, "it was asked for site dc1 and answers \"dc2\"");
    let plain = failure(answer("dc1", "http://a.example", GOOD, &[]).await);
    assert!(plain.starts_with("the keystone address of site dc1 is \"http://a.example\", which does not"), "{plain}");
    let metadata = failure(answer("dc1", GOOD, "https://169.254.169.254", &[]).await);
    assert!(metadata.starts_with("the gateway address of site dc1"), "{metadata}");
    let foreign = failure(answer("dc1", GOOD, GOOD, &["b.example"]).await);
    assert!(foreign.ends_with("which is not in plugins.allow_hosts"), "{foreign}");
}
