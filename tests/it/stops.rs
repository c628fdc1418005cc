//! Stopping, and peers that say nothing: neither may cost a transfer that is on its way.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::{Gateway, Image, Options, Upload, wait_for};

const PATH: &str = "/v1/volumes/v/snapshots/s";

fn draining(timeout: &str) -> Options {
    Options { listen: format!("drain_notice = \"500ms\"\ndrain_timeout = \"{timeout}\"\n"), ..Options::default() }
}

/// Sends the head and half of the body, and gives what sends the rest and reads the answer.
fn half_sent<'a>(gateway: &Gateway, image: &'a Image) -> impl FnOnce() -> std::io::Result<u16> + use<'a> {
    let upload = Upload { path: PATH.to_owned(), body: &image.bytes, ..Upload::default() };
    let mut put = gateway.client().begin_put(&upload);
    let half = image.bytes.len() / 2;
    put.send(&image.bytes[..half]).unwrap();
    move || {
        put.send(&image.bytes[half..])?;
        put.answer().map(|answer| answer.status)
    }
}

#[test]
fn a_stop_lets_a_running_transfer_finish() {
    let mut gateway = Gateway::start_with(&draining("60s"));
    let image = Image::random(4 << 20, 51);
    let finish = half_sent(&gateway, &image);
    wait_for("the transfer", || gateway.admin("/transfers").1.contains("\"s\""));
    gateway.signal("TERM");
    wait_for("unreadiness", || gateway.admin("/readyz").0 == 503);
    wait_for("the listener's end", || TcpStream::connect(gateway.address).is_err());
    assert!(gateway.is_running());
    assert_eq!(finish().unwrap(), 201);
    assert!(gateway.wait().success());
    gateway.restart();
    assert!(gateway.client().get(PATH).expect(200).body == image.bytes);
}

#[test]
fn a_transfer_that_outlasts_the_drain_is_told_to_go_elsewhere_and_commits_nothing() {
    let mut gateway = Gateway::start_with(&draining("1s"));
    let image = Image::random(4 << 20, 52);
    let upload = Upload { path: PATH.to_owned(), body: &image.bytes, ..Upload::default() };
    let mut put = gateway.client().begin_put(&upload);
    put.send(&image.bytes[..image.bytes.len() / 2]).unwrap();
    wait_for("the transfer", || gateway.admin("/transfers").1.contains("\"s\""));
    gateway.signal("TERM");
    let answer = put.answer().unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (503, "stopping"));
    assert!(answer.header("retry-after").is_some());
    assert!(gateway.wait().success());
    gateway.restart();
    assert_eq!(gateway.client().chain("v")["snapshots"], serde_json::json!([]));
    gateway.client().put(&upload).expect(201);
}

#[test]
fn a_thousand_silent_peers_stop_nobody() {
    let gateway = Gateway::start();
    let image = Image::random(4 << 20, 53);
    let finish = half_sent(&gateway, &image);
    let mut silent: Vec<TcpStream> = (0..1000).map(|_| TcpStream::connect(gateway.address).unwrap()).collect();
    for (number, peer) in silent.iter_mut().enumerate() {
        // Half of them begin a TLS handshake that never ends.
        if number % 2 == 0 {
            peer.write_all(&[0x16, 0x03, 0x01]).unwrap();
        }
    }
    assert_eq!(finish().unwrap(), 201);
    assert!(gateway.client().get(PATH).expect(200).body == image.bytes);
    assert_eq!(gateway.admin("/readyz").0, 200);
}
