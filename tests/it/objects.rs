//! A gateway whose storage is an object store: a directory, and a bucket of Ceph's own S3.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::signer::Signer as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use rsnap_test_ceph::{Cluster, ObjectGateway, Options as Ceph};

use crate::deploy::authority::Authority;
use crate::support::{Diff, Gateway, Image, Options, Upload, binary, components, scratch};
use crate::verify::{event, flip, objects, put, toward};

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
    let put_as = |volume: &str, snapshot: &str, kind: &'static str, body: &[u8]| {
        client.put(&Upload { path: path(volume, snapshot), content_type: Some(kind), body, ..Upload::default() })
    };
    let root = put_as("v", "s1", RAW, &first.bytes).expect(201).json()["root"].as_str().unwrap().to_owned();
    let change = Diff::between(Some("s1"), "s2", &first.bytes, &second.bytes);
    let headers = vec![("rsnap-base", "s1".to_owned()), ("rsnap-base-root", root)];
    let diff = Upload { path: path("v", "s2"), content_type: Some(DIFF), headers, body: &change, ..Upload::default() };
    client.put(&diff).expect(201);
    put_as("w", "s1", RAW, &first.bytes).expect(201);
    // The same again is the same.
    assert!([200, 201].contains(&put_as("v", "s1", RAW, &first.bytes).status));
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

/// In files and in a directory of blocks at once. A gateway that is killed in the middle leaves neither.
#[test]
fn in_two_stores() {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let of = |name: &str| folder.path().join(name);
    let parts = format!(
        "[stores.blocks]\nkind = \"objects\"\nurl = {:?}\n[stores.files]\nkind = \"file\"\npath = {:?}\n",
        of("blocks"),
        of("files")
    );
    let store = Some("kind = \"tee\"\nstores = [\"blocks\", \"files\"]".to_owned());
    let mut gateway = Gateway::start_with(&Options { store, extra: parts, ..Options::default() });
    let client = gateway.client();
    let image = Image::random(8_000_000, 3);
    let upload = Upload { path: path("v", "s1"), content_type: Some(RAW), body: &image.bytes, ..Upload::default() };
    let mut pending = client.begin_put(&upload);
    pending.send(&image.bytes[..6_000_000]).unwrap();
    gateway.kill();
    pending.cut();
    gateway.restart();
    let client = gateway.client();
    assert_eq!(client.chain("v")["snapshots"].as_array().unwrap().len(), 0);
    client.put(&upload).expect(201);
    assert!(client.get(&path("v", "s1")).expect(200).body == image.bytes);
    assert_eq!(blocks(&of("blocks")), 8);
    // Whoever has one of the two alone has all of it.
    for part in ["kind = \"objects\"\nurl", "kind = \"file\"\npath"] {
        let name = if part.contains("url") { "blocks" } else { "files" };
        let single = self::gateway(format!("{part} = {:?}", of(name)));
        assert!(single.client().get(&path("v", "s1")).expect(200).body == image.bytes, "{name}");
    }
    assert!([200, 204].contains(&client.request("DELETE", &path("v", "s1"), &[], &[]).status));
    client.get(&path("v", "s1")).expect(404);
}

/// What is wrong on a disk is found, never given out, and got back from another site.
#[test]
fn a_rotten_block_is_found_and_repaired() {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let (damaged, intact) = (gateway(format!("kind = \"objects\"\nurl = {:?}", folder.path())), Gateway::start());
    let image = Image::random(12_000_000, 5);
    put(&damaged, "s", &image.bytes);
    put(&intact, "s", &image.bytes);
    let found = Command::new("find").arg(folder.path().join("blocks")).args(["-type", "f"]).output().unwrap();
    let files = String::from_utf8(found.stdout).unwrap();
    let files: Vec<&str> = files.lines().collect();
    flip(&files[3].into(), 70_000);
    flip(&files[5].into(), 2);
    let deep = "verify --deep --volume v --snapshot s";
    let checked = event(&objects(toward(&damaged, deep, None), 5), "checked");
    assert!(!checked["extents"].as_array().unwrap().is_empty(), "{checked}");
    assert!(damaged.client().get(&path("v", "s")).expect(200).cut, "what is damaged left the gateway");
    objects(toward(&damaged, "repair --volume v --snapshot s", Some(&intact)), 0);
    objects(toward(&damaged, deep, None), 0);
    assert!(damaged.client().get(&path("v", "s")).expect(200).body == image.bytes);
}

#[test]
fn in_a_bucket() {
    // It speaks to no cluster without keys.
    let cluster = Cluster::start(&Ceph { cephx: true, ..Ceph::default() }).unwrap();
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let of = |name: &str| folder.path().join(name);
    let (authority, stranger) = (Authority::new(folder.path()), tempfile::tempdir().unwrap());
    authority.issue(&["127.0.0.1"]).write(&of("s3.pem"), &of("s3.key"));
    let s3 = ObjectGateway::start_secured(&cluster, &of("s3.pem"), &of("s3.key")).unwrap();
    make_bucket(&s3, "copies");
    std::fs::write(of("secret"), format!("{}\n", s3.secret_key)).unwrap();
    let store = |endpoint: String, ca: &str| {
        format!(
            "kind = \"objects\"\nurl = \"s3://copies/site\"\nendpoint = \"{endpoint}\"\naccess_key = \"{}\"\n\
             secret_key_file = {:?}\n{ca}",
            s3.access_key,
            of("secret")
        )
    };
    let one = gateway(store(s3.endpoint(), ""));
    exactly_one(&s3, "copies");
    story(&one);
    cut(&one);
    // Another gateway finds all of it, by TLS, and only if it knows whom to trust.
    let ca = |authority: &Authority| format!("ca = {:?}", authority.certificate);
    let secure = s3.secure_endpoint().unwrap();
    let other = gateway(store(secure.clone(), &ca(&authority)));
    assert_eq!(other.client().chain("v"), one.client().chain("v"));
    let image = Image::random(3_000_000, 9);
    let upload = Upload { path: path("tls", "s1"), content_type: Some(RAW), body: &image.bytes, ..Upload::default() };
    other.client().put(&upload).expect(201);
    assert!(one.client().get(&path("tls", "s1")).expect(200).body == image.bytes);
    for ca in [String::new(), ca(&Authority::new(stranger.path()))] {
        let told = no_gateway(&store(secure.clone(), &ca));
        assert!(told.contains("could not open the store main"), "{told}");
        assert!(told.to_lowercase().contains("certificate"), "the reason: {told}");
    }
}

/// Why a gateway with this store does not start.
fn no_gateway(store: &str) -> String {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let text =
        format!("[gateway]\ndata = {:?}\n[listen]\naddress = \"127.0.0.1:0\"\n[stores.main]\n{store}\n", folder.path());
    let file = folder.path().join("rsnap.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(binary());
    command.args(["serve", "--config"]).arg(&file).env("RSNAP_PLUGIN_PATH", components("plugins"));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
