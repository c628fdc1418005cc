//! Changes in several ranges at once.

use super::{DIFF, Headers, SNAPSHOT, bytes_at, check, gateway_on, shared};
use crate::support::{Answer, Client, Diff, Gateway, Image, Upload};

const MIB: usize = 1 << 20;

fn begin(client: &Client, size: usize, base: Option<&str>) -> String {
    let mut headers = vec![
        ("Upload-Complete", "?0".to_owned()),
        ("Upload-Length", size.to_string()),
        ("Content-Type", DIFF.to_owned()),
    ];
    headers.extend(base.map(|base| ("Rsnap-Base", base.to_owned())));
    client.request("POST", SNAPSHOT, &headers, &[]).expect(201).header("location").unwrap().to_owned()
}

/// The changes of one range.
fn piece(old: Option<&[u8]>, new: &[u8], range: std::ops::Range<usize>) -> (Headers, Vec<u8>) {
    let mut diff = Diff::new(old.map(|_| "s0"), Some("s"), new.len() as u64);
    let mut position = range.start;
    while position < range.end {
        let end = (position + 9999).min(range.end);
        let (piece, before) = (&new[position..end], old.and_then(|old| old.get(position..end)));
        if before != Some(piece) {
            diff = diff.write(position as u64, piece);
        }
        position = end;
    }
    let range = format!("{}-{}", range.start, range.end);
    (vec![("Content-Type", DIFF.to_owned()), ("Rsnap-Range", range)], diff.end())
}

fn add(client: &Client, path: &str, old: Option<&[u8]>, new: &[u8], range: std::ops::Range<usize>) -> Answer {
    let (headers, body) = piece(old, new, range);
    client.request("PATCH", path, &headers, &body)
}

fn durable(client: &Client, path: &str) -> serde_json::Value {
    client.get(path).expect(200).json()["durable"].clone()
}

#[test]
fn ranges_come_side_by_side_and_through_several_gateways() {
    let store = shared();
    let gateways = [gateway_on(store.path()), gateway_on(store.path())];
    let clients = [gateways[0].client(), gateways[1].client()];
    let old = Image::random(6 * MIB + 100, 5);
    let new = old.changed(6, 40);
    let put = Upload { path: "/v1/volumes/v/snapshots/s0".to_owned(), body: &old.bytes, ..Upload::default() };
    clients[0].put(&put).expect(201);
    let path = begin(&clients[0], new.bytes.len(), Some("s0"));
    std::thread::scope(|scope| {
        for range in [5 * MIB..new.bytes.len(), 0..2 * MIB, 3 * MIB..5 * MIB] {
            let (client, path, old, new) = (&clients[1], &path, &old.bytes, &new.bytes);
            scope.spawn(move || add(client, path, Some(old), new, range).expect(204));
        }
    });
    let there = serde_json::json!([{"start": 0, "end": 2 * MIB}, {"start": 3 * MIB, "end": new.bytes.len()}]);
    assert_eq!(durable(&clients[0], &path), there);
    let again = add(&clients[0], &path, Some(&old.bytes), &new.bytes, 4 * MIB..5 * MIB).expect(409);
    assert_eq!(again.problem(), "upload-range");
    let early = clients[0].request("PATCH", &path, &bytes_at(2 * MIB, true), &[]).expect(409);
    assert_eq!(early.problem(), "upload-incomplete");
    add(&clients[0], &path, Some(&old.bytes), &new.bytes, 2 * MIB..3 * MIB).expect(204);
    let done = clients[1].request("PATCH", &path, &bytes_at(new.bytes.len(), true), &[]).expect(201).json();
    assert_eq!(done["base"], "s0");
    assert!(done["stored"].as_u64().unwrap() < new.bytes.len() as u64 / 2, "{done}");
    check(&clients[0], &new.bytes);
}

#[test]
fn the_content_root_decides_at_the_end() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let new = Image::random(2 * MIB, 8).bytes;
    let other = "/v1/volumes/other/snapshots/s";
    let put = Upload { path: other.to_owned(), body: &new, ..Upload::default() };
    let root = client.put(&put).expect(201).json()["root"].as_str().unwrap().to_owned();
    for is_right in [false, true] {
        let path = begin(&client, new.len(), None);
        let mut sent = new.clone();
        sent[77_777] ^= u8::from(!is_right);
        add(&client, &path, None, &sent, 0..sent.len()).expect(204);
        let mut headers = bytes_at(sent.len(), true);
        headers.push(("Rsnap-Content-Root", root.clone()));
        let answer = client.request("PATCH", &path, &headers, &[]);
        if is_right {
            answer.expect(201);
        } else {
            assert_eq!(answer.expect(422).problem(), "digest-mismatch");
            // Nothing can come of it any more, so it is gone.
            client.get(&path).expect(404);
        }
    }
    check(&client, &new);
}

#[test]
fn pieces_that_break_the_rules_are_refused() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let new = Image::random(2 * MIB + 5, 9).bytes;
    let path = begin(&client, new.len(), None);
    for range in [0..MIB + 1, 5..MIB, MIB..MIB, 2 * MIB..3 * MIB, 0..4 * MIB] {
        let (mut headers, body) = piece(None, &new, 0..MIB);
        headers[1].1 = format!("{}-{}", range.start, range.end);
        client.request("PATCH", &path, &headers, &body).expect(400);
    }
    let (headers, body) = piece(None, &new, 0..MIB);
    for (name, status, body) in [
        (
            "an extent outside of the range",
            400,
            Diff::new(None, Some("s"), new.len() as u64).write(MIB as u64, b"x").end(),
        ),
        ("another size", 422, Diff::new(None, Some("s"), 5).end()),
        ("a base that the upload has not", 409, Diff::new(Some("s0"), Some("s"), new.len() as u64).end()),
        ("no end", 400, body[..body.len() / 2].to_vec()),
        ("no diff", 400, vec![1; 5000]),
    ] {
        assert_eq!(client.request("PATCH", &path, &headers, &body).status, status, "{name}");
    }
    client.request("PATCH", &path, &[("Content-Type", DIFF.to_owned())], b"x").expect(400);
    let mut digested = headers.clone();
    digested.push(("Content-Digest", format!("sha-256=:{}=:", "A".repeat(43))));
    client.request("PATCH", &path, &digested, &body).expect(422);
    assert_eq!(durable(&client, &path), serde_json::json!([]));
    client.request("PATCH", &path, &headers, &body).expect(204);
    add(&client, &path, None, &new, MIB..new.len()).expect(204);
    client.request("PATCH", &path, &bytes_at(new.len(), true), &[]).expect(201);
    check(&client, &new);
    let whole = client.request(
        "POST",
        "/v1/volumes/v/snapshots/t",
        &[("Content-Type", DIFF.to_owned()), ("Upload-Complete", "?0".to_owned()), ("Upload-Length", "5".to_owned())],
        b"x",
    );
    whole.expect(400);
}
