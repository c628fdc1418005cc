//! What strangers send: each fault is a clear problem, and every committed snapshot stays byte for byte what it was.

use std::time::Duration;

use crate::support::{Answer, Client, Diff, Gateway, Image, Options, Upload};

const DIFF: &str = "application/vnd.ceph.rbd-diff";

fn path(snapshot: &str) -> String {
    format!("/v1/volumes/v/snapshots/{snapshot}")
}

struct Scene {
    gateway: Gateway,
    client: Client,
    image: Image,
    root: String,
}

impl Scene {
    fn new() -> Self {
        let gateway = Gateway::start();
        let client = gateway.client();
        let image = Image::random(1_500_000, 31);
        let body = Diff::full("a", &image.bytes);
        let put = Upload { path: path("a"), content_type: Some(DIFF), body: &body, ..Upload::default() };
        let root = client.put(&put).expect(201).json()["root"].as_str().unwrap().to_owned();
        Self { gateway, client, image, root }
    }

    fn put(&self, snapshot: &str, body: &[u8], headers: &[(&'static str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.client.put(&Upload { path: path(snapshot), content_type: Some(DIFF), headers, body, ..Upload::default() })
    }

    /// Only `a` is there, and it is what it was.
    #[track_caller]
    fn check(&self) {
        let chain = self.client.chain("v");
        let names: Vec<_> = chain["snapshots"].as_array().unwrap().iter().map(|entry| &entry["snapshot"]).collect();
        assert_eq!(names, ["a"]);
        assert!(self.client.get(&path("a")).expect(200).body == self.image.bytes);
    }
}

#[test]
fn malformed_streams_are_refused() {
    let scene = Scene::new();
    let size = scene.image.bytes.len() as u64;
    let change = || Diff::new(Some("a"), Some("b"), size);
    let good = change().write(4096, &[7; 100]).zero(90_000, 5_000).end();
    let mut two_ends = good.clone();
    two_ends.push(b'e');
    let mut unknown_tag = change().0;
    unknown_tag.extend(b"Q");
    let overflowing = change().zero(u64::MAX - 10, 20).end();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("not a diff", b"hello, world, this is no diff at all".to_vec()),
        ("truncated", good[..good.len() - 1].to_vec()),
        ("cut in a record", good[..good.len() - 40].to_vec()),
        ("bytes after the end", two_ends),
        ("doubled", [good.clone(), good.clone()].concat()),
        ("unknown tag", unknown_tag),
        ("reordered", change().write(8192, &[1; 10]).write(0, &[1; 10]).end()),
        ("overlapping", change().write(0, &[1; 10]).write(9, &[1; 10]).end()),
        ("beyond the image", change().write(size - 5, &[1; 6]).end()),
        ("beyond 64 bits", overflowing),
        ("without size", b"rbd diff v1\nf\x01\0\0\0ae".to_vec()),
    ];
    for (what, body) in cases {
        let answer = scene.put("b", &body, &[]);
        assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed-stream"), "{what}: {answer:?}");
        scene.check();
    }
    let untyped = Upload { path: path("b"), body: &good, ..Upload::default() };
    assert_eq!(scene.client.put(&untyped).expect(400).problem(), "malformed-stream", "a diff became a raw image");
    scene.check();
    scene.put("b", &good, &[]).expect(201);
}

#[test]
fn a_flipped_bit_is_noticed_by_every_digest_that_a_sender_can_give() {
    let scene = Scene::new();
    let size = scene.image.bytes.len() as u64;
    let mut changed = scene.image.bytes.clone();
    changed[5000..5100].fill(9);
    let good = Diff::new(Some("a"), Some("b"), size).write(5000, &changed[5000..5100]).end();
    let sha256 = |bytes: &[u8]| {
        use base64::Engine as _;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(digest))
    };
    let mut flipped = good.clone();
    let last = flipped.len() - 20;
    flipped[last] ^= 1;
    for header in ["Content-Digest", "Repr-Digest"] {
        let answer = scene.put("b", &flipped, &[(header, &sha256(&good))]);
        assert_eq!(answer.expect(422).problem(), "digest-mismatch");
    }
    let trailers = vec![("Content-Digest", sha256(&good))];
    let chunked = Upload {
        path: path("b"),
        content_type: Some(DIFF),
        body: &flipped,
        chunked: true,
        trailers,
        ..Upload::default()
    };
    assert_eq!(scene.client.put(&chunked).expect(422).problem(), "digest-mismatch");
    let own = Upload { trailers: vec![("Rsnap-Body-Digest", "0".repeat(64))], ..chunked.clone() };
    assert_eq!(scene.client.put(&own).expect(422).problem(), "digest-mismatch");
    let other_root = scene.root.clone();
    assert_eq!(scene.put("b", &good, &[("rsnap-content-root", &other_root)]).expect(422).problem(), "digest-mismatch");
    assert_eq!(scene.put("b", &good, &[("Content-Digest", "sha-256=nonsense")]).expect(400).problem(), "bad-digest");
    scene.check();
    let right = Upload { body: &good, ..chunked };
    scene.client.put(&right).expect(201);
    assert!(scene.client.get(&path("b")).expect(200).body == changed);
}

