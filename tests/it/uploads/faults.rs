//! Cuts, deaths and sleepers. Seeds are printed; `RSNAP_SEED` replays one.

use std::time::{Duration, Instant};

use super::{SNAPSHOT, begin, bytes_at, check, gateway_on, offset, send_rest, shared};
use crate::support::{Client, Gateway, Image, next, seed};

/// Bytes that may be lost with a gateway: its window, what the sockets hold, and a block.
const AT_RISK: usize = 8 << 20;

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn received(gateway: &Gateway) -> u64 {
    let running = gateway.admin("/transfers").1;
    let running: serde_json::Value = serde_json::from_str(&running).unwrap();
    let list = running.as_array().cloned().or_else(|| running["transfers"].as_array().cloned()).unwrap();
    list.iter().filter_map(|entry| entry["received_bytes"].as_u64()).sum()
}

#[test]
fn cut_anywhere_it_goes_on_there() {
    let mut state = seed();
    let store = shared();
    let gateways = [gateway_on(store.path()), gateway_on(store.path())];
    let clients = gateways.each_ref().map(Gateway::client);
    let bytes = Image::random((6 << 20) + 12_345, 11).bytes;
    let path = begin(&clients[0], bytes.len());
    let (mut before, mut sent, mut cuts) = (0, 0, 0);
    while before < bytes.len() && cuts < 40 {
        let client: &Client = &clients[next(&mut state) as usize % 2];
        let count = (next(&mut state) as usize % 600_000).min(bytes.len() - before);
        let mut pending = client.begin("PATCH", &path, &bytes_at(before, true), bytes.len() - before);
        pending.send(&bytes[before..before + count]).unwrap();
        pending.cut();
        // Another gateway, or the same one: what it tells never goes back. A request that was cut before may still count.
        sent = sent.max(before + count);
        let asked: &Client = &clients[next(&mut state) as usize % 2];
        let now = offset(asked, &path);
        assert!((before..=sent).contains(&now), "{now} after {before} and {count} more");
        (before, cuts) = (now, cuts + 1);
    }
    let answer = send_rest(&clients[0], &path, &bytes);
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    check(&clients[1], &bytes);
}

#[test]
fn a_killed_gateway_loses_one_window_at_most() {
    let store = shared();
    let mut first = gateway_on(store.path());
    let second = gateway_on(store.path());
    let bytes = Image::random(40 << 20, 12).bytes;
    let path = begin(&first.client(), bytes.len());
    let mut sent = 0;
    for size in [17 << 20, 12 << 20] {
        let mut pending = first.client().begin("PATCH", &path, &bytes_at(sent, true), bytes.len() - sent);
        pending.send(&bytes[sent..sent + size]).unwrap();
        wait_until("the gateway does not take it", || received(&first) == size as u64);
        first.restart();
        drop(pending);
        let now = offset(&second.client(), &path);
        assert!(now + AT_RISK >= sent + size, "{now} is durable of {}", sent + size);
        sent = now;
    }
    send_rest(&second.client(), &path, &bytes).expect(201);
    check(&first.client(), &bytes);
}

#[test]
fn a_gateway_that_sleeps_is_overtaken_and_changes_nothing_when_it_wakes_up() {
    let store = shared();
    let (sleeper, other) = (gateway_on(store.path()), gateway_on(store.path()));
    let bytes = Image::random(24 << 20, 13).bytes;
    let path = begin(&sleeper.client(), bytes.len());
    let mut pending = sleeper.client().begin("PATCH", &path, &bytes_at(0, true), bytes.len());
    pending.send(&bytes[..15 << 20]).unwrap();
    wait_until("the gateway does not take it", || received(&sleeper) == 15 << 20);
    sleeper.signal("STOP");
    let client = other.client();
    let now = offset(&client, &path);
    assert!(now + AT_RISK >= 15 << 20, "{now}");
    client.request("PATCH", &path, &bytes_at(now, false), &bytes[now..20 << 20]).expect(204);
    sleeper.signal("CONT");
    // What its own client still sends comes to nothing.
    drop(pending.send(&vec![0xee; bytes.len() - (15 << 20)]));
    if let Ok(answer) = pending.answer() {
        assert!(answer.status >= 400, "{answer:?}");
    }
    assert_eq!(offset(&client, &path), 20 << 20);
    send_rest(&client, &path, &bytes).expect(201);
    check(&sleeper.client(), &bytes);
    check(&client, &bytes);
}

#[test]
fn a_newer_request_ends_the_older_one() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let bytes = Image::random(3 << 20, 14).bytes;
    let path = begin(&client, bytes.len());
    let mut older = client.begin("PATCH", &path, &bytes_at(0, true), bytes.len());
    older.send(&bytes[..1 << 20]).unwrap();
    wait_until("the gateway does not take it", || received(&gateway) == 1 << 20);
    assert_eq!(offset(&client, &path), 1 << 20);
    let mut older = client.begin("PATCH", &path, &bytes_at(1 << 20, true), 2 << 20);
    older.send(&bytes[1 << 20..(1 << 20) + 500]).unwrap();
    wait_until("the gateway does not take it", || received(&gateway) == 500);
    // As from a client that never noticed: it is told where the upload is, and goes on from there.
    let refused = client.request("PATCH", &path, &bytes_at(1 << 20, true), &bytes[1 << 20..]);
    let now = match refused.status {
        409 => super::number(&refused, "upload-offset"),
        other => panic!("{other}: {refused:?}"),
    };
    assert_eq!(now, (1 << 20) + 500);
    client.request("PATCH", &path, &bytes_at(now, true), &bytes[now..]).expect(201);
    check(&client, &bytes);
    assert_eq!(client.chain("v")["snapshots"].as_array().unwrap().len(), 1);
    assert!(client.get(SNAPSHOT).expect(200).body == bytes);
}

/// Whoever asks how far an upload is no longer sends: what he is told stays true.
#[test]
fn a_look_ends_the_request_before_it() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let bytes = Image::random(3 << 20, 16).bytes;
    let path = begin(&client, bytes.len());
    let mut older = client.begin("PATCH", &path, &bytes_at(0, true), bytes.len());
    older.send(&bytes[..1 << 20]).unwrap();
    wait_until("the gateway does not take it", || received(&gateway) == 1 << 20);
    assert_eq!(offset(&client, &path), 1 << 20);
    // It is over, though its connection is whole, and what it sends now comes to nothing.
    drop(older.send(&bytes[1 << 20..]));
    if let Ok(answer) = older.answer() {
        assert!(answer.status >= 400, "{answer:?}");
    }
    assert_eq!(gateway.admin("/transfers").1.trim(), "[]");
    assert_eq!(offset(&client, &path), 1 << 20);
    send_rest(&client, &path, &bytes).expect(201);
    check(&client, &bytes);
}

#[test]
fn a_stop_keeps_what_came() {
    let store = shared();
    let mut first = gateway_on(store.path());
    let second = gateway_on(store.path());
    let bytes = Image::random(2 << 20, 15).bytes;
    let path = begin(&first.client(), bytes.len());
    let mut pending = first.client().begin("PATCH", &path, &bytes_at(0, true), bytes.len());
    pending.send(&bytes[..777_777]).unwrap();
    wait_until("the gateway does not take it", || received(&first) == 777_777);
    first.signal("TERM");
    pending.cut();
    first.wait();
    assert_eq!(offset(&second.client(), &path), 777_777);
    send_rest(&second.client(), &path, &bytes).expect(201);
    check(&second.client(), &bytes);
}
