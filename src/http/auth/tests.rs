//! Callers, roles and the bounds of tickets.

use std::path::Path;

use super::super::ticket::tests::claims;
use super::*;
use crate::tls::tests::clients::Vouching;

pub(in crate::http) fn authority(data: &Path) -> Authority {
    std::fs::write(data.join("cinder"), "cinder-token-of-enough-length\n").unwrap();
    std::fs::write(data.join("root"), "operator-token-of-enough-length\n").unwrap();
    let token = |name: &str, role| TokenConfig { name: name.to_owned(), role, file: data.join(name) };
    let tokens = vec![token("cinder", Role::Ticket), token("root", Role::Operator)];
    Authority::load(&Config { tokens, ..Config::default() }, data, "dc2".parse().unwrap()).unwrap()
}

fn volume(text: &str) -> VolumeId {
    text.parse().unwrap()
}

fn snapshot(text: &str) -> SnapshotId {
    text.parse().unwrap()
}

fn kind(result: Result<Permission, Problem>) -> Kind {
    result.unwrap_err().kind()
}

#[test]
fn tokens_are_told_apart() {
    let data = tempfile::tempdir().unwrap();
    let authority = authority(data.path());
    let who = |bearer| authority.authenticate(bearer, SystemTime::now()).map(|principal| principal.label());
    assert_eq!(who("cinder-token-of-enough-length").unwrap(), "token:cinder");
    assert_eq!(who("operator-token-of-enough-length").unwrap(), "token:root");
    for wrong in ["", "x", "cinder-token-of-enough-lengt", "cinder-token-of-enough-length ", "a.b", "a.b.c.d"] {
        assert_eq!(who(wrong).unwrap_err().kind(), Kind::BadToken, "{wrong:?}");
    }
    assert_eq!(who("a.b.c").unwrap_err().kind(), Kind::BadTicket);
}

#[test]
fn a_first_start_makes_a_token_and_a_key_that_stay() {
    let data = tempfile::tempdir().unwrap();
    let load = || Authority::load(&Config::default(), data.path(), "dc2".parse().unwrap()).unwrap();
    let wanted = Wanted { project: None, volume: volume("v1"), snapshots: vec![snapshot("s1")], size: 1, holder: None };
    let (ticket, _) = load().mint(wanted, SystemTime::now()).unwrap();
    assert!(load().authenticate(&ticket, SystemTime::now()).is_ok());
    let token = std::fs::read_to_string(data.path().join("token")).unwrap();
    let principal = load().authenticate(token.trim(), SystemTime::now()).unwrap();
    assert!(principal.permit(Action::Delete).is_ok());
}

#[test]
fn weak_and_doubled_secrets_are_faults() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("short");
    std::fs::write(&file, "short").unwrap();
    let token = |name: &str| TokenConfig { name: name.to_owned(), role: Role::Ticket, file: file.clone() };
    let load = |config: &Config| Authority::load(config, data.path(), "dc2".parse().unwrap());
    let short = Config { tokens: vec![token("a")], ..Config::default() };
    assert!(matches!(load(&short), Err(AuthError::Short { .. })));
    let key = KeyConfig { id: "k".to_owned(), file: file.clone() };
    assert!(matches!(load(&Config { ticket_keys: vec![key], ..Config::default() }), Err(AuthError::Short { .. })));
    std::fs::write(&file, "long-enough-for-a-token").unwrap();
    let doubled = Config { tokens: vec![token("a"), token("b")], ..Config::default() };
    assert!(matches!(load(&doubled), Err(AuthError::Same(..))));
    let mut faults = Vec::new();
    Config { tokens: vec![token("a"), token("a")], ..Config::default() }.validate(&mut faults);
    assert_eq!(faults.len(), 1);
}