#[test]
fn a_base_must_be_there_and_be_the_same_content() {
    let scene = Scene::new();
    let size = scene.image.bytes.len() as u64;
    let body = Diff::new(Some("a"), Some("b"), size).write(0, b"x").end();
    let stranger = Diff::new(Some("zzz"), Some("b"), size).write(0, b"x").end();
    let full = Diff::new(None, Some("b"), size).write(0, b"x").end();
    let other = format!("rsnap1:{}", "ab".repeat(32));
    let refused = |body: &[u8], headers: &[(&'static str, &str)], problem: &str| {
        assert_eq!(scene.put("b", body, headers).expect(409).problem(), problem, "{headers:?}");
        scene.check();
    };
    refused(&stranger, &[], "base-missing");
    refused(&body, &[("rsnap-base", "nowhere")], "base-missing");
    refused(&body, &[("rsnap-base", "a"), ("rsnap-base-root", &other)], "base-mismatch");
    refused(&stranger, &[("rsnap-base", "a")], "base-mismatch");
    refused(&full, &[("rsnap-base", "a"), ("rsnap-base-root", &scene.root)], "base-mismatch");
}

#[test]
fn one_byte_written_to_the_base_behind_our_back_is_noticed() {
    let scene = Scene::new();
    let image = scene.gateway.data.join("store/images/volume-v");
    let data = std::fs::read_dir(image).unwrap().map(|entry| entry.unwrap().path());
    let raw = data.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "raw")).unwrap();
    assert!(std::fs::read(&raw).unwrap() == scene.image.bytes, "a committed full snapshot is not a plain raw image");
    let mut permissions = std::fs::metadata(&raw).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&raw, permissions).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&raw).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[scene.image.bytes[777_777] ^ 1], 777_777).unwrap();
    drop(file);
    let size = scene.image.bytes.len() as u64;
    let body = Diff::new(Some("a"), Some("b"), size).write(0, b"x").end();
    assert_eq!(scene.put("b", &body, &[]).expect(409).problem(), "base-changed");
    assert_eq!(scene.client.get(&path("a")).expect(500).problem(), "damaged");
}

#[test]
fn a_repeated_put_is_a_success_and_other_content_is_a_conflict() {
    let scene = Scene::new();
    let again = Diff::full("a", &scene.image.bytes);
    assert_eq!(scene.put("a", &again, &[]).expect(200).json()["root"], scene.root.as_str());
    let announced = Upload {
        path: path("a"),
        content_type: Some(DIFF),
        headers: vec![("rsnap-content-root", scene.root.clone())],
        body: &again,
        ..Upload::default()
    };
    assert_eq!(scene.client.put_expecting(&announced).0, 200, "the body was asked for");
    let other = Diff::full("a", &scene.image.changed(1, 3).bytes);
    assert_eq!(scene.put("a", &other, &[]).expect(409).problem(), "exists");
    scene.check();
}

