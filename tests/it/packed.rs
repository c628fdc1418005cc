//! Bodies that are packed on their way, by our own sender, by stock tools, and by strangers who mean no good.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Answer, Client, Diff, Gateway, Image, Upload, scratch};

const MIB: usize = 1 << 20;
const DIFF: &str = "application/vnd.ceph.rbd-diff";
const SNAPSHOT: &str = "/v1/volumes/v/snapshots/s";

fn pack(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 3).unwrap()
}

/// With frames whose windows are this large, as a power of two.
fn pack_with_window(log: u32, plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(log).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

/// Much of it is said twice.
fn text(length: usize) -> Vec<u8> {
    (0..).flat_map(|number: u32| (number / 5).to_le_bytes()).take(length).collect()
}

/// A client with a ticket for an image of this size.
fn ticketed(gateway: &Gateway, size: usize) -> Client {
    let client = gateway.client();
    let answer = client.get(&format!("/server?volume=v&snapshot=s&size={size}")).expect(200);
    client.with_token(answer.json()["ticket"].as_str().unwrap())
}

fn put(client: &Client, content_type: Option<&str>, body: &[u8], more: &[(&'static str, &str)]) -> Answer {
    let coding = [("Content-Encoding", "zstd")];
    let headers = coding.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned())).collect();
    client.put(&Upload { path: SNAPSHOT.to_owned(), content_type, headers, body, ..Upload::default() })
}

fn begin(client: &Client, size: usize) -> String {
    let headers = [("Upload-Complete", "?0".to_owned()), ("Upload-Length", size.to_string())];
    let answer = client.request("POST", SNAPSHOT, &headers, &[]).expect(201);
    assert_eq!(answer.header("accept-encoding"), Some("zstd"));
    answer.header("location").unwrap().to_owned()
}

fn bytes_at(offset: usize, is_last: bool, is_packed: bool) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("Content-Type", "application/partial-upload".to_owned()),
        ("Upload-Offset", offset.to_string()),
        ("Upload-Complete", if is_last { "?1" } else { "?0" }.to_owned()),
    ];
    headers.extend(is_packed.then(|| ("Content-Encoding", "zstd".to_owned())));
    headers
}

fn offset(client: &Client, path: &str) -> usize {
    client.request("HEAD", path, &[], &[]).expect(204).header("upload-offset").unwrap().parse().unwrap()
}

#[test]
fn images_and_changes_come_packed() {
    let gateway = Gateway::start();
    let (old, new) = (text(3 * MIB + 77), text(3 * MIB + 76));
    let client = ticketed(&gateway, old.len());
    let offered = client.request("OPTIONS", SNAPSHOT, &[], &[]).expect(204);
    assert_eq!(offered.header("accept-encoding"), Some("zstd"));
    assert!(pack(&old).len() < old.len() / 4);
    put(&client, None, &pack(&old), &[]).expect(201);
    assert!(client.get(SNAPSHOT).expect(200).body == old);
    let change = Diff::between(Some("s"), "t", &old, &new);
    let upload = Upload {
        path: "/v1/volumes/v/snapshots/t".to_owned(),
        content_type: Some(DIFF),
        headers: vec![("Content-Encoding", "zstd".to_owned()), ("Rsnap-Base", "s".to_owned())],
        body: &pack(&change),
        ..Upload::default()
    };
    let operator = gateway.client();
    operator.put(&upload).expect(201);
    assert!(operator.get("/v1/volumes/v/snapshots/t").expect(200).body == new);
}

#[test]
fn stock_tools_pack_too() {
    let gateway = Gateway::start();
    let plain = text(5 * MIB);
    let client = ticketed(&gateway, plain.len());
    let file = tempfile::NamedTempFile::new_in(scratch()).unwrap();
    std::fs::write(file.path(), &plain).unwrap();
    let mut zstd = Command::new("zstd").arg("-qc").arg(file.path()).stdout(Stdio::piped()).spawn().unwrap();
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body", "-T", "-", "-H", "Content-Encoding: zstd", "--cacert"])
        .arg(gateway.certificate())
        .args(["-H", &format!("Authorization: Bearer {}", client.token)])
        .arg(format!("https://{}{SNAPSHOT}", gateway.address))
        .stdin(zstd.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success() && zstd.wait().unwrap().success(), "{output:?}");
    assert!(client.get(SNAPSHOT).expect(200).body == plain);
}

