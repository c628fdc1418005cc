//! The shipped configurations of the balancer, with the real HAProxy and real gateways.

use crate::mutual_tls::spoken;
use crate::support::{Image, Upload, wait_for};

use super::balancer::{Balancer, VARIANTS, command};
use super::site::{CINDER, Site};

const SIZE: usize = 24 << 20;
/// What the questions before and after a transfer cost at most, TLS included.
const QUESTIONS: u64 = 200_000;

#[test]
fn the_files_are_valid() {
    let site = Site::start(0, "");
    for variant in VARIANTS {
        let output = command(&site, variant, "127.0.0.1:1".parse().unwrap()).arg("-c").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("WARNING"), "{variant}: {said}");
    }
}

#[test]
fn only_the_question_goes_through_when_tls_is_passed_through() {
    only_the_question_goes_through("passthrough");
}

#[test]
fn only_the_question_goes_through_when_tls_ends_at_the_balancer() {
    only_the_question_goes_through("termination");
}

/// Asks at the balancer, sends straight to the gateway that was named; then, for comparison, sends through the balancer.
fn only_the_question_goes_through(variant: &str) {
    let site = Site::start(3, "");
    let balancer = Balancer::start(&site, variant);
    let image = Image::random(SIZE, 91);
    let file = site.path("image.raw");
    std::fs::write(&file, &image.bytes).unwrap();
    let client = site.client(balancer.address);

    let sent = site
        .caller(balancer.address)
        .command(&["send", file.to_str().unwrap(), "--volume", "v", "--snapshot", "straight"])
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(site.received(), SIZE as u64);
    client.get("/server").expect(200);
    let questions = balancer.bytes();
    println!("{variant}: {questions} bytes through the balancer for a snapshot of {SIZE}");
    assert!((1..QUESTIONS).contains(&questions), "{questions} bytes went through the balancer");

    let path = "/v1/volumes/v/snapshots/through".to_owned();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &image.bytes);
    let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    let upload = Upload {
        path: path.clone(),
        body: &image.bytes,
        headers: vec![("Content-Type", "application/vnd.ceph.rbd-diff".to_owned())],
        ..Upload::default()
    };
    let diff = crate::support::Diff::full("through", &image.bytes);
    let wrong = vec![("Content-Digest", format!("sha-256=:{digest}:"))];
    let with_trailer = Upload { chunked: true, body: &diff, trailers: wrong, ..upload.clone() };
    assert_eq!(client.put(&with_trailer).problem(), "digest-mismatch", "the trailer did not arrive");
    client.put(&Upload { body: &diff, ..upload }).expect(201);
    wait_for("the count of what went through", || balancer.bytes() > questions + 2 * SIZE as u64);
    assert!(client.get(&path).expect(200).body == image.bytes);
}

#[test]
fn what_runs_through_the_balancer_finishes_at_a_gateway_that_stops() {
    for variant in VARIANTS {
        let mut site = Site::start(3, "drain_notice = \"2s\"\ndrain_timeout = \"120s\"\n");
        let balancer = Balancer::start(&site, variant);
        let client = site.client(balancer.address);
        let image = Image::random(2 << 20, 92);
        let upload = Upload { path: "/v1/volumes/v/snapshots/s".to_owned(), body: &image.bytes, ..Upload::default() };
        let mut put = client.begin_put(&upload);
        put.send(&image.bytes[..1 << 20]).unwrap();
        wait_for("the transfer", || site.receiver("v").is_some());
        let receiver = site.receiver("v").unwrap();
        site.gateways[receiver].signal("TERM");
        wait_for("the removal of the gateway", || !balancer.is_up(receiver));
        wait_for("the end of its listener", || std::net::TcpStream::connect(site.gateways[receiver].address).is_err());
        for _ in 0..10 {
            let named = client.get("/server").expect(200).json()["server"].clone();
            assert_ne!(named, site.gateways[receiver].address.to_string());
        }
        put.send(&image.bytes[1 << 20..]).unwrap();
        put.answer().unwrap().expect(201);
        assert!(site.gateways[receiver].wait().success());
        site.gateways[receiver].restart();
        wait_for("the return of the gateway", || balancer.is_up(receiver));
    }
}

#[test]
fn a_certificate_reaches_the_gateway_when_tls_is_passed_through_and_ends_where_tls_ends() {
    let site = Site::start(3, "");
    let pair = site.authority.issue_client(&[CINDER]);
    let audit = || -> String {
        let logs = site.gateways.iter().map(|gateway| std::fs::read_to_string(gateway.data.join("audit.log")).unwrap());
        logs.collect()
    };
    let asked = "/server?volume=v&snapshot=s&size=4096";
    for variant in VARIANTS {
        let balancer = Balancer::start(&site, variant);
        let token = site.client(balancer.address);
        let client = token.showing(&pair.certificate, &pair.key);
        match variant {
            "passthrough" => {
                client.get(asked).expect(200);
                assert!(audit().contains("\"certificate:cinder\""), "{}", audit());
            }
            _ => assert_eq!(client.get(asked).expect(401).problem(), "unauthorized"),
        }
        for (name, value) in spoken(&pair) {
            let answer = token.with_token("").request("GET", asked, &[(name, value)], &[]);
            assert_eq!(answer.expect(401).problem(), "unauthorized", "{variant}: {name}");
        }
        token.get(asked).expect(200);
    }
}
