//! Certificates, tokens and keys that change while the gateway serves.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::authority::Authority;
use crate::support::{Client, Gateway, Image, Options, Upload, wait_for};

const NAMES: [&str; 2] = ["gw.example", "127.0.0.1"];
const PATH: &str = "/v1/volumes/v/snapshots/s";
const TOKEN: &str = "the-first-token-of-enough-length";

/// A gateway with a certificate and a token from files that the test can change.
struct Renewed {
    gateway: Gateway,
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Renewed {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        let path = |name| folder.path().join(name);
        authority.issue(&NAMES).write(&path("gateway.pem"), &path("gateway.key"));
        fs::write(path("token"), TOKEN).unwrap();
        fs::write(path("ticket.key"), "k".repeat(40)).unwrap();
        let extra = format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\n[auth]\n\
             tokens = [{{ name = \"root\", role = \"operator\", file = {:?} }}]\n\
             ticket_keys = [{{ id = \"k1\", file = {:?} }}]\n",
            path("gateway.pem"),
            path("gateway.key"),
            path("token"),
            path("ticket.key"),
        );
        let gateway = Gateway::start_with(&Options { extra, ..Options::default() });
        Self { gateway, authority, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, token: &str) -> Client {
        Client::new(self.gateway.address, &self.authority.certificate, token.to_owned())
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.gateway.admin("/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or_else(|| {
            panic!("no {name} in:\n{text}");
        });
        line.parse().unwrap()
    }

    fn failures(&self, subject: &str) -> f64 {
        self.metric(&format!("rsnap_reloads_total{{subject=\"{subject}\",outcome=\"failed\"}}"))
    }

    fn complaints(&self) -> usize {
        self.gateway.log().matches("what was there stays in use").count()
    }
}

#[test]
fn a_renewed_certificate_is_shown_to_new_callers_and_cuts_no_transfer() {
    let renewed = Renewed::start();
    let client = renewed.client(TOKEN);
    let image = Image::random(2 << 20, 71);
    let upload = Upload { path: PATH.to_owned(), body: &image.bytes, ..Upload::default() };
    let mut put = client.begin_put(&upload);
    put.send(&image.bytes[..1 << 20]).unwrap();
    wait_for("the transfer", || renewed.gateway.admin("/transfers").1.contains("\"s\""));

    let old = client.certificate_sha256();
    let pair = renewed.authority.issue(&NAMES);
    fs::write(renewed.path("gateway.pem"), &pair.certificate).unwrap();
    wait_for("the complaint about half a pair", || renewed.complaints() == 1);
    assert_eq!(client.certificate_sha256(), old, "a certificate without its key is in use");
    assert_eq!(renewed.failures("certificate"), 1.0);
    fs::write(renewed.path("gateway.key"), &pair.key).unwrap();
    wait_for("the new certificate", || client.certificate_sha256() != old);

    let new = client.certificate_sha256();
    let told = client.get("/server?volume=w&snapshot=s&size=1").expect(200).json();
    assert_eq!((&told["tls_sha256"], &told["tls_name"]), (&new.into(), &"gw.example".into()));
    put.send(&image.bytes[1 << 20..]).unwrap();
    put.answer().unwrap().expect(201);
    assert_eq!(renewed.complaints(), 1, "{}", renewed.gateway.log());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(renewed.metric("rsnap_certificate_not_after_seconds") > now);
}

#[test]
fn a_hangup_reads_certificate_and_tokens_again_and_ends_nothing() {
    let mut renewed = Renewed::start();
    let client = renewed.client(TOKEN);
    let old = client.certificate_sha256();
    let ticket = client.get("/server?volume=v&snapshot=s&size=1").expect(200).json()["ticket"].clone();
    let ticket = renewed.client(ticket.as_str().unwrap());
    ticket.get("/v1/volumes/v/snapshots").expect(200);

    let other = "the-second-token-of-enough-length";
    fs::write(renewed.path("token"), other).unwrap();
    fs::write(renewed.path("ticket.key"), "short").unwrap();
    renewed.authority.issue(&NAMES).write(&renewed.path("gateway.pem"), &renewed.path("gateway.key"));
    renewed.gateway.signal("HUP");
    wait_for("the refusal of the short key", || renewed.failures("secrets") == 1.0);
    assert_ne!(client.certificate_sha256(), old);
    client.get("/server").expect(200);
    ticket.get("/v1/volumes/v/snapshots").expect(200);

    fs::write(renewed.path("ticket.key"), "n".repeat(40)).unwrap();
    renewed.gateway.signal("HUP");
    wait_for("the new token", || renewed.client(other).get("/server").status == 200);
    client.get("/server").expect(401);
    ticket.get("/v1/volumes/v/snapshots").expect(401);
    assert!(renewed.gateway.is_running());
}