#[test]
fn digests_are_of_what_they_say() {
    let gateway = Gateway::start();
    let plain = text(MIB);
    let (client, packed) = (ticketed(&gateway, plain.len()), pack(&plain));
    let sha256 = |bytes: &[u8]| {
        use base64::Engine as _;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(digest))
    };
    // HTTP's own digests are of the bytes on the line.
    assert_eq!(
        put(&client, None, &packed, &[("Content-Digest", &sha256(&plain))]).expect(422).problem(),
        "digest-mismatch"
    );
    client.get(SNAPSHOT).expect(404);
    let trailing = |name: &'static str, value: String| Upload {
        path: SNAPSHOT.to_owned(),
        headers: vec![("Content-Encoding", "zstd".to_owned())],
        body: &packed,
        chunked: true,
        trailers: vec![(name, value)],
        ..Upload::default()
    };
    for (name, wrong) in [("Content-Digest", sha256(&plain)), ("Rsnap-Body-Digest", blake3::hash(&packed).to_string())]
    {
        assert_eq!(client.put(&trailing(name, wrong)).expect(422).problem(), "digest-mismatch", "{name}");
    }
    client.put(&trailing("Rsnap-Body-Digest", blake3::hash(&plain).to_string())).expect(201);
    gateway.client().request("DELETE", SNAPSHOT, &[], &[]).expect(204);
    let client = ticketed(&gateway, plain.len());
    put(&client, None, &packed, &[("Content-Digest", &sha256(&packed)), ("Repr-Digest", &sha256(&packed))]).expect(201);
    assert!(client.get(SNAPSHOT).expect(200).body == plain);
}

#[test]
fn other_codings_and_other_places_are_refused() {
    let gateway = Gateway::start();
    let client = ticketed(&gateway, 5000);
    let refused = |method: &str, path: &str, coding: &str, more: &[(&'static str, &str)], taken: &str| {
        let coding = [("Content-Encoding", coding)];
        let headers: Vec<_> = coding.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned())).collect();
        let answer = client.request(method, path, &headers, b"x").expect(415);
        assert_eq!((answer.problem().as_str(), answer.header("accept-encoding")), ("unsupported-coding", Some(taken)));
    };
    refused("PUT", SNAPSHOT, "gzip", &[], "zstd");
    refused("PUT", SNAPSHOT, "zstd, zstd", &[], "zstd");
    // To HTTP, its offsets would count packed bytes.
    refused("POST", SNAPSHOT, "zstd", &[("Upload-Complete", "?0"), ("Upload-Length", "5000")], "identity");
    refused(
        "PUT",
        "/v1/volumes/v/snapshots?snapshots=s",
        "zstd",
        &[("Content-Type", "application/vnd.ceph.rbd-image")],
        "identity",
    );
    refused("POST", &format!("{SNAPSHOT}/repair"), "zstd", &[("Content-Type", DIFF)], "identity");
    let unsized_ = put(&gateway.client(), None, &pack(&[7; 5000]), &[]).expect(411);
    assert_eq!(unsized_.problem(), "length-required");
}

/// A cut within a frame is a cut like any other: what is durable is told in bytes of the image, and goes on plain or packed.
#[test]
fn an_upload_goes_on_after_a_cut_in_a_frame() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let plain = text(20 * MIB + 5);
    let path = begin(&client, plain.len());
    let packed = pack(&plain);
    let mut before = 0;
    for (part, is_packed) in [(packed.len() / 3, true), (2 * MIB + 9, false), (packed.len() / 4, true)] {
        let rest = &plain[before..];
        let body = if is_packed { pack(rest) } else { rest.to_vec() };
        let mut pending = client.begin("PATCH", &path, &bytes_at(before, true, is_packed), body.len());
        pending.send(&body[..part.min(body.len() - 1)]).unwrap();
        // The gateway has all of it when it has answered the end of the connection; until then more may become durable.
        pending.cut();
        let now = offset(&client, &path);
        assert!((before..plain.len()).contains(&now), "{now} after {before}");
        before = now;
    }
    let answer = loop {
        let before = offset(&client, &path);
        let answer = client.request("PATCH", &path, &bytes_at(before, true, true), &pack(&plain[before..]));
        if answer.status != 409 {
            break answer;
        }
    };
    answer.expect(201);
    assert!(client.get(SNAPSHOT).expect(200).body == plain);
}

