//! Uploads that are made of several requests, over one gateway or several that share a store.

mod changes;
pub mod digests;
mod draft;
mod faults;
mod foreign;
mod send;
mod tus;

use std::path::Path;

use crate::support::{Answer, Client, Gateway, Options, scratch};

const PARTIAL: &str = "application/partial-upload";
const DIFF: &str = "application/vnd.ceph.rbd-diff";
const SNAPSHOT: &str = "/v1/volumes/v/snapshots/s";

type Headers = Vec<(&'static str, String)>;

/// A directory for a store that gateways share.
fn shared() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("rsnap-uploads-").tempdir_in(scratch()).unwrap()
}

fn gateway_on(store: &Path) -> Gateway {
    let store = format!("kind = \"file\"\npath = \"{}/store\"", store.display());
    Gateway::start_with(&Options { store: Some(store), ..Options::default() })
}

/// Begins an upload of the raw image; gives its path.
fn begin(client: &Client, size: usize) -> String {
    let headers = [("Upload-Complete", "?0".to_owned()), ("Upload-Length", size.to_string())];
    let answer = client.request("POST", SNAPSHOT, &headers, &[]).expect(201);
    answer.header("location").unwrap().to_owned()
}

fn bytes_at(offset: usize, is_last: bool) -> Headers {
    vec![
        ("Content-Type", PARTIAL.to_owned()),
        ("Upload-Draft-Interop-Version", "8".to_owned()),
        ("Upload-Offset", offset.to_string()),
        ("Upload-Complete", if is_last { "?1" } else { "?0" }.to_owned()),
    ]
}

fn offset(client: &Client, path: &str) -> usize {
    let answer = client.request("HEAD", path, &[], &[]).expect(204);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let limit = answer.header("upload-limit").unwrap();
    assert!(limit.contains("max-size="));
    // Whoever works on it has the whole time from then on; half of it is slack for a slow machine.
    let (_, age) = limit.split_once("max-age=").unwrap();
    let week = 7 * 24 * 3600;
    assert!((week / 2..=week).contains(&age.parse::<u64>().unwrap()), "{limit}");
    number(&answer, "upload-offset")
}

fn number(answer: &Answer, name: &str) -> usize {
    answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}")).parse().unwrap()
}

/// Sends all that is missing, in one request.
fn send_rest(client: &Client, path: &str, bytes: &[u8]) -> Answer {
    // A request that was cut before may still count between the question and the bytes: then the gateway tells how far.
    loop {
        let offset = offset(client, path);
        let answer = client.request("PATCH", path, &bytes_at(offset, true), &bytes[offset..]);
        if answer.status != 409 || !String::from_utf8_lossy(&answer.body).contains("mismatching-upload-offset") {
            return answer;
        }
    }
}

fn check(client: &Client, bytes: &[u8]) {
    assert!(client.get(SNAPSHOT).expect(200).body == bytes, "the snapshot is not what was sent");
}