#[test]
fn names_with_tricks_are_not_names() {
    let scene = Scene::new();
    for name in ["..%2f..%2fetc", "%2e%2e", ".hidden", "a%00b", "a%2fb", "-x", "%ff", &"x".repeat(129)] {
        let answer = scene.client.put(&Upload { path: path(name), body: b"x", ..Upload::default() });
        assert_eq!(answer.expect(400).problem(), "bad-name", "{name}");
        let get = scene.client.get(&format!("/v1/volumes/{name}/snapshots"));
        assert_eq!(get.expect(400).problem(), "bad-name", "{name}");
    }
    scene.check();
    let outside: Vec<_> = std::fs::read_dir(scene.gateway.data.join("store/images")).unwrap().collect();
    assert_eq!(outside.len(), 1);
}

#[test]
fn tickets_open_only_what_they_are_for() {
    let scene = Scene::new();
    let body = Diff::new(Some("a"), Some("b"), scene.image.bytes.len() as u64).write(0, b"x").end();
    let ask = |query: &str| scene.client.get(&format!("/server?{query}"));
    let ticket = |query: &str| ask(query).expect(200).json()["ticket"].as_str().unwrap().to_owned();
    let put = |token: &str, snapshot: &str| {
        let client = scene.client.with_token(token);
        client.put(&Upload { path: path(snapshot), content_type: Some(DIFF), body: &body, ..Upload::default() })
    };
    assert_eq!(put("", "b").expect(401).problem(), "unauthorized");
    assert_eq!(put("guess", "b").expect(401).problem(), "bad-token");
    let right = ticket("volume=v&snapshot=b&size=2000000");
    assert_eq!(put(&ticket("volume=v&snapshot=c&size=2000000"), "b").expect(403).problem(), "ticket-scope");
    assert_eq!(put(&ticket("volume=w&snapshot=b&size=2000000"), "b").expect(403).problem(), "ticket-scope");
    assert_eq!(put(&ticket("volume=v&snapshot=b&size=1000"), "b").expect(422).problem(), "size-not-allowed");
    let mut forged = right.clone();
    let middle = forged.len() / 2;
    let flipped = if &forged[middle..=middle] == "A" { "B" } else { "A" };
    forged.replace_range(middle..=middle, flipped);
    assert_eq!(put(&forged, "b").expect(401).problem(), "bad-ticket");
    let other = Gateway::start();
    let foreign = other.client().get("/server?volume=v&snapshot=b&size=2000000").expect(200).json();
    assert_eq!(put(foreign["ticket"].as_str().unwrap(), "b").expect(401).problem(), "bad-ticket");
    let with_ticket = scene.client.with_token(&right);
    assert_eq!(with_ticket.get("/server").expect(403).problem(), "forbidden");
    assert_eq!(with_ticket.request("DELETE", &path("a"), &[], &[]).expect(403).problem(), "forbidden");
    scene.check();

    put(&right, "b").expect(201);
    scene.client.request("DELETE", &path("b"), &[], &[]).expect(204);
    assert_eq!(put(&right, "b").expect(409).problem(), "deleted", "a used ticket made a deleted snapshot again");
    std::thread::sleep(Duration::from_millis(1100));
    put(&ticket("volume=v&snapshot=b&size=2000000"), "b").expect(201);
}

#[test]
fn an_expired_ticket_starts_nothing() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let answer = client.get("/server?volume=v&snapshot=b&size=10").expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
    let put = |ticket: &str| {
        client.with_token(ticket).put(&Upload { path: path("b"), body: b"0123456789", ..Upload::default() })
    };
    let hour_ago = made_earlier(&gateway, &ticket, Duration::from_secs(3600));
    assert_eq!(put(&hour_ago).expect(401).problem(), "expired-ticket");
    // The same with a change of nothing is the ticket itself: what was refused is the time.
    put(&made_earlier(&gateway, &ticket, Duration::ZERO)).expect(201);
}

