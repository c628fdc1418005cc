//! A gateway whose storage is an object store: a directory, and a bucket of Ceph's own S3.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::signer::Signer as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use rsnap_test_ceph::{Cluster, ObjectGateway, Options as Ceph};

use crate::support::{Diff, Gateway, Image, Options, Upload, binary, scratch};

const RAW: &str = "application/octet-stream";
const DIFF: &str = "application/vnd.ceph.rbd-diff";

fn path(volume: &str, snapshot: &str) -> String {
    format!("/v1/volumes/{volume}/snapshots/{snapshot}")
}

fn gateway(store: String) -> Gateway {
    Gateway::start_with(&Options { store: Some(store), ..Options::default() })
}

/// What `rsnap store sweep` says that it removed.
fn sweep(gateway: &Gateway) -> u64 {
    let configuration = gateway.data.join("rsnap.toml");
    let output = Command::new(binary()).args(["--json", "store", "sweep"]).arg(configuration).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    told["removed"].as_u64().unwrap()
}

/// Sent, restored, shared, deleted, swept.
fn story(gateway: &Gateway) {
    let client = gateway.client();
    let first = Image::random(9_000_123, 1);
    let second = first.changed(2, 12);
    let put = |volume: &str, snapshot: &str, kind: &'static str, body: &[u8]| {
        client.put(&Upload { path: path(volume, snapshot), content_type: Some(kind), body, ..Upload::default() })
    };
    let root = put("v", "s1", RAW, &first.bytes).expect(201).json()["root"].as_str().unwrap().to_owned();
    let change = Diff::between(Some("s1"), "s2", &first.bytes, &second.bytes);
    let headers = vec![("rsnap-base", "s1".to_owned()), ("rsnap-base-root", root)];
    let diff = Upload { path: path("v", "s2"), content_type: Some(DIFF), headers, body: &change, ..Upload::default() };
    client.put(&diff).expect(201);
    put("w", "s1", RAW, &first.bytes).expect(201);
    // The same again is the same.
    assert!([200, 201].contains(&put("v", "s1", RAW, &first.bytes).status));
    for (volume, snapshot, image) in [("v", "s1", &first), ("v", "s2", &second), ("w", "s1", &first)] {
        assert!(client.get(&path(volume, snapshot)).expect(200).body == image.bytes, "{volume} {snapshot}");
    }
    let since = client.get(&(path("v", "s2") + "?format=rbd-diff&base=s1")).expect(200).body;
    assert!(Diff::apply(&since, &first.bytes) == second.bytes);

    assert_eq!(sweep(gateway), 2, "a manifest and a segment are left of what was sent again");
    assert_eq!(sweep(gateway), 0, "something was left");
    assert!([200, 204].contains(&client.request("DELETE", &path("v", "s1"), &[], &[]).status));
    assert!(sweep(gateway) > 0);
    client.get(&path("v", "s1")).expect(404);
    assert!(client.get(&path("v", "s2")).expect(200).body == second.bytes);
    assert!(client.get(&path("w", "s1")).expect(200).body == first.bytes, "its blocks were another volume's, too");
    assert_eq!(client.chain("v")["snapshots"].as_array().unwrap().len(), 1);
}

/// A stream that is cut leaves nothing that anybody sees, and nothing after a sweep.
fn cut(gateway: &Gateway) {
    let client = gateway.client();
    let image = Image::random(6_000_000, 7);
    let upload = Upload { path: path("c", "s1"), content_type: Some(RAW), body: &image.bytes, ..Upload::default() };
    client.put_and_cut(&upload, 5_000_000);
    crate::support::wait_for("the end of the cut transfer", || client.put(&upload).status == 201);
    assert!(client.get(&path("c", "s1")).expect(200).body == image.bytes);
    assert!(sweep(gateway) < 20);
}

fn blocks(folder: &Path) -> usize {
    let output = Command::new("find").arg(folder.join("blocks")).args(["-type", "f"]).output().unwrap();
    output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

#[test]
fn in_a_directory() {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let mut gateway = gateway(format!("kind = \"objects\"\nurl = {:?}", folder.path()));
    story(&gateway);
    // Nine blocks of each of the two that are left, and what they have in common once.
    assert!((9..=18).contains(&blocks(folder.path())), "{}", blocks(folder.path()));
    gateway.restart();
    assert_eq!(gateway.client().chain("v")["snapshots"].as_array().unwrap().len(), 1);
    cut(&gateway);
}

/// A signed URL of the bucket itself, which is made by putting nothing there.
fn make_bucket(s3: &ObjectGateway, name: &str) {
    let store = bucket(s3, name);
    let root = object_store::path::Path::default();
    let signed = store.signed_url(http::Method::PUT, &root, Duration::from_mins(5));
    let url = runtime().block_on(signed).unwrap();
    let made = Command::new("curl").args(["-sS", "--fail-with-body", "-X", "PUT", url.as_str()]).output().unwrap();
    assert!(made.status.success(), "{url}: {}", String::from_utf8_lossy(&made.stdout));
}

fn bucket(s3: &ObjectGateway, name: &str) -> AmazonS3 {
    let builder = AmazonS3Builder::new().with_endpoint(s3.endpoint()).with_allow_http(true).with_bucket_name(name);
    builder.with_access_key_id(&s3.access_key).with_secret_access_key(&s3.secret_key).build().unwrap()
}

/// What commits rest on: of many who create one name at once, one succeeds.
fn exactly_one(s3: &ObjectGateway, name: &str) {
    let store = bucket(s3, name);
    let create = |round: usize, who: usize| {
        let store = store.clone();
        async move {
            let path = object_store::path::Path::from(format!("race/{round}"));
            let body = object_store::PutPayload::from(format!("{who}").into_bytes());
            let made = store.put_opts(&path, body, object_store::PutMode::Create.into()).await;
            made.is_ok().then_some(who)
        }
    };
    runtime().block_on(async {
        for round in 0..10 {
            let made = futures_util::future::join_all((0..16).map(|who| create(round, who))).await;
            let winners: Vec<usize> = made.into_iter().flatten().collect();
            assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
            let path = object_store::path::Path::from(format!("race/{round}"));
            let there = store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(there, winners[0].to_string());
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn in_a_bucket() {
    // It speaks to no cluster without keys.
    let cluster = Cluster::start(&Ceph { cephx: true, ..Ceph::default() }).unwrap();
    let s3 = ObjectGateway::start(&cluster).unwrap();
    make_bucket(&s3, "copies");
    let secret = tempfile::NamedTempFile::new_in(scratch()).unwrap();
    std::fs::write(secret.path(), format!("{}\n", s3.secret_key)).unwrap();
    let store = format!(
        "kind = \"objects\"\nurl = \"s3://copies/site\"\nendpoint = \"{}\"\naccess_key = \"{}\"\nsecret_key_file = {:?}",
        s3.endpoint(),
        s3.access_key,
        secret.path()
    );
    let one = gateway(store.clone());
    exactly_one(&s3, "copies");
    story(&one);
    cut(&one);
    // Another gateway finds all of it.
    let other = gateway(store);
    assert_eq!(other.client().chain("v"), one.client().chain("v"));
}
