//! tus 1.0 as a client meets it.

use super::{Headers, SNAPSHOT, check, number};
use crate::support::{Answer, Client, Gateway, Image, Options};

const VERSION: (&str, &str) = ("Tus-Resumable", "1.0.0");
const BYTES: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

fn headers(lines: &[(&'static str, &str)]) -> Headers {
    lines.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn ask(client: &Client, method: &str, path: &str, more: &[(&'static str, &str)], body: &[u8]) -> Answer {
    let answer = client.request(method, path, &headers(&[&[VERSION], more].concat()), body);
    assert_eq!(answer.header("tus-resumable"), Some("1.0.0"), "{answer:?}");
    answer
}

fn begin(client: &Client, size: usize) -> String {
    let more = [("Upload-Length", &*size.to_string()), ("Upload-Metadata", "filename d29ybGQ=,is_secret")];
    let answer = ask(client, "POST", SNAPSHOT, &more, &[]).expect(201);
    assert!(answer.header("upload-expires").unwrap().ends_with(" GMT"));
    answer.header("location").unwrap().to_owned()
}

fn add(client: &Client, path: &str, offset: usize, body: &[u8]) -> Answer {
    ask(client, "PATCH", path, &[BYTES, ("Upload-Offset", &offset.to_string())], body)
}

#[test]
fn an_upload_in_parts_is_committed_with_its_last_byte() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let bytes = Image::random((2 << 20) + 77, 1).bytes;
    let offered = client.request("OPTIONS", SNAPSHOT, &[], &[]).expect(204);
    assert_eq!(offered.header("tus-version"), Some("1.0.0"));
    assert_eq!(offered.header("tus-extension"), Some("creation,creation-with-upload,expiration,termination"));
    assert!(number(&offered, "tus-max-size") >= 1 << 40);
    let path = begin(&client, bytes.len());
    let mut start = 0;
    for end in [1, 5000, (1 << 20) + 3] {
        let answer = add(&client, &path, start, &bytes[start..end]).expect(204);
        assert_eq!(number(&answer, "upload-offset"), end);
        let there = ask(&client, "HEAD", &path, &[], &[]).expect(204);
        assert_eq!((number(&there, "upload-offset"), number(&there, "upload-length")), (end, bytes.len()));
        assert_eq!(there.header("upload-metadata"), Some("filename d29ybGQ=,is_secret"));
        assert_eq!(there.header("cache-control"), Some("no-store"));
        client.get(SNAPSHOT).expect(404);
        start = end;
    }
    let last = add(&client, &path, start, &bytes[start..]).expect(204);
    assert_eq!(number(&last, "upload-offset"), bytes.len());
    check(&client, &bytes);
    // Whoever missed the answer finds out, and may send nothing once more.
    assert_eq!(number(&ask(&client, "HEAD", &path, &[], &[]).expect(204), "upload-offset"), bytes.len());
    assert_eq!(number(&add(&client, &path, bytes.len(), &[]).expect(204), "upload-offset"), bytes.len());
    assert_eq!(add(&client, &path, bytes.len(), b"more").expect(410).problem(), "completed-upload");
}

#[test]
fn a_creation_may_bring_bytes_and_a_termination_ends_it() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let bytes = Image::random(100_000, 2).bytes;
    let length = ("Upload-Length", "100000");
    let part = ask(&client, "POST", SNAPSHOT, &[BYTES, length], &bytes[..40_000]).expect(201);
    assert_eq!(number(&part, "upload-offset"), 40_000);
    let path = part.header("location").unwrap();
    ask(&client, "DELETE", path, &[], &[]).expect(204);
    ask(&client, "HEAD", path, &[], &[]).expect(404);
    client.get(SNAPSHOT).expect(404);
    let all = ask(&client, "POST", SNAPSHOT, &[BYTES, length], &bytes).expect(201);
    assert_eq!(number(&all, "upload-offset"), bytes.len());
    check(&client, &bytes);
    assert_eq!(ask(&client, "POST", SNAPSHOT, &[BYTES, length], &bytes).expect(409).problem(), "exists");
}

#[test]
fn what_is_not_tus_is_refused() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let path = begin(&client, 5000);
    for (method, path) in [("POST", SNAPSHOT), ("HEAD", &path), ("PATCH", &path)] {
        let answer = client.request(method, path, &headers(&[("Tus-Resumable", "0.2.2"), BYTES]), &[]).expect(412);
        assert_eq!((answer.header("tus-version"), answer.header("upload-offset")), (Some("1.0.0"), None));
    }
    for (more, status, problem) in [
        (vec![("Upload-Length", "5000"), ("Upload-Metadata", "a YQ==,a YQ==")], 400, "bad-request"),
        (vec![("Upload-Length", "5000"), ("Upload-Metadata", "a !!")], 400, "bad-request"),
        (vec![("Upload-Concat", "partial"), ("Upload-Length", "2500")], 400, "bad-request"),
        (vec![("Upload-Concat", "final;/a /b")], 411, "length-required"),
        (vec![("Upload-Defer-Length", "1"), ("Upload-Length", "5000")], 400, "bad-request"),
        (vec![], 411, "length-required"),
    ] {
        assert_eq!(ask(&client, "POST", SNAPSHOT, &more, &[]).expect(status).problem(), problem, "{more:?}");
    }
    let plain = [("Content-Type", "application/octet-stream"), ("Upload-Offset", "0")];
    assert_eq!(ask(&client, "PATCH", &path, &plain, b"x").expect(415).problem(), "unsupported-media-type");
    assert_eq!(ask(&client, "PATCH", &path, &[BYTES], b"x").expect(400).problem(), "bad-request");
    let wrong = add(&client, &path, 1, b"x").expect(409);
    assert_eq!((wrong.problem().as_str(), number(&wrong, "upload-offset")), ("mismatching-upload-offset", 0));
    assert_eq!(add(&client, &path, 0, &[1; 5001]).expect(400).problem(), "inconsistent-upload-length");
    let without = headers(&[BYTES, ("Upload-Offset", "0")]);
    assert_eq!(client.request("PATCH", &path, &without, b"x").expect(400).problem(), "bad-request");
    ask(&client.with_token("wrong"), "HEAD", &path, &[], &[]).expect(401);
    // For those who cannot say PATCH.
    let now = number(&ask(&client, "HEAD", &path, &[], &[]).expect(204), "upload-offset");
    let offset = now.to_string();
    let said = [BYTES, ("Upload-Offset", &offset), ("X-HTTP-Method-Override", "PATCH")];
    let rest = vec![1; 5000 - now];
    ask(&client, "POST", &path, &said, &rest).expect(204);
    assert_eq!(client.get(SNAPSHOT).expect(200).body.len(), 5000);
    ask(&client, "POST", &path, &[("X-HTTP-Method-Override", "PUT")], &[]).expect(405);
}

/// All bytes are there and the commit fails: no answer looks as if it had been done, whoever asks.
#[test]
fn a_commit_that_fails_is_told() {
    let gateway = Gateway::start_with(&Options::default());
    let client = gateway.client();
    let bytes = Image::random(200_000, 3).bytes;
    let length = ("Upload-Length", "200000");
    let wrong = format!("rsnap1:{}", "0".repeat(64));
    let begun = ask(&client, "POST", SNAPSHOT, &[length, ("Rsnap-Content-Root", &wrong)], &[]).expect(201);
    let path = begun.header("location").unwrap();
    assert_eq!(add(&client, path, 0, &bytes).expect(422).problem(), "digest-mismatch");
    let asked = ask(&client, "HEAD", path, &[], &[]);
    assert!(asked.status >= 400 && asked.header("upload-offset").is_none(), "{asked:?}");
    client.get(SNAPSHOT).expect(404);
}

/// A gateway that died between the last byte and the commit: whoever asks waits for the commit.
#[test]
fn an_upload_that_is_whole_is_committed_when_it_is_asked_for() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let bytes = Image::random(300_000, 4).bytes;
    for (snapshot, more) in [("t", VERSION), ("u", ("Upload-Draft-Interop-Version", "6"))] {
        let path = format!("/v1/volumes/v/snapshots/{snapshot}");
        let first = headers(&[("Upload-Complete", "?0"), ("Upload-Length", "300000")]);
        let begun = client.request("POST", &path, &first, &bytes).expect(201);
        let upload = begun.header("location").unwrap();
        // The draft's last word has not been said.
        let asked = client.request("HEAD", upload, &[], &[]).expect(204);
        assert_eq!((number(&asked, "upload-offset"), asked.header("upload-complete")), (bytes.len(), Some("?0")));
        client.get(&path).expect(404);
        let asked = client.request("HEAD", upload, &headers(&[more]), &[]).expect(204);
        assert_eq!((number(&asked, "upload-offset"), asked.header("upload-complete")), (bytes.len(), Some("?1")));
        assert!(client.get(&path).expect(200).body == bytes);
    }
}