#[test]
fn a_ticket_is_bound_to_its_volume_and_snapshots() {
    let ticket = Principal::Ticket(Box::new(claims()));
    let (v1, v2) = (volume("v1"), volume("v2"));
    let (s1, s2) = (snapshot("s1"), snapshot("s2"));
    let permission = ticket.permit(Action::Put(&v1, std::slice::from_ref(&s1))).unwrap();
    assert_eq!((permission.size, permission.principal.as_str()), (Some(1 << 30), "ticket:nonce"));
    assert_eq!(permission.sender.as_deref(), Some("token:cinder"), "on the account of who was given it");
    assert!(ticket.permit(Action::Plan(&v1, &s1)).is_ok());
    assert!(ticket.permit(Action::Chain(&v1)).is_ok() && ticket.permit(Action::Read(&v1)).is_ok());
    for other in [
        Action::Put(&v2, std::slice::from_ref(&s1)),
        Action::Put(&v1, &[s1.clone(), s2.clone()]),
        Action::Plan(&v1, &s2),
        Action::Plan(&v2, &s1),
        Action::Chain(&v2),
        Action::Read(&v2),
    ] {
        assert_eq!(kind(ticket.permit(other)), Kind::TicketScope, "{other:?}");
    }
    for never in [Action::Server, Action::Sites, Action::Delete] {
        assert_eq!(kind(ticket.permit(never)), Kind::Forbidden, "{never:?}");
    }
}

#[test]
fn a_ticket_without_the_operation_is_refused() {
    let (v1, s1) = (volume("v1"), snapshot("s1"));
    let reader = Claims { operations: vec![Operation::Read], ..claims() };
    let reader = Principal::Ticket(Box::new(reader));
    assert!(reader.permit(Action::Read(&v1)).is_ok());
    assert_eq!(kind(reader.permit(Action::Put(&v1, std::slice::from_ref(&s1)))), Kind::TicketScope);
    assert_eq!(kind(reader.permit(Action::Plan(&v1, &s1))), Kind::TicketScope);
}

#[test]
fn a_ticket_of_another_site_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let load = |site: &str| Authority::load(&Config::default(), data.path(), site.parse().unwrap()).unwrap();
    let wanted = Wanted { project: None, volume: volume("v1"), snapshots: vec![snapshot("s1")], size: 1, holder: None };
    let (ticket, _) = load("dc1").mint(wanted, SystemTime::now()).unwrap();
    let refused = load("dc2").authenticate(&ticket, SystemTime::now()).unwrap_err();
    assert_eq!(refused.kind(), Kind::TicketScope);
}

#[test]
fn roles_have_their_limits() {
    let (v1, s1) = (volume("v1"), snapshot("s1"));
    let cinder = Principal::Token { name: "cinder".to_owned(), role: Role::Ticket };
    for action in [Action::Server, Action::Sites, Action::Chain(&v1), Action::Plan(&v1, &s1)] {
        assert!(cinder.permit(action).is_ok(), "{action:?}");
    }
    for action in [Action::Delete, Action::Read(&v1), Action::Put(&v1, std::slice::from_ref(&s1))] {
        assert_eq!(kind(cinder.permit(action)), Kind::Forbidden, "{action:?}");
    }
    let root = Principal::Token { name: "root".to_owned(), role: Role::Operator };
    for action in [Action::Delete, Action::Read(&v1), Action::Put(&v1, std::slice::from_ref(&s1)), Action::Server] {
        assert!(root.permit(action).is_ok(), "{action:?}");
    }
}

#[test]
fn secrets_are_read_again_all_or_none() {
    let data = tempfile::tempdir().unwrap();
    let authority = authority(data.path());
    let knows = |bearer: &str| authority.authenticate(bearer, SystemTime::now()).is_ok();
    let wanted = Wanted { project: None, volume: volume("v1"), snapshots: vec![snapshot("s1")], size: 1, holder: None };
    let (ticket, _) = authority.mint(wanted, SystemTime::now()).unwrap();
    let key = data.path().join("ticket.key");
    std::fs::write(data.path().join("cinder"), "another-token-of-enough-length").unwrap();
    std::fs::write(&key, "too short").unwrap();
    assert!(authority.reload().unwrap_err().to_string().contains("ticket.key"));
    assert!(knows("cinder-token-of-enough-length") && knows(&ticket));
    assert!(!knows("another-token-of-enough-length"));
    std::fs::write(&key, "k".repeat(32)).unwrap();
    authority.reload().unwrap();
    assert!(!knows("cinder-token-of-enough-length") && !knows(&ticket));
    assert!(knows("another-token-of-enough-length") && knows("operator-token-of-enough-length"));
}

