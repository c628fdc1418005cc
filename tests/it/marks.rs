//! A mark is the word of whoever gave it: it proves a base to the same account, by whatever ticket, and to no other.

use std::fs;

use serde_json::json;

use crate::support::{Answer, Client, Diff, Gateway, Image, Options, Upload};

const DIFF: &str = "application/vnd.ceph.rbd-diff";
const MARK: &str = "rbd:f/1/i@5";
const SIZE: u64 = 1 << 20;

/// A gateway that two senders have tokens of.
fn gateway(folder: &std::path::Path) -> Gateway {
    let file = |name: &str| {
        let file = folder.join(name);
        fs::write(&file, name.repeat(10)).unwrap();
        file
    };
    let (one, two, key) = (file("one-token"), file("two-token"), file("the-key"));
    let extra = format!(
        "[auth]\ntokens = [{{ name = \"one\", role = \"operator\", file = {one:?} }}, {{ name = \"two\", role = \
         \"operator\", file = {two:?} }}]\nticket_keys = [{{ id = \"k1\", file = {key:?} }}]\n"
    );
    Gateway::start_with(&Options { extra, ..Options::default() })
}

/// The same caller with a new ticket for one snapshot.
fn ticketed(client: &Client, snapshot: &str) -> Client {
    let path = format!("/server?volume=v&snapshot={snapshot}&size={SIZE}");
    client.with_token(client.get(&path).expect(200).json()["ticket"].as_str().unwrap())
}

fn plan(client: &Client, snapshot: &str, root: Option<&str>) -> serde_json::Value {
    let mut base = json!({ "id": "s1", "size": SIZE, "mark": MARK });
    if let Some(root) = root {
        base["root"] = root.into();
    }
    let body = json!({ "wanted": "s2", "chain": [base, { "id": "s2", "size": SIZE, "mark": "rbd:f/1/i@6" }] });
    let path = format!("/v1/volumes/v/snapshots/{snapshot}/plan");
    client.request("POST", &path, &[], body.to_string().as_bytes()).expect(200).json()
}

fn put(client: &Client, snapshot: &str, body: &[u8], headers: &[(&'static str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let path = format!("/v1/volumes/v/snapshots/{snapshot}");
    client.put(&Upload { path, content_type: Some(DIFF), headers, body, ..Upload::default() })
}

#[test]
fn a_mark_proves_a_base_to_who_gave_it_and_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(folder.path());
    let client = |name: &str| Client::new(gateway.address, &gateway.certificate(), name.repeat(10));
    let (one, two) = (client("one-token"), client("two-token"));
    let image = Image::random(SIZE as usize, 71);
    let full = Diff::full("s1", &image.bytes);
    let committed = put(&ticketed(&one, "t1"), "t1", &full, &[("rsnap-source-mark", MARK)]).expect(201).json();
    let root = committed["root"].as_str().unwrap();
    let change = Diff::new(Some("s1"), Some("s2"), SIZE).write(4096, b"x").end();
    let base = [("rsnap-base", "t1"), ("rsnap-base-mark", MARK)];

    for snapshot in ["t2", "t3"] {
        let planned = plan(&ticketed(&two, snapshot), snapshot, None);
        assert_eq!((&planned["action"], &planned["proven"]), (&json!("full"), &json!(false)), "{planned}");
        assert_eq!(put(&ticketed(&two, snapshot), snapshot, &change, &base).expect(409).problem(), "base-mismatch");
        assert_eq!(put(&two, snapshot, &change, &base).expect(409).problem(), "base-mismatch");
    }
    // Who knows the content needs no mark, and who gave the mark is known by any ticket and by his token.
    assert_eq!(plan(&ticketed(&two, "t2"), "t2", Some(root))["action"], "incremental");
    let named = [base[0], base[1], ("rsnap-base-root", root)];
    put(&ticketed(&two, "t2"), "t2", &change, &named).expect(201);
    for client in [ticketed(&one, "t3"), one.clone()] {
        let planned = plan(&client, "t3", None);
        assert_eq!((&planned["action"], &planned["proven"]), (&json!("incremental"), &json!(true)), "{planned}");
    }
    put(&ticketed(&one, "t3"), "t3", &change, &base).expect(201);
    // What is there already is not there for another sender because of its mark: the body is taken and compared.
    put(&one, "t1", b"", &[("rsnap-source-mark", MARK)]).expect(200);
    assert_eq!(put(&two, "t1", b"", &[("rsnap-source-mark", MARK)]).status, 400);
}
