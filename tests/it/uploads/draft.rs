//! The IETF draft as a client meets it.

use super::{SNAPSHOT, begin, bytes_at, check, number, offset, send_rest};
use crate::support::{Gateway, Image, Upload};

#[test]
fn an_upload_in_parts_of_any_length() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let bytes = Image::random((3 << 20) + 777, 1).bytes;
    let offered = client.request("OPTIONS", SNAPSHOT, &[], &[]).expect(204);
    assert_eq!(offered.header("accept-patch"), Some("application/partial-upload"));
    let path = begin(&client, bytes.len());
    assert!(path.starts_with(&format!("{SNAPSHOT}/uploads/")), "{path}");
    let mut start = 0;
    for end in [1, 5000, (1 << 20) + 3, 3 << 20] {
        let answer = client.request("PATCH", &path, &bytes_at(start, false), &bytes[start..end]).expect(204);
        assert_eq!((number(&answer, "upload-offset"), answer.header("upload-complete")), (end, Some("?0")));
        assert_eq!(offset(&client, &path), end);
        client.get(SNAPSHOT).expect(404);
        start = end;
    }
    let answer = client.request("PATCH", &path, &bytes_at(start, true), &bytes[start..]).expect(201);
    assert_eq!(answer.header("upload-complete"), Some("?1"));
    assert_eq!(answer.json()["size"], bytes.len());
    check(&client, &bytes);
    // Whoever missed the answer finds out, and may ask again.
    let finished = client.request("HEAD", &path, &[], &[]).expect(204);
    assert_eq!((finished.header("upload-complete"), number(&finished, "upload-offset")), (Some("?1"), bytes.len()));
    client.request("PATCH", &path, &bytes_at(bytes.len(), true), &[]).expect(200);
    let more = client.request("PATCH", &path, &bytes_at(bytes.len(), false), b"more").expect(410);
    assert_eq!(more.problem(), "completed-upload");
}

#[test]
fn one_request_may_bring_all_and_a_put_may_begin() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let bytes = Image::random(100_000, 2).bytes;
    let all = [("Upload-Complete", "?1".to_owned())];
    client.request("POST", SNAPSHOT, &all, &bytes).expect(201);
    check(&client, &bytes);
    let other = "/v1/volumes/v/snapshots/other";
    let first = [("Upload-Complete", "?0".to_owned()), ("Upload-Length", bytes.len().to_string())];
    let answer = client.request("PUT", other, &first, &bytes[..40_000]).expect(201);
    let path = answer.header("location").unwrap().to_owned();
    assert_eq!(number(&answer, "upload-offset"), 40_000);
    send_rest(&client, &path, &bytes).expect(201);
    assert!(client.get(other).expect(200).body == bytes);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_lost() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let bytes = Image::random(2 << 20, 3).bytes;
    let path = begin(&client, bytes.len());
    client.request("PATCH", &path, &bytes_at(0, false), &bytes[..70_000]).expect(204);
    for wrong in [0, 69_999, 70_001, bytes.len()] {
        let answer = client.request("PATCH", &path, &bytes_at(wrong, false), b"x").expect(409);
        assert_eq!(
            (answer.problem().as_str(), number(&answer, "upload-offset")),
            ("mismatching-upload-offset", 70_000)
        );
        let problem = answer.json();
        assert_eq!((&problem["expected-offset"], &problem["provided-offset"]), (&70_000.into(), &wrong.into()));
    }
    let early = client.request("PATCH", &path, &bytes_at(70_000, true), &[]).expect(409);
    assert_eq!(early.problem(), "upload-incomplete");
    let short = client.request("PATCH", &path, &bytes_at(70_000, true), b"x").expect(400);
    assert_eq!(short.problem(), "inconsistent-upload-length");
    let rest = bytes.len() - 70_000;
    let long = client.request("PATCH", &path, &bytes_at(70_000, false), &vec![7; rest + 1]).expect(400);
    assert_eq!(long.problem(), "inconsistent-upload-length");
    let mut headers = bytes_at(70_000, false);
    headers.push(("Upload-Length", "5".to_owned()));
    assert_eq!(client.request("PATCH", &path, &headers, b"x").expect(400).problem(), "inconsistent-upload-length");
    for (name, value, status) in [
        ("Upload-Draft-Interop-Version", "5", 400),
        ("Content-Type", "text/plain", 415),
        ("Upload-Offset", "+70000", 400),
        ("Upload-Complete", "yes", 400),
    ] {
        let mut headers = bytes_at(70_000, false);
        headers.retain(|(key, _)| *key != name);
        headers.push((name, value.to_owned()));
        client.request("PATCH", &path, &headers, b"x").expect(status);
    }
    let mut digested = bytes_at(70_000, false);
    digested.push(("Repr-Digest", "sha-256=:AAAA:".to_owned()));
    client.request("PATCH", &path, &digested, b"x").expect(400);
    let mut wrong = bytes_at(offset(&client, &path), false);
    wrong.push(("Content-Digest", format!("sha-256=:{}=:", "A".repeat(43))));
    let before = offset(&client, &path);
    client.request("PATCH", &path, &wrong, &bytes[before..before + 5000]).expect(422);
    assert_eq!(offset(&client, &path), before);
    // The bytes of the request that was too long were the first that were wanted there.
    client.request("DELETE", &path, &[], &[]).expect(204);
    assert_eq!(client.request("GET", &path, &[], &[]).expect(404).problem(), "no-upload");
    client.request("PATCH", &path, &bytes_at(before, false), b"x").expect(404);
    let again = begin(&client, bytes.len());
    send_rest(&client, &again, &bytes).expect(201);
    check(&client, &bytes);
}

#[test]
fn an_upload_belongs_to_its_snapshot_and_to_who_may_write_it() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let path = begin(&client, 5000);
    let id = path.rsplit('/').next().unwrap();
    for other in ["/v1/volumes/v/snapshots/t", "/v1/volumes/w/snapshots/s"] {
        client.request("HEAD", &format!("{other}/uploads/{id}"), &[], &[]).expect(404);
        client.request("PATCH", &format!("{other}/uploads/{id}"), &bytes_at(0, false), b"x").expect(404);
    }
    let ticket =
        client.get("/server?volume=v&snapshot=t&size=5000").expect(200).json()["ticket"].as_str().unwrap().to_owned();
    let stranger = client.with_token(&ticket);
    for method in ["GET", "HEAD", "PATCH", "DELETE"] {
        stranger.request(method, &path, &bytes_at(0, false), &[]).expect(403);
    }
    client.with_token("").request("HEAD", &path, &[], &[]).expect(401);
    // A new one takes the place of the old one.
    let newer = begin(&client, 5000);
    client.request("HEAD", &path, &[], &[]).expect(404);
    send_rest(&client, &newer, &[9; 5000]).expect(201);
    // Whatever its content, a snapshot that is there is not begun again.
    let headers = [("Upload-Complete", "?0".to_owned()), ("Upload-Length", "5000".to_owned())];
    assert_eq!(client.request("POST", SNAPSHOT, &headers, &[]).expect(409).problem(), "exists");
    let put = Upload { path: SNAPSHOT.to_owned(), body: &[9; 5000], ..Upload::default() };
    client.put(&put).expect(200);
}