fn row(name: &str, role: Role, dns: Option<&str>, uri: Option<&str>) -> CertificateConfig {
    CertificateConfig { name: name.to_owned(), role, dns: dns.map(str::to_owned), uri: uri.map(str::to_owned) }
}

#[test]
fn a_certificate_is_known_by_one_whole_name() {
    let rows = vec![
        row("cinder", Role::Ticket, None, Some("spiffe://dc2.example/cinder")),
        row("root", Role::Operator, Some("Ops.Example"), None),
        row("host", Role::Ticket, Some("host.dc2.example"), None),
    ];
    let data = tempfile::tempdir().unwrap();
    let config = Config { certificates: rows, ..Config::default() };
    let authority = Authority::load(&config, data.path(), "dc2".parse().unwrap()).unwrap();
    let vouching = Vouching::new("a");
    let who = |names: &[&str]| authority.certificates.identify(&vouching.shown(names), SystemTime::now());
    let cinder = who(&["x.example", "spiffe://dc2.example/cinder"]).unwrap();
    assert_eq!(
        (cinder.label().as_str(), cinder.sender().as_deref()),
        ("certificate:cinder", Some("certificate:cinder"))
    );
    assert_eq!(kind(cinder.permit(Action::Delete)), Kind::Forbidden);
    assert!(cinder.permit(Action::Server).is_ok());
    let root = who(&["OPS.example"]).unwrap();
    assert!(root.permit(Action::Delete).is_ok());
    for strangers in [
        &["*.dc2.example"][..],
        &["spiffe://dc2.example/cinder/x"],
        &["spiffe://DC2.example/cinder"],
        &["spiffe://dc2.example/"],
        &["x.host.dc2.example"],
        &["host.dc2.example.org"],
        &[],
    ] {
        let refused = who(strangers).unwrap_err();
        assert_eq!(refused.kind(), Kind::BadCertificate);
        assert!(strangers.iter().all(|name| refused.text().contains(&name.to_lowercase()) || name.contains("DC2")));
        assert!(refused.text().contains("auth.certificates"), "{}", refused.text());
    }
    let two = who(&["host.dc2.example", "ops.example"]).unwrap_err();
    assert!(two.kind() == Kind::BadCertificate && two.text().contains("host and for root"), "{}", two.text());
    let many: Vec<String> = (0..50).map(|number| format!("h{number}.example")).collect();
    let many = who(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
    assert!(many.text().contains("and 42 more") && many.text().len() < 500, "{}", many.text());
}

#[test]
fn rows_that_no_certificate_can_be_known_by_are_faults() {
    let faults = |rows: Vec<CertificateConfig>| {
        let mut faults = Vec::new();
        Config { certificates: rows, ..Config::default() }.validate(&mut faults);
        faults
    };
    let dns = |name: &str, dns: &str| row(name, Role::Ticket, Some(dns), None);
    let uri = |name: &str, uri: &str| row(name, Role::Ticket, None, Some(uri));
    assert_eq!(faults(vec![dns("a", "a.example"), uri("b", "spiffe://b/x?y#z%20")]), Vec::<String>::new());
    for wrong in [
        vec![dns("a", "*.example")],
        vec![dns("a", "")],
        vec![dns("a", "spiffe://a")],
        vec![dns("a", "a.example b")],
        vec![uri("a", "")],
        vec![uri("a", "a.example")],
        vec![uri("a", "spiffe:")],
        vec![uri("a", "1a://b")],
        vec![uri("a", "spiffe://a b")],
        vec![uri("a", "spiffe://ä")],
        vec![uri("a", &format!("spiffe://{}", "a".repeat(2048)))],
        vec![row("a", Role::Ticket, None, None)],
        vec![row("a", Role::Ticket, Some("a.example"), Some("spiffe://a"))],
        vec![dns("", "a.example")],
        vec![dns("a", "a.example"), dns("a", "b.example")],
        vec![dns("a", "a.example"), dns("b", "A.example")],
        vec![uri("a", "spiffe://a"), uri("b", "spiffe://a")],
        vec![dns("a", "a.example"); 10_001],
    ] {
        let told = faults(wrong.clone());
        assert!(matches!(&told[..], [fault] if fault.starts_with("auth.certificates")), "{told:?}");
    }
}
