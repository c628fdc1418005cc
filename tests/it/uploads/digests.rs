//! Bodies whose sender says what they are: until that is compared, nothing that was sent completes an upload.

use super::{begin, bytes_at, check, gateway_on, offset, send_rest, shared};
use crate::support::{Client, Gateway, Image, wait_for};

/// Its digest does not come before the end of the test. Nor does the end.
const LATE: [(&str, &str); 2] = [("Transfer-Encoding", "chunked"), ("Trailer", "Content-Digest")];

fn words(client: &Client, path: &str, version: &'static str, bytes: usize) -> Vec<(&'static str, String)> {
    let mut headers = match version {
        "tus" => vec![
            ("Tus-Resumable", "1.0.0".to_owned()),
            ("Content-Type", "application/offset+octet-stream".to_owned()),
            ("Upload-Offset", "0".to_owned()),
        ],
        version => {
            let mut headers = bytes_at(0, version == "8, the last");
            headers.retain(|(name, _)| *name != "Upload-Draft-Interop-Version");
            headers.push(("Upload-Draft-Interop-Version", version.chars().take(1).collect()));
            headers
        }
    };
    headers.extend(LATE.map(|(name, value)| (name, value.to_owned())));
    assert_eq!((offset(client, path), bytes > 1 << 20), (0, true));
    headers
}

#[test]
fn a_digest_that_was_announced_and_never_came_completes_nothing() {
    let bytes = Image::random((3 << 20) + 5000, 31).bytes;
    for version in ["tus", "6", "8", "8, the last"] {
        let gateway = Gateway::start();
        let client = gateway.client();
        let path = begin(&client, bytes.len());
        let mut pending = client.begin_chunked("PATCH", &path, &words(&client, &path, version, bytes.len()));
        pending.send(format!("{:x}\r\n", bytes.len()).as_bytes()).unwrap();
        pending.send(&bytes).unwrap();
        pending.send(b"\r\n").unwrap();
        wait_for("all bytes", || super::faults::received(&gateway) == bytes.len() as u64);
        let there = offset(&client, &path);
        assert!(there < bytes.len(), "{version}: {there}");
        client.get(super::SNAPSHOT).expect(404);
        drop(pending);
        send_rest(&client, &path, &bytes).expect(201);
        check(&client, &bytes);
    }
}

#[test]
fn a_wrong_digest_inside_a_block_takes_back_what_it_brought() {
    let store = shared();
    wrong_digest_inside_a_block(&gateway_on(store.path()));
}

/// What came before it stays as it was, whoever goes on.
pub fn wrong_digest_inside_a_block(gateway: &Gateway) {
    let client = gateway.client();
    let bytes = Image::random((14 << 20) + 777, 32).bytes;
    let half = (4 << 20) + (500 << 10);
    let path = begin(&client, bytes.len());
    client.request("PATCH", &path, &bytes_at(0, false), &bytes[..half]).expect(204);
    let mut wrong = bytes_at(half, true);
    wrong.push(("Content-Digest", format!("sha-256=:{}=:", "A".repeat(43))));
    let refused = client.request("PATCH", &path, &wrong, &vec![0xee; bytes.len() - half]).expect(422);
    assert_eq!(refused.problem(), "digest-mismatch");
    assert_eq!(offset(&client, &path), half);
    send_rest(&client, &path, &bytes).expect(201);
    check(&client, &bytes);
}
