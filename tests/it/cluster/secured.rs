//! An etcd that wants certificates, names and passwords.

use std::fs;

use etcd_client::{Permission, PermissionType};

use super::{Etcd, Group, TTL, key};
use crate::deploy::site::Site;
use crate::support::wait_for;

pub(super) const PASSWORD: &str = "the password of the gateways";

/// Lets the user `rsnap` read and write what is ours, and nobody anything else without a name.
pub(super) fn with_users() -> Etcd {
    let mut etcd = Etcd::start_with_certificates();
    etcd.ask(async |mut client| {
        client.user_add("root", "root", None).await?;
        client.user_grant_role("root", "root").await?;
        client.role_add("rsnap").await?;
        let ours = Permission::new(PermissionType::Readwrite, "/rsnap/").with_range_end("/rsnap0");
        client.role_grant_permission("rsnap", ours).await?;
        client.user_add("rsnap", PASSWORD, None).await?;
        client.user_grant_role("rsnap", "rsnap").await?;
        client.auth_enable().await
    });
    etcd.act_as("root", "root");
    etcd
}

pub(super) fn password(etcd: &Etcd, text: &str) -> (std::path::PathBuf, String) {
    let file = etcd.file("password");
    fs::write(&file, text).unwrap();
    (file.clone(), format!("{TTL}\nuser = \"rsnap\"\npassword_file = {file:?}"))
}

#[test]
fn gateways_register_with_certificate_name_and_password() {
    let etcd = with_users();
    let (_, table) = password(&etcd, PASSWORD);
    let mut group = Group::with(2, etcd, &table);
    assert_eq!(group.count(0).as_deref(), Some("0"));
    // Names are known by tokens that an etcd forgets when it ends.
    group.etcd.restart(0);
    group.etcd.wait_ready();
    wait_for("the new lease", || group.count(0).is_some() && group.count(1).is_some());
    group.wait_registered();
}

#[test]
fn a_wrong_password_is_told_once_and_the_gateway_serves_alone() {
    let etcd = with_users();
    let (file, table) = password(&etcd, "a wrong one");
    let group = Group { site: Site::start_with(1, "", &etcd.table(&table)), etcd };
    let told = || group.log_lines(0, "does not accept etcd.user and etcd.password_file");
    let warned = || {
        let log = group.site.gateways[0].log();
        log.lines().filter(|line| line.contains("WARN") && line.contains("password_file")).count()
    };
    wait_for("the fault", || told() > 0);
    // Tried again and again, and told once.
    wait_for("more tries", || group.log_lines(0, "authentication failed") >= 4);
    assert_eq!(warned(), 1, "{}", group.site.gateways[0].log());
    let answer = group.client(0).get("/server").expect(200).json();
    assert_eq!((&answer["server"], &answer["source"]), (&group.name(0).into(), &"self".into()));
    assert!(answer["age_ms"].is_null());
    fs::write(file, PASSWORD).unwrap();
    wait_for("registration", || group.etcd.get(&key(&group.name(0))).is_some());
}

#[test]
fn a_certificate_of_another_authority_is_told() {
    let etcd = Etcd::start_with_certificates();
    let stranger = Etcd::start_with_certificates();
    let endpoints = [format!("https://{}", etcd.address(0))];
    let site = Site::start_with(1, "", &stranger.table_at(&endpoints, TTL));
    wait_for("the fault", || site.gateways[0].log().contains("invalid peer certificate"));
    site.client(site.gateways[0].address).get("/server").expect(200);
}