/// The same ticket as if it had been asked for earlier, signed with the gateway's own key.
fn made_earlier(gateway: &Gateway, ticket: &str, earlier: Duration) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let parts: Vec<&str> = ticket.split('.').collect();
    let mut claims: serde_json::Value = serde_json::from_slice(&BASE64.decode(parts[1]).unwrap()).unwrap();
    claims["iat"] = (claims["iat"].as_f64().unwrap() - earlier.as_secs_f64()).into();
    claims["exp"] = (claims["exp"].as_u64().unwrap() - earlier.as_secs()).into();
    let signed = format!("{}.{}", parts[0], BASE64.encode(claims.to_string()));
    let key = std::fs::read_to_string(gateway.data.join("ticket.key")).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.trim().as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(signature))
}

#[test]
fn a_refusal_costs_no_body() {
    let scene = Scene::new();
    let body = vec![1; 8 << 20];
    let expecting = |client: &Client, headers: Vec<(&'static str, String)>, snapshot: &str| {
        let upload = Upload { path: path(snapshot), headers, body: &body, ..Upload::default() };
        client.put_expecting(&upload).0
    };
    assert_eq!(expecting(&scene.client.with_token("wrong"), vec![], "b"), 401);
    assert_eq!(expecting(&scene.client, vec![("Content-Range", "bytes 5-9/10".to_owned())], "b"), 400);
    assert_eq!(expecting(&scene.client, vec![("Content-Type", "text/html".to_owned())], "b"), 415);
    assert_eq!(expecting(&scene.client, vec![], "b"), 100);
    let ranged = Upload {
        path: path("c"),
        headers: vec![("Content-Range", "bytes 5-9/10".to_owned())],
        body: b"01234",
        ..Upload::default()
    };
    assert_eq!(scene.client.put(&ranged).expect(400).problem(), "content-range");
    let early = Upload { path: path("../x"), body: &body, ..Upload::default() };
    assert!(scene.client.with_token("wrong").put(&early).status >= 400, "a refusal in mid-body was not readable");
}

#[test]
fn a_full_disk_is_a_clear_problem_that_frees_what_it_took() {
    let Some(disk) = SmallDisk::mount() else {
        panic!("this test mounts a small tmpfs and needs to be root");
    };
    let store = format!("kind = \"file\"\npath = \"{}/store\"", disk.0.path().display());
    let gateway = Gateway::start_with(&Options { store: Some(store), ..Options::default() });
    let client = gateway.client();
    let small = Image::random(2 << 20, 41);
    client.put(&Upload { path: path("a"), body: &small.bytes, ..Upload::default() }).expect(201);
    let large = Image::random(24 << 20, 42);
    for _ in 0..3 {
        let answer = client.put(&Upload { path: path("b"), body: &large.bytes, ..Upload::default() });
        assert_eq!(answer.expect(507).problem(), "storage-full");
    }
    assert!(client.get(&path("a")).expect(200).body == small.bytes);
    let second = small.changed(43, 3);
    client.put(&Upload { path: path("c"), body: &second.bytes, ..Upload::default() }).expect(201);
}

/// Whoever writes beside the one that met the end of the space fails too, because nobody may go on: that is not the news.
#[test]
fn a_full_disk_is_what_the_sender_is_told() {
    let Some(disk) = SmallDisk::mount() else {
        panic!("this test mounts a small tmpfs and needs to be root");
    };
    let store = format!("kind = \"file\"\npath = \"{}/store\"", disk.0.path().display());
    let gateway = Gateway::start_with(&Options { store: Some(store), ..Options::default() });
    let sources = tempfile::tempdir().unwrap();
    let source = sources.path().join("image");
    std::fs::write(&source, Image::random(144 << 20, 44).bytes).unwrap();
    for streams in ["1", "2", "8"] {
        for attempt in 0..2 {
            let mut command = gateway.command(&["send", "--volume", "v", "--snapshot", "s", "--streams", streams]);
            let output = command.arg("--full").arg(&source).output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && told.contains("507"), "{streams} streams, attempt {attempt}: {told}");
            assert!(!told.contains("taken over"), "{streams} streams, attempt {attempt}: {told}");
        }
    }
    assert!(
        gateway.client().get("/v1/volumes/v/snapshots").expect(200).json()["snapshots"].as_array().unwrap().is_empty()
    );
}

/// A file system of 16 MiB, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(directory.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
