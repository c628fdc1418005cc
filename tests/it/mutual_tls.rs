//! Callers who show a certificate: whom it lets in, and for how long.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, SerialNumber};
use serde_json::Value;

use crate::deploy::authority::{Authority, Pair, client};
use crate::support::client::Stream;
use crate::support::{Client, Gateway, Image, Options, Upload, binary, wait_for};

const CINDER: &str = "spiffe://dc2.example/cinder";
const ROOT: &str = "ops.dc2.example";
const TICKET: &str = "/server?volume=v&snapshot=s&size=1048576";
const CHAIN: &str = "/v1/volumes/v/snapshots";
const SNAPSHOT: &str = "/v1/volumes/v/snapshots/s";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REVOKED: u64 = 77;

/// A gateway that knows two callers by certificates of one authority, which has revoked one certificate.
struct Guarded {
    gateway: Gateway,
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Guarded {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        fs::write(folder.path().join("revoked.pem"), authority.revoke(&[REVOKED])).unwrap();
        let extra = tables(&authority.certificate, &folder.path().join("revoked.pem"));
        // What rests between two requests of a test is not for the gateway to end.
        let listen = "header_timeout = \"600s\"\nidle_timeout = \"600s\"\n".to_owned();
        let gateway = Gateway::start_with(&Options { extra, listen, ..Options::default() });
        Self { gateway, authority, folder }
    }

    /// A caller with a certificate and without a token.
    fn client(&self, pair: &Pair) -> Client {
        self.gateway.client().showing(&pair.certificate, &pair.key)
    }

    fn known(&self, name: &str) -> Client {
        self.client(&self.authority.issue_client(&[name]))
    }

    /// A caller with a good certificate, but for this.
    fn but(&self, change: impl FnOnce(&mut CertificateParams)) -> Client {
        let mut parameters = client(&[ROOT]);
        change(&mut parameters);
        self.client(&self.authority.sign(&parameters))
    }

    fn files(&self, pair: &Pair) -> [PathBuf; 2] {
        let files = ["client.pem", "client.key"].map(|name| self.folder.path().join(name));
        pair.write(&files[0], &files[1]);
        files
    }

    fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.gateway.data.join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn tables(authorities: &std::path::Path, revocations: &std::path::Path) -> String {
    format!(
        "[tls]\nclient_authorities = {authorities:?}\nclient_revocations = {revocations:?}\n[auth]\ncertificates = [\n\
         {{ name = \"cinder\", role = \"ticket\", uri = \"{CINDER}\" }},\n\
         {{ name = \"root\", role = \"operator\", dns = \"{ROOT}\" }},\n]\n"
    )
}

#[test]
fn a_certificate_is_as_good_as_a_token() {
    let guarded = Guarded::start();
    let (cinder, root) = (guarded.known(CINDER), guarded.known(ROOT));
    let ticket = cinder.get(TICKET).expect(200).json()["ticket"].as_str().unwrap().to_owned();
    assert_eq!(cinder.request("DELETE", SNAPSHOT, &[], &[]).expect(403).problem(), "forbidden");
    assert_eq!(cinder.get("/v1/servers").expect(403).problem(), "forbidden");
    root.get("/v1/servers").expect(200);

    let image = Image::random(1 << 20, 311);
    let upload = Upload { path: SNAPSHOT.to_owned(), body: &image.bytes, ..Upload::default() };
    assert_eq!(cinder.put(&upload).problem(), "forbidden");
    cinder.with_token(&ticket).put(&upload).expect(201);
    assert!(root.get(SNAPSHOT).expect(200).body == image.bytes);
    root.request("DELETE", SNAPSHOT, &[], &[]).expect(204);

    let told = |event: &str| -> Vec<String> {
        let audit = guarded.audit();
        let lines = audit.iter().filter(|line| line["event"] == event && line["outcome"] == "ok");
        lines.map(|line| line["principal"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((told("ticket"), told("delete")), (vec!["certificate:cinder".into()], vec!["certificate:root".into()]));
    assert!(told("put")[0].starts_with("ticket:"), "{:?}", guarded.audit());
    guarded.gateway.client().get(CHAIN).expect(200);
    guarded.gateway.client().with_token("").get("/readyz").expect(200);
}

#[test]
fn what_no_authority_vouches_for_ends_the_handshake() {
    let guarded = Guarded::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = Authority::new(elsewhere.path()).issue_client(&[ROOT]);
    assert!(guarded.client(&foreign).refusal().contains("fatal alert"), "of a foreign authority");
    let number = |number: u64| {
        move |parameters: &mut CertificateParams| {
            parameters.serial_number = Some(SerialNumber::from(number));
        }
    };
    let ended = guarded.but(|parameters| parameters.not_after = (SystemTime::now() - DAY / 2).into());
    let early = guarded.but(|parameters| parameters.not_before = (SystemTime::now() + DAY / 2).into());
    let server = guarded.but(|parameters| parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let revoked = guarded.but(number(REVOKED));
    for (client, alert) in [
        (ended, "CertificateExpired"),
        (early, "CertificateExpired"),
        (server, "UnsupportedCertificate"),
        (revoked, "CertificateRevoked"),
    ] {
        let refusal = client.refusal();
        assert!(refusal.contains(alert), "{alert}: {refusal}");
    }
    guarded.but(number(REVOKED + 1)).get(CHAIN).expect(200);
    wait_for("the reasons in the log", || guarded.gateway.log().matches("refuse a client certificate").count() == 5);
}

#[test]
fn a_certificate_without_a_row_is_none_and_its_names_are_told() {
    let guarded = Guarded::start();
    let named = |parameters: &mut CertificateParams| {
        parameters.subject_alt_names = Vec::new();
        parameters.distinguished_name.push(DnType::CommonName, ROOT);
    };
    for (client, told) in [
        (guarded.known("host.dc2.example"), "\"host.dc2.example\""),
        (guarded.known("*.dc2.example"), "\"*.dc2.example\""),
        (guarded.known("spiffe://dc2.example/cinder/2"), "\"spiffe://dc2.example/cinder/2\""),
        (guarded.but(named), "no DNS name or URI"),
        (guarded.client(&guarded.authority.issue_client(&[ROOT, CINDER])), "cinder and for root"),
    ] {
        let answer = client.get(TICKET).expect(401);
        assert_eq!(answer.problem(), "bad-certificate");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(told), "{told}: {detail}");
        assert!(answer.header("www-authenticate").is_some());
        client.get("/readyz").expect(200);
    }
}

#[test]
fn a_header_decides_alone_and_none_speaks_for_a_certificate() {
    let guarded = Guarded::start();
    let root = guarded.known(ROOT);
    assert_eq!(root.with_token("a-token-that-nobody-has-given").get(CHAIN).problem(), "bad-token");
    let ticket = root.get(TICKET).expect(200).json()["ticket"].as_str().unwrap().to_owned();
    assert_eq!(root.with_token(&ticket).request("DELETE", SNAPSHOT, &[], &[]).problem(), "forbidden");
    let token = [("X-Auth-Token", "gAAAA".to_owned())];
    assert_eq!(root.request("GET", CHAIN, &token, &[]).problem(), "bad-token");

    let stranger = guarded.gateway.client().with_token("");
    for (name, value) in spoken(&guarded.authority.issue_client(&[ROOT])) {
        let answer = stranger.request("GET", CHAIN, &[(name, value)], &[]);
        assert_eq!(answer.expect(401).problem(), "unauthorized", "{name}");
    }
    guarded.gateway.client().get(CHAIN).expect(200);
}

/// What balancers are told to write when TLS ends at them.
pub fn spoken(pair: &Pair) -> Vec<(&'static str, String)> {
    let body: String = pair.certificate.lines().filter(|line| !line.starts_with('-')).collect();
    vec![
        ("Client-Cert", format!(":{body}:")),
        ("X-SSL-Client-Cert", body.clone()),
        ("X-SSL-Client-Verify", "SUCCESS".to_owned()),
        ("X-SSL-Client-DN", format!("/CN={ROOT}")),
        ("X-SSL-Client-SAN", ROOT.to_owned()),
        ("X-Forwarded-Client-Cert", format!("By={ROOT};URI={CINDER};DNS={ROOT}")),
        ("X-Forwarded-Tls-Client-Cert", body),
    ]
}

/// A connection that outlives its requests.
struct Open(BufReader<Stream>);

impl Open {
    fn new(client: &Client) -> Self {
        Self(BufReader::new(client.connect().unwrap()))
    }

    /// Status and body of an answer.
    fn get(&mut self, path: &str) -> (u16, String) {
        let stream = self.0.get_mut();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n").as_bytes()).unwrap();
        stream.flush().unwrap();
        let mut head = Vec::new();
        while head.last().is_none_or(|line: &String| !line.trim().is_empty()) {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the connection was closed after {head:?}");
            head.push(line);
        }
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .iter()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

#[test]
fn what_is_withdrawn_counts_no_more_on_connections_that_are_open() {
    let guarded = Guarded::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Authority::new(elsewhere.path());
    let both = [&guarded.authority.certificate, &other.certificate].map(|file| fs::read_to_string(file).unwrap());
    let lists = guarded.authority.revoke(&[REVOKED]) + &other.revoke(&[]);
    let replace = |name: &str, text: &str| {
        let fresh = guarded.folder.path().join("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, guarded.folder.path().join(name)).unwrap();
    };
    let reloads = |outcome: &str| -> f64 {
        let text = guarded.gateway.admin("/metrics").1;
        let name = format!("rsnap_reloads_total{{subject=\"client-authorities\",outcome=\"{outcome}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    replace("revoked.pem", &lists);
    replace("authority.pem", &both.concat());
    let newcomer = guarded.client(&other.issue_client(&[CINDER]));
    let mut parameters = client(&[ROOT]);
    parameters.serial_number = Some(SerialNumber::from(REVOKED + 1));
    let known = guarded.known(ROOT);
    let (mut first, mut second) = (Open::new(&known), Open::new(&guarded.client(&guarded.authority.sign(&parameters))));
    assert_eq!((known.get(CHAIN).status, first.get(CHAIN).0, second.get(CHAIN).0), (200, 200, 200));
    wait_for("the second authority", || newcomer.try_get(CHAIN).is_ok_and(|answer| answer.status == 200));

    replace("revoked.pem", &(guarded.authority.revoke(&[REVOKED + 1]) + &other.revoke(&[])));
    let mut answer = (200, String::new());
    wait_for("the revocation", || {
        answer = second.get(CHAIN);
        answer.0 != 200
    });
    assert!(answer.0 == 401 && answer.1.contains("bad-certificate") && answer.1.contains("evoked"), "{answer:?}");
    assert_eq!(first.get(CHAIN).0, 200);

    let failed = reloads("failed");
    replace("authority.pem", "");
    wait_for("the complaint", || reloads("failed") > failed);
    assert!(guarded.gateway.log().contains("tls.client_authorities"), "{}", guarded.gateway.log());
    assert_eq!(first.get(CHAIN).0, 200, "an empty file takes nothing away");
    replace("authority.pem", &both[1]);
    guarded.gateway.signal("HUP");
    wait_for("the end of the first authority", || {
        answer = first.get(CHAIN);
        answer.0 != 200
    });
    assert!(answer.0 == 401 && answer.1.contains(ROOT) && answer.1.contains("does not count"), "{answer:?}");
    let resumed = known.try_get(CHAIN);
    assert!(!resumed.as_ref().is_ok_and(|answer| answer.status != 401), "{resumed:?}");
    newcomer.get(CHAIN).expect(200);
    guarded.gateway.client().get(CHAIN).expect(200);
}

#[test]
fn the_command_line_shows_a_certificate() {
    let guarded = Guarded::start();
    let image = Image::random(1 << 20, 312);
    let file = guarded.folder.path().join("image.raw");
    fs::write(&file, &image.bytes).unwrap();
    let run = |pair: &Pair, line: &str, code: i32| {
        let [certificate, key] = guarded.files(pair);
        let mut command = Command::new(binary());
        command.args(line.split_whitespace()).env("RSNAP_GATEWAY", format!("https://{}", guarded.gateway.address));
        command.env("RSNAP_CA", guarded.gateway.certificate());
        command.env("RSNAP_CLIENT_CERTIFICATE", certificate).env("RSNAP_CLIENT_KEY", key);
        let output = command.output().unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {told}");
        told
    };
    let (cinder, root) = (guarded.authority.issue_client(&[CINDER]), guarded.authority.issue_client(&[ROOT]));
    run(&cinder, &format!("send {} --volume v --snapshot s", file.display()), 0);
    assert!(run(&cinder, "chain --volume v", 0).contains('s'));
    assert!(run(&cinder, "servers", 4).contains("account of an operator"));
    let (address, authority) = (guarded.gateway.address, guarded.gateway.certificate());
    let [certificate, key] = guarded.files(&root);
    let other = format!(
        "verify --volume v --snapshot s --other-gateway https://{address} --other-client-certificate {} \
         --other-client-key {} --other-ca {}",
        certificate.display(),
        key.display(),
        authority.display()
    );
    run(&root, &other, 0);
    run(&root, "delete --volume v --snapshot s", 0);

    let mut revoked = client(&[ROOT]);
    revoked.serial_number = Some(SerialNumber::from(REVOKED));
    let told = run(&guarded.authority.sign(&revoked), "chain --volume v", 4);
    assert!(told.contains("CertificateRevoked") && told.contains("--client-certificate"), "{told}");
    let told = run(&guarded.authority.issue_client(&["host.dc2.example"]), "chain --volume v", 4);
    assert!(told.contains("host.dc2.example") && told.contains("auth.certificates"), "{told}");
    let mixed = Pair { key: root.key.clone(), ..cinder.clone() };
    assert!(run(&mixed, "chain --volume v", 2).contains("client.key"));
    let empty = Pair { certificate: String::new(), ..cinder };
    assert!(run(&empty, "chain --volume v", 2).contains("client.pem"));
}

#[test]
fn a_bundle_that_cannot_be_used_is_found_before_a_start_and_ends_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let path = |name: &str| folder.path().join(name);
    fs::write(path("revoked.pem"), authority.revoke(&[])).unwrap();
    fs::write(path("empty.pem"), "").unwrap();
    let run = |arguments: &[&str], authorities: &str, revocations: &str| {
        let text = format!(
            "[gateway]\ndata = {:?}\n[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [plugins.writer]\ncomponent = \"builtin:image\"\nstores = [\"main\"]\n{}",
            path("data"),
            tables(&path(authorities), &path(revocations))
        );
        fs::write(path("rsnap.toml"), text).unwrap();
        let mut command = Command::new(binary());
        command.args(arguments).arg(path("rsnap.toml"));
        let output = command.env("RSNAP_PLUGIN_PATH", crate::support::components("plugins")).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, told) = run(&["config", "check"], "authority.pem", "revoked.pem");
    assert!(code == Some(0) && told.contains("good   tls.client_authorities"), "{told}");
    for (authorities, revocations) in
        [("empty.pem", "revoked.pem"), ("authority.pem", "empty.pem"), ("none.pem", "revoked.pem")]
    {
        let (code, told) = run(&["config", "check"], authorities, revocations);
        assert!(code != Some(0) && told.contains("wrong  tls.client_authorities"), "{told}");
        let (code, told) = run(&["serve", "--config"], authorities, revocations);
        assert!(code != Some(0) && told.contains("tls.client_"), "{told}");
    }
}