/// What does not unpack, or unpacks to more than it is about, is told so, and what was there before it stays.
#[test]
fn bombs_and_broken_frames_lose_nothing() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let plain = Image::random(MIB, 3).bytes;
    let path = begin(&client, plain.len());
    client.request("PATCH", &path, &bytes_at(0, false, true), &pack(&plain[..300_000])).expect(204);
    let rest = &plain[300_000..];
    let packed = pack(rest);
    let with_dictionary = [0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x38, 7, 9, 0, 0, 1];
    let mut flipped = packed.clone();
    flipped[0] ^= 1;
    let cases: Vec<(&str, u16, &str, Vec<u8>)> = vec![
        ("no zstd at all", 400, "malformed-coding", b"hello, world".to_vec()),
        ("bytes after the frame", 400, "malformed-coding", [&packed[..], b"garbage"].concat()),
        ("a dictionary", 400, "malformed-coding", with_dictionary.to_vec()),
        ("a huge window", 400, "malformed-coding", pack_with_window(27, rest)),
        ("another magic number", 400, "malformed-coding", flipped),
        ("a frame that ends early", 400, "body-cut", packed[..packed.len() - 3].to_vec()),
        ("much more than the image", 400, "inconsistent-upload-length", pack(&vec![0; 300 * MIB])),
    ];
    let resident = gateway.resident();
    for (what, status, problem, body) in cases {
        let before = offset(&client, &path);
        let answer = client.request("PATCH", &path, &bytes_at(before, true, true), &body);
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{what}: {answer:?}");
        assert!(offset(&client, &path) >= 300_000, "{what}");
        client.get(SNAPSHOT).expect(404);
    }
    assert!(gateway.resident() < resident + (200 << 20), "{} after {resident}", gateway.resident());
    // Zeroes are as large as they are, and a diff is not larger than what can change.
    let diff = Diff::new(None, Some("s"), MIB as u64);
    let endless = [&diff.0[..], &[b'z'].into_iter().chain([0; 16]).collect::<Vec<u8>>().repeat(2 << 20)].concat();
    let answer = put(&ticketed(&gateway, MIB), Some(DIFF), &pack(&endless), &[]).expect(400);
    assert_eq!(answer.problem(), "malformed-coding");
    let answer = put(&ticketed(&gateway, MIB), None, &pack(&vec![0; MIB + 1]), &[]).expect(400);
    assert_eq!(answer.problem(), "malformed-coding");
    let now = offset(&client, &path);
    client.request("PATCH", &path, &bytes_at(now, true, true), &pack(&vec![0; MIB - now])).expect(201);
    let stored = client.get(SNAPSHOT).expect(200).body;
    assert!(stored[..300_000] == plain[..300_000] && stored[now..].iter().all(|byte| *byte == 0));
}

fn send(gateway: &Gateway, file: &Path, more: &[&str]) -> serde_json::Value {
    let mut command = gateway.command(&["send", "--json", "--volume", "v", "--source-volume", "origin"]);
    let output = command.args(more).arg(file).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(out.lines().rfind(|line| line.contains("\"outcome\"")).unwrap()).unwrap()
}

#[test]
fn our_sender_packs_what_gets_smaller() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let moved = |outcome: &serde_json::Value| outcome["moved"].as_u64().unwrap() as usize;
    let mut image = text(80 * MIB);
    image[20 * MIB..30 * MIB].copy_from_slice(&Image::random(10 * MIB, 5).bytes);
    let old = file("old", &image);
    let streams = ["--snapshot", "s", "--source-snapshot", "s", "--streams", "3", "--compress", "always"];
    let outcome = send(&gateway, &old, &streams);
    assert!((10 * MIB..40 * MIB).contains(&moved(&outcome)), "{outcome}");
    assert!(gateway.client().get(SNAPSHOT).expect(200).body == image);
    // A change, and one PUT of an image that is too small for an upload.
    for grain in image.chunks_mut(16 << 10).step_by(5) {
        grain.fill(7);
    }
    let (new, base) = (file("new", &image), format!("s={}", old.display()));
    let outcome = send(&gateway, &new, &["--snapshot", "t", "--base", &base, "--compress", "always"]);
    assert_eq!(outcome["snapshots"][0]["base"], "s");
    assert!(moved(&outcome) < 2 * MIB, "{outcome}");
    assert!(gateway.client().get("/v1/volumes/v/snapshots/t").expect(200).body == image);
    let small = text(5 * MIB);
    let outcome = send(&gateway, &file("small", &small), &["--snapshot", "u", "--full", "--compress", "always"]);
    assert!(moved(&outcome) < 2 * MIB, "{outcome}");
    assert!(gateway.client().get("/v1/volumes/v/snapshots/u").expect(200).body == small);
    // Noise costs what it costs plain, and nothing packed is sent where nothing shall be.
    let noise = Image::random(20 * MIB, 6).bytes;
    for (snapshot, compress) in [("n1", "always"), ("n2", "never")] {
        let outcome =
            send(&gateway, &file(snapshot, &noise), &["--snapshot", snapshot, "--full", "--compress", compress]);
        assert!(moved(&outcome) < noise.len() + noise.len() / 1000, "{compress}: {outcome}");
        assert!(gateway.client().get(&format!("/v1/volumes/v/snapshots/{snapshot}")).expect(200).body == noise);
    }
    let outcome = send(&gateway, &file("plain", &small), &["--snapshot", "p", "--full", "--compress", "never"]);
    assert!(moved(&outcome) >= small.len(), "{outcome}");
}

/// A slow line gives time to pack.
#[test]
fn a_slow_line_is_helped() {
    let gateway = Gateway::start();
    let file = tempfile::NamedTempFile::new_in(scratch()).unwrap();
    let image = text(24 * MIB);
    std::fs::write(file.path(), &image).unwrap();
    let outcome = send(&gateway, file.path(), &["--snapshot", "s", "--limit", "2MiB"]);
    let moved = outcome["moved"].as_u64().unwrap() as usize;
    assert!(moved < image.len() / 2, "{outcome}");
    assert!(gateway.client().get(SNAPSHOT).expect(200).body == image);
}
